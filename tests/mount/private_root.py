"""
A root file system of the test's own: this one, with whatever is changed in it kept in memory
(overlayfs), in a mount namespace that ends with the test. Programs can be installed there and
/etc/fstab be written; nothing of that is seen outside, and no uploadfs of the outside is seen
inside: no program, no /etc/uploadfs.conf, no /var/lib/uploadfs.
"""
import os
import signal
import subprocess

from harness import run, wait_until

# The copies of the mounts outside would keep their daemons after they are unmounted there.
LET_GO = "umount --all --internal-only --lazy --types fuse.uploadfs || true"
SETUP = LET_GO + r"""
set -e
root=$1/root
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$root"
mount -t overlay none -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$root"
for dir in dev proc sys; do mount --rbind /$dir "$root/$dir"; done
# Where it is root's alone outside, other users shall mount inside.
mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" "$root/dev/fuse"
mount -t tmpfs none "$root/run"
mkdir -p "$root$2"
# Installations and uses of uploadfs outside are not seen inside. /var/lib/dpkg is dpkg's to change.
if [ -e "$root/var/lib/dpkg/info/uploadfs.list" ]; then
    chroot "$root" dpkg --purge --force-all uploadfs > /dev/null 2>&1
fi
find "$root/usr" "$root/etc" "$root/var/lib" -xdev -path "$root/var/lib/dpkg" -prune -o \
    \( -name '*uploadfs*' -o -name uploads-server \) -prune -exec rm -rf {} +
mount --bind "$2" "$root$2"
echo up
exec sleep infinity
"""


class PrivateRoot:
    """shared: a directory that is the same inside, and not a copy."""

    def __init__(self, folder, shared):
        self.folder = str(folder)
        os.mkdir(self.folder)
        self.root = os.path.join(self.folder, "root")
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", SETUP, "bash",
             self.folder, str(shared)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        line = self.holder.stdout.readline()
        if line != "up\n":
            self.close()
            raise AssertionError("no private root: " + line)

    def argv(self, *words):
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "chroot", self.root,
                *map(str, words)]

    def run(self, *words, code=0, **kwargs):
        """A command inside, without our environment; it must exit with code, None: any."""
        result = run(self.argv("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
                               *words), check=False, **kwargs)
        assert code is None or result.returncode == code, result
        return result

    def bash(self, script, *words, **kwargs):
        return self.run("bash", "-c", script, "bash", *words, **kwargs)

    def write(self, path, text, mode=0o644):
        """A file inside, root's."""
        self.run("sh", "-c", 'printf %s "$1" > "$2" && chmod "$3" "$2"', "sh", text, path,
                 f"{mode:o}")

    def processes(self, word=None):
        """Those inside, but the holder; with word: the ones that have it as an argument."""
        inside = os.readlink(f"/proc/{self.holder.pid}/ns/mnt")
        found = []
        for pid in [int(x) for x in os.listdir("/proc") if x.isdigit()]:
            try:
                if pid == self.holder.pid or os.readlink(f"/proc/{pid}/ns/mnt") != inside:
                    continue
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().decode("utf-8", "replace").split("\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # gone, or nothing that root may look at: none of ours
            if not word or word in words:
                found.append(pid)
        return found

    def close(self):
        """Its processes end, and with the last one its mounts."""
        if self.holder.poll() is None:
            def none_left():
                for pid in self.processes():
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                return not self.processes()

            wait_until(none_left, "the processes inside end")
            self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        os.rmdir(self.folder)
