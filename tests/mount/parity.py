"""
One script, run in a directory of the disk and in one of the mount: what it
prints, its exit code and what it leaves have to be the same, and the server
holds exactly that.
"""
import os
import re

from harness import bash, wait_until, xattr
from trees import assert_held, content_of, regular_files


def leave(top):
    """{path: mode, None for directories} of what is there."""
    found = {x: os.stat(os.path.join(top, x)).st_mode & 0o7777 for x in regular_files(top)}
    for folder, _, _ in os.walk(top):
        found[os.path.relpath(folder, top)] = None
    return found


class Parity:
    """Runs scripts on both sides; $1 is a directory with things to work on."""

    def __init__(self, world, server, mount, purpose="batch", env=None):
        self.server, self.mount, self.purpose = server, mount, purpose
        self.local = world.path("local")
        self.env = dict(env or {}, TZ="UTC", HOME=self.local)
        os.makedirs(self.local)

    def __call__(self, name, script, *args, settle=True):
        """The two must not differ; where settle is set, the server is looked at, too."""
        here, there = os.path.join(self.local, name), self.mount.path(self.purpose, name)
        said = []
        for top in (here, there):
            os.mkdir(top)
            done = bash("set -eu\numask 022\ncd \"$1\"; shift\n" + script, top, *args, check=False,
                        env=self.env)
            text = re.sub(re.escape(top), "TOP", done.stdout + done.stderr)
            said.append((done.returncode, text))
        assert said[1] == said[0], f"{name}: in the mount {said[1]}, on the disk {said[0]}"
        assert said[0][0] == 0, f"{name} does not work on a disk: {said[0]}"
        assert leave(there) == leave(here), name
        assert content_of(there) == content_of(here), name
        if settle:
            assert_held(self.server, self.purpose, name, here)
            self.assert_completed(there, here)

    @staticmethod
    def assert_completed(there, here):
        """Each file with bytes is a File; one without is empty."""
        for path in regular_files(here):
            want = "completed" if os.path.getsize(os.path.join(here, path)) else "empty"
            wait_until(lambda p=path, w=want: xattr(os.path.join(there, p), "status") == w,
                       f"{path} is {want}")
