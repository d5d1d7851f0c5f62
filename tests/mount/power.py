"""
A disk that can lose its power: a file system on a loop device. Its image is copied at one moment:
what was brought to the device by then, and nothing that is in memory alone. The copy takes its
place at the "reboot", and its journal is replayed.
"""
import os
import shutil
import subprocess
import tempfile

from harness import run, wait_until

FS = os.environ.get("UPLOADFS_POWER_FS", "ext4")
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
SIZE = {"ext4": 192 << 20, "xfs": 400 << 20, "btrfs": 400 << 20}  # xfs takes 300 MiB at least


class Disk:
    """To be used by `with`; `at` is where it is mounted. The images are in memory if they can be."""

    def __init__(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = tempfile.mkdtemp(prefix="u-power-", dir=memory)
        self.at = os.path.join(self.folder, "disk")
        self.images = 0
        self.image = os.path.join(self.folder, "image0")

    def __enter__(self):
        os.mkdir(self.at)
        with open(self.image, "wb") as f:
            f.truncate(SIZE[FS])
        run([*MAKE[FS], self.image])
        self._mount()
        return self

    def __exit__(self, *_):
        if os.path.ismount(self.at):
            run(["umount", "-l", self.at], check=False)

        def gone():
            out = subprocess.run(["losetup", "-a"], stdout=subprocess.PIPE, text=True, check=False)
            return self.folder not in out.stdout

        wait_until(gone, "the loop device is free")
        shutil.rmtree(self.folder)

    def _mount(self):
        run(["mount", "-t", FS, "-o", "loop", self.image, self.at])

    def commit(self):
        """What others of the host do: metadata that is old enough reaches the disk, data does not."""
        fd = os.open(os.path.join(self.at, "other"), os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.fsync(fd)
        os.close(fd)

    def cut(self):
        """The power goes now; what runs does not know it yet."""
        self.images += 1
        run(["cp", "--sparse=always", self.image, self._next()])

    def _next(self):
        return os.path.join(self.folder, f"image{self.images}")

    def reboot(self, mount):
        """After cut(): the daemon of that mount is dead, and the next one finds the disk of then."""
        mount.kill()
        run(["fusermount3", "-u", "-z", mount.mnt], check=False)
        run(["umount", "-l", self.at])
        os.unlink(self.image)
        self.image = self._next()
        self._mount()
        mount.start()
