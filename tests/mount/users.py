"""
A mount of somebody who is not root, and what that user runs. Where the tests themselves run
as an ordinary user, it is that one.
"""
import os

import sanitizer
from harness import Mount, is_mounted, run, wait_until

NOBODY = 65534
# The words before a command that make it theirs.
AS_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
AS_USER = AS_USER if os.geteuid() == 0 else []


def give(path):
    """path, and what is below it, belongs to that user."""
    if AS_USER:
        run(["chown", "-R", f"{NOBODY}:{NOBODY}", path])
    return path


class UserMount(Mount):
    """A Mount whose daemon is that user's; others, root among them, see nothing of it."""

    def __init__(self, world, server, options=(), program=None, **more):
        self.program = program
        self.home = world.path("home")
        os.mkdir(self.home)
        give(self.home)
        more.setdefault("state_dir", os.path.join(self.home, "state"))
        super().__init__(world, server, options, **more)

    def argv(self):
        return [*AS_USER, self.program, *super().argv()[1:]]

    def env(self):
        return {**super().env(), "HOME": self.home}

    def start(self):
        give(self.mnt)
        # As udev makes it; in a container it may be root's alone.
        if AS_USER and os.stat("/dev/fuse").st_mode & 0o6 != 0o6:
            os.chmod("/dev/fuse", 0o666)
        self.spawn(self.argv(), self.env())

        def answers():
            assert self.alive(), "uploadfs ended:\n" + self.log()[-5000:]
            return is_mounted(self.mnt) and self.run(["ls", self.mnt], check=False).stdout

        wait_until(answers, "the mount answers its user")

    def run(self, argv, **kwargs):
        """run() as that user, with a home and the key as that user would have it."""
        env = {**sanitizer.options(""), **self.env(), **kwargs.pop("env", {})}
        return run([*AS_USER, *argv], env=env, cwd="/", **kwargs)

    def uploadfs(self, *words, **kwargs):
        """A subcommand as that user."""
        return self.run(sanitizer.wrap("", [self.program, *words]), **kwargs)


def user_mount(world, server, **more):
    """A UserMount of world, which ends it."""
    return world._add(UserMount, server, (), program=world.program_for_others(), **more)
