"""How it is started: by supervisors and cron, with limits, with the words of mount(8)."""
import errno
import os
import re
import types

import pytest

import sanitizer
from harness import BUILD, KEY, MIB, SAN, is_mounted, make_file, proc_state, run, wait_until
from networks import Authority, Relay

# As mount(8) documents them for every file system; what changes nothing here is taken as well.
GENERIC = ["async", "atime", "noatime", "auto", "noauto", "defaults", "dev", "nodev", "diratime",
           "nodiratime", "dirsync", "exec", "noexec", "group", "iversion", "noiversion", "mand",
           "nomand", "_netdev", "nofail", "relatime", "norelatime", "strictatime",
           "nostrictatime", "lazytime", "nolazytime", "suid", "nosuid", "silent", "loud",
           "owner", "rw", "ro", "sync", "user", "nouser", "users", "nosymfollow",
           "x-systemd.automount", "X-mount.mkdir"]

CLOSED = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]


def start(world, server, options=(), before=()):
    """Mounts in the background, as mount(8) does; the directories of the mount and its state."""
    mnt, state = world.path("mnt"), world.path("state")
    os.makedirs(mnt, exist_ok=True)
    words = [f"state_dir={state}", "part_size=1M", *options]
    argv = [os.path.join(BUILD, "uploadfs"), server.url, mnt, "-o", ",".join(words)]
    out = run([*before, *sanitizer.wrap(SAN, argv)], check=False,
              env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY})
    assert out.returncode == 0, out.stderr
    return mnt, state


def pid_of(state):
    with open(os.path.join(state, "lock"), encoding="ascii") as f:
        return int(f.read())


@pytest.fixture
def unmount(world):
    """Unmounts what start() has mounted."""
    yield
    mnt = world.path("mnt")
    if is_mounted(mnt):
        run([os.path.join(BUILD, "uploadfs"), "umount", mnt])


@pytest.mark.plain
def test_closed_descriptors(world, server, source, unmount):
    """The first files it opens are not those it prints to: the lock stays a lock."""
    mnt, state = start(world, server, before=CLOSED)
    pid = pid_of(state)
    for fd in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
    run(["cp", source, os.path.join(mnt, "batch", "f")])
    assert [x["filename"] for x in server.files()] == ["f"]
    out = run([os.path.join(BUILD, "uploadfs"), "recover", "list", state], check=False)
    assert out.returncode != 0 and str(pid) in out.stderr


@pytest.mark.plain
def test_server_with_closed_descriptors(world):
    """uploads-server listens on no number that it prints to."""
    folder = world.path("closed")
    argv = [os.path.join(BUILD, "uploads-server"), "--dir", folder, "--listen", "127.0.0.1:0",
            "--log", world.path("log")]
    pid = int(run(["sh", "-c", '"$@" <&- >&- 2>&- & echo $!', "sh", *argv]).stdout)
    try:
        def std():
            return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]

        wait_until(lambda: os.path.exists(folder) and any(
            "socket:" in os.readlink(f"/proc/{pid}/fd/{x}")
            for x in os.listdir(f"/proc/{pid}/fd")), "it listens")
        assert std() == ["/dev/null"] * 3
    finally:
        os.kill(pid, 15)
        wait_until(lambda: proc_state(pid) in ("", "Z"), "it ends")


@pytest.mark.plain
def test_file_size_limit(world, server):
    """ulimit -f: EFBIG to the writer that meets it, and the mount goes on for the others."""
    mount = world.mount(server)
    run(["prlimit", f"--pid={mount.pid}", f"--fsize={4 * MIB}"])
    mount.may_fail = True
    fd = os.open(mount.path("batch", "big"), os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError) as caught:
        for _ in range(8):
            os.write(fd, b"x" * MIB)
    assert caught.value.errno == errno.EFBIG
    with pytest.raises(OSError) as caught:
        os.close(fd)
    assert caught.value.errno == errno.EFBIG
    run(["cp", make_file(world.path("small"), 2 * MIB), mount.path("batch", "small")])
    assert [x["filename"] for x in server.files()] == ["small"]


@pytest.mark.plain
@pytest.mark.parametrize("word", [*GENERIC, ",".join(GENERIC)], ids=[*GENERIC, "all"])
def test_words_of_every_file_system(world, server, unmount, word):
    mnt, _ = start(world, server, [word])
    assert is_mounted(mnt)


@pytest.mark.plain
def test_log_in_a_new_state_directory(world, server, source, unmount):
    log = world.path("state", "log")
    mnt, state = start(world, server, [f"log_file={log}"])
    run(["cp", source, os.path.join(mnt, "batch", "f")])
    with open(log, encoding="utf-8") as f:
        assert re.search(r"batch/f: published as file-", f.read())
    assert os.stat(state).st_mode & 0o777 == 0o700


def test_no_keys_of_tls_are_written(world, server, source):
    """SSLKEYLOGFILE, left in an environment, would let others read the traffic, key and all."""
    authority = Authority(world.path("ca"))
    relay = Relay(("127.0.0.1", server.port), authority.context("localhost"))
    try:
        log = world.path("tls-keys")
        service = types.SimpleNamespace(url=f"https://localhost:{relay.port}/v1")
        mount = world.mount(service, ca_file=authority.ca, env={"SSLKEYLOGFILE": log})
        run(["cp", source, mount.path("batch", "f")])
        mount.umount()
        assert not os.path.exists(log)
    finally:
        relay.close()
