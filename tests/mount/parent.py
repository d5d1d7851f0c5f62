"""A parent that opens and mounts /dev/fuse and has uploadfs serve it, as a CSI driver does."""
import ctypes
import os

from harness import Mount, is_mounted, run, wait_until

MS_NOSUID, MS_NODEV = 2, 4
libc = ctypes.CDLL(None, use_errno=True)


class ParentMount(Mount):
    """
    A Mount on /dev/fd/N. more: user=, the daemon's user, who needs no name and no right to mount.
    """

    def __init__(self, world, server, options=(), user=None, **more):
        self.user = user
        self.fd = None
        super().__init__(world, server, options, **more)

    def argv(self):
        words = super().argv()
        words[words.index(self.mnt)] = f"/dev/fd/{self.fd}"
        if self.user is None:
            return words
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--",
                self.world.program_for_others(), *words[1:]]

    def start(self):
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        options = (f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,default_permissions,"
                   "allow_other")
        if libc.mount(b"uploadfs", self.mnt.encode(), b"fuse.uploadfs", MS_NOSUID | MS_NODEV,
                      options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        os.set_inheritable(self.fd, True)
        try:
            self.spawn(self.argv(), self.env(), pass_fds=[self.fd])
        finally:
            os.close(self.fd)

        def answers():
            assert self.alive(), "uploadfs ended:\n" + self.log()[-5000:]
            return is_mounted(self.mnt) and os.path.ismount(self.mnt)

        wait_until(answers, "the mount answers")

    def umount(self, codes=(0,)):
        run(["umount", self.mnt])
        code = self.wait()
        assert code in codes, f"uploadfs exited with {code}:\n{self.log()[-5000:]}"
