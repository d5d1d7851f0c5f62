"""
Mount and user of it in different PID and mount namespaces, as in containers: nobody else's process
is signalled, and the mount's end is told truly.
"""
import errno
import fcntl
import os

import pytest

from harness import Mount, bash, is_mounted, run, wait_until
from test_cli import argv, cli
from users import AS_USER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace takes root")
CONTROL_END = 0x5501

# A process of another PID namespace with the daemon's number there.
STRANGER = """
want=$1; shift
echo $((want - 1)) > /proc/sys/kernel/ns_last_pid
sleep 600 &
[ $! = "$want" ] || { echo "no such number: $!"; exit 99; }
"$@"
code=$?
kill -0 $! || exit 98
kill -9 $!
exit $code
"""


class Inner(Mount):
    """A daemon that is process 1 of a PID namespace of its own, as in a container."""

    def argv(self):
        return ["unshare", "--pid", "--fork", "--kill-child", *super().argv()]


def test_umount_from_another_pid_namespace(world, server):
    """The number of the daemon belongs to somebody else there, who lives on."""
    mount = world.mount(server)
    bash('echo x > "$1"', mount.path("batch", "f"))
    assert len(str(mount.pid)) and mount.pid > 100
    run(["unshare", "--pid", "--fork", "--mount-proc", "--propagation", "slave", "bash", "-c",
         STRANGER, "bash", str(mount.pid), *argv("umount", mount.mnt)])
    assert mount.wait() == 0 and not is_mounted(mount.mnt)
    assert len(server.files()) == 1
    mount.remount()


def test_umount_of_a_copy(world, server):
    """A mount namespace with a mount of its own, which the daemon can't unmount."""
    mount = world.mount(server)
    script = '"$@"; code=$?; grep " $mnt " /proc/self/mounts && exit 97; exit $code'
    run(["unshare", "--pid", "--fork", "--mount-proc", "--propagation", "private", "bash", "-c",
         script, "bash", *argv("umount", mount.mnt)], env={"mnt": mount.mnt})
    assert mount.wait() == 0
    assert not is_mounted(mount.mnt)
    mount.remount()


def test_umount_of_process_1(world, server):
    """From outside its namespace, and by a signal from inside."""
    mount = world._add(Inner, server)
    bash('echo x > "$1"', mount.path("batch", "f"))
    assert '"pid":1,' in cli(world, "status", "--json", mount.mnt).stdout
    cli(world, "umount", mount.mnt)
    assert not is_mounted(mount.mnt) and mount.wait() == 0
    mount.remount()
    inner = wait_until(lambda: bash(f"pgrep -P {mount.pid} || true").stdout.strip(), "it runs")
    run(["nsenter", f"--target={inner}", "--pid", "kill", "-TERM", "1"])
    assert mount.wait() == 0 and not is_mounted(mount.mnt)
    mount.remount()


class First(Inner):
    """Without -f, as in an image's command line, and with a /proc of its own to count there."""

    def argv(self):
        return [x for x in super().argv() if x != "-f"]


def test_process_1_reaps_orphans(world, server):
    """It stays, although nobody said -f, and orphans do not pile up as zombies."""
    mount = world._add(First, server)
    assert mount.alive()
    inner = wait_until(lambda: bash(f"pgrep -P {mount.pid} || true").stdout.strip(), "it runs")
    for _ in range(5):
        run(["nsenter", f"--target={inner}", "--pid", "bash", "-c", "(sleep 0.1 &) ; exit 0"])

    def children():
        with open(f"/proc/{inner}/task/{inner}/children", encoding="ascii") as f:
            return f.read().split()

    wait_until(lambda: not children(), "no orphan is left")
    mount.umount()


def test_only_its_user_ends_it(world, server):
    """By the control, as by a signal; other files have no such thing."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    bash('echo x > "$1"', mount.path("batch", "f"))
    control = mount.path(".uploadfs", "status")
    ask = "import fcntl, sys; fcntl.ioctl(open(sys.argv[1]), int(sys.argv[2]))"
    result = run([*AS_USER, "/usr/bin/python3", "-c", ask, control, str(CONTROL_END)],
                 check=False)
    assert "Operation not permitted" in result.stderr
    for path in mount.path("batch", "f"), mount.mnt:
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(OSError) as caught:
            fcntl.ioctl(fd, CONTROL_END)
        assert caught.value.errno == errno.ENOTTY
        os.close(fd)
    assert mount.alive() and is_mounted(mount.mnt)
    fd = os.open(control, os.O_RDONLY)
    fcntl.ioctl(fd, CONTROL_END)
    assert mount.wait() == 0
    with pytest.raises(OSError):
        os.close(fd)
    assert not is_mounted(mount.mnt)
    mount.remount()
