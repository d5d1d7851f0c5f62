"""
A disk that writes only so fast: a file system on a loop device over memory, limited by the kernel's
block layer. The controller is what this host has: blkio.throttle of the first cgroups, whose root
takes a limit for one device; or io.max of the second ones, on a cgroup of the daemon's own. Root only.
"""
import os
import subprocess

from harness import run

V1 = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device"
V2 = "/sys/fs/cgroup"


class SlowDisk:
    """at: where it is mounted. by: the name of the limit, for the row. end() takes all back."""

    def __init__(self, folder, size, rate):
        self.folder, self.rate = folder, rate
        self.at = os.path.join(folder, "slow")
        self.image = os.path.join(folder, "slow.img")
        self.group = None
        os.mkdir(self.at)
        with open(self.image, "wb") as f:
            f.truncate(size)
        run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image])
        run(["mount", "-o", "loop", self.image, self.at])
        dev = os.stat(self.at).st_dev
        self.device = f"{os.major(dev)}:{os.minor(dev)}"
        try:
            self.by = self._limit()
        except BaseException:
            self.end()
            raise

    def _limit(self):
        if os.access(V1, os.W_OK):
            write(V1, f"{self.device} {self.rate}")
            return "blkio.throttle.write_bps_device"
        with open(V2 + "/cgroup.controllers", encoding="ascii") as f:
            if "io" not in f.read().split():
                raise AssertionError("no cgroup of this host limits a disk")
        write(V2 + "/cgroup.subtree_control", "+io +memory")
        self.group = f"{V2}/u-bench-{os.getpid()}"
        os.mkdir(self.group)
        write(self.group + "/io.max", f"{self.device} wbps={self.rate}")
        return "io.max"

    def take(self, pid):
        """Limit that process, where a limit is of processes."""
        if self.group:
            write(self.group + "/cgroup.procs", str(pid))

    def settle(self):
        """Write back what is left of an earlier turn."""
        run(["sync", "-f", self.at], timeout=120)

    def end(self):
        if not self.group and os.access(V1, os.W_OK):
            write(V1, f"{self.device} 0")
        subprocess.run(["umount", "-l", self.at], check=False)
        if self.group:
            os.rmdir(self.group)
        os.unlink(self.image)


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
