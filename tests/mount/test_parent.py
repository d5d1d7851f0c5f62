"""A mount on /dev/fd/N: opened and mounted by a parent with more rights than the daemon has."""
import os
import signal

import pytest

import sanitizer
from harness import BUILD, SAN, assert_published, bash, is_mounted, run, xattr
from parent import ParentMount
from test_cli import argv, cli

# TSan takes no order between threads from an inherited descriptor of /dev/fuse.
pytestmark = [pytest.mark.no_tsan,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount(2) without a helper")]
NAMELESS = 54321


def test_of_root(world, server, source):
    mount = world._add(ParentMount, server)
    run(["cp", source, mount.path("batch", "f")])
    assert_published(server, mount.path("batch", "f"), source)
    assert cli(world, "wait", mount.path("batch", "f")).stdout.strip() == xattr(
        mount.path("batch", "f"), "file_id")
    assert "1 published" in cli(world, "status", mount.mnt).stdout
    assert mount.mnt in cli(world, "mounts", mount.mnt).stdout
    cli(world, "umount", mount.mnt)
    assert not is_mounted(mount.mnt) and mount.wait() == 0
    mount.remount()
    with open(mount.path("batch", "f"), "rb") as a, open(source, "rb") as b:
        assert a.read() == b.read()


def test_of_a_user_without_a_name(world, server, source):
    """No passwd entry, no setuid helper, no right to mount; root uses it, and ends it."""
    state = world.path("state")
    os.mkdir(state)
    os.chown(state, NAMELESS, NAMELESS)
    mount = world._add(ParentMount, server, ["allow_other", f"uid={NAMELESS}"], user=NAMELESS,
                       state_dir=state)
    assert os.stat(f"/proc/{mount.pid}/status").st_uid in (0, NAMELESS)
    run(["cp", source, mount.path("batch", "f")])
    assert_published(server, mount.path("batch", "f"), source)
    assert os.stat(mount.path("batch")).st_uid == NAMELESS
    code = run(argv("umount", mount.mnt), check=False,
               env=sanitizer.options(world.dir)).returncode
    assert code in (0, 1) and not is_mounted(mount.mnt)
    assert mount.wait() == 0
    mount.remount()


def test_terminated(world, server, source):
    """SIGTERM finishes what is closed; the parent's mount stays behind, dead, and is removed."""
    mount = world._add(ParentMount, server, ["close=async"])
    run(["cp", source, mount.path("batch", "f")])
    os.kill(mount.pid, signal.SIGTERM)
    assert mount.wait() == 0 and len(server.files()) == 1
    assert is_mounted(mount.mnt)
    assert "was left behind" in cli(world, "status", mount.mnt, code=4).stderr
    cli(world, "umount", mount.mnt)
    assert not is_mounted(mount.mnt)
    mount.remount()


def test_in_the_background(world, server):
    """It returns when the mount answers."""
    state = world.path("state")

    class Background(ParentMount):
        def argv(self):
            return [x for x in super().argv() if x != "-f"]

        def start(self):
            super().start()
            assert self.proc.wait(60) == 0

    mount = world._add(Background, server, ["log_file=" + world.path("log")], state_dir=state)
    bash('echo x > "$1"', mount.path("batch", "g"))
    cli(world, "umount", mount.mnt)
    assert not is_mounted(mount.mnt)


@pytest.mark.parametrize("what", ["closed", "a file", "standard input"])
def test_not_dev_fuse(world, server, what):
    """A clear error, and nothing is harmed."""
    path = world.path("file")
    with open(path, "w+") as f:
        f.write("mine")
        f.flush()
        os.set_inheritable(f.fileno(), True)
        fd = {"closed": 999, "a file": f.fileno(), "standard input": 0}[what]
        result = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), server.url,
                                          f"/dev/fd/{fd}", "-o", "state_dir=" + world.path("s")]),
                     check=False, pass_fds=[f.fileno()], env=sanitizer.options(world.dir))
    assert result.returncode == 2
    assert f"/dev/fd/{fd} is not /dev/fuse; have the parent open it" in result.stderr
    with open(path) as f:
        assert f.read() == "mine"
