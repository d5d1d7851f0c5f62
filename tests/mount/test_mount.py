"""Starting and stopping; and that a sanitizer's report would be seen."""
import contextlib
import http.client
import os
import stat

import pytest

import harness
import sanitizer
from harness import (BUILD, KEY, SAN, assert_published, is_mounted, python, run, wait_until, xattr)


def uploadfs(world, server, *args, check=False, **env):
    """A run of build/uploadfs that is expected to return."""
    env = {**sanitizer.options(world.dir), "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY,
           **env}
    return run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *args]), env=env, check=check)


def pids_of(word):
    """The processes with this path among their arguments."""
    found = []
    for pid in [x for x in os.listdir("/proc") if x.isdigit()]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0"):
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def test_in_the_background(world, server, source):
    """Without -f the command returns when the mount answers, and the daemon stays."""
    mnt = world.path("mnt")
    os.mkdir(mnt)
    try:
        uploadfs(world, server, mnt, "-o", f"state_dir={world.path('state')}", check=True)
        assert is_mounted(mnt)
        pids = pids_of(mnt)
        assert len(pids) == 1
        run(["cp", source, os.path.join(mnt, "batch", "f")])
        assert_published(server, os.path.join(mnt, "batch", "f"), source)
        with open(f"/proc/{pids[0]}/cmdline", "rb") as f:
            assert KEY.encode() not in f.read()
        run(["fusermount3", "-u", mnt])
        wait_until(lambda: not pids_of(mnt), "the daemon ends")
    finally:
        if is_mounted(mnt):
            run(["fusermount3", "-u", "-z", mnt], check=False)
        for pid in pids_of(mnt):
            os.kill(pid, 9)


@pytest.mark.parametrize("args", [[], ["/nonexistent/mountpoint"], ["MNT", "-o", "part_size=1"],
                                  ["MNT", "-o", "part_size=65M"], ["MNT", "-o", "parallel=x"],
                                  ["MNT", "-o", "purpose=../x"], ["--no-such-flag", "MNT"]])
def test_bad_arguments(world, server, args):
    """An exit code, a reason on stderr, and nothing mounted."""
    mnt = world.path("mnt")
    os.mkdir(mnt)
    words = [mnt if x == "MNT" else x for x in args]
    if mnt in words:
        words += ["-o", f"state_dir={world.path('state')}"]
    result = uploadfs(world, server, *words)
    assert result.returncode > 0 and result.returncode != 99
    assert result.stderr.strip()
    assert not is_mounted(mnt)


def test_key_file_must_be_private(world, server, source):
    """A key file that others can read is refused; a private one works."""
    path = world.path("key")
    with open(path, "w", encoding="ascii") as f:
        f.write(KEY + "\n")
    mnt = world.path("mnt")
    os.mkdir(mnt)
    os.chmod(path, 0o644)
    result = uploadfs(world, server, mnt, "-o", f"api_key_file={path},state_dir={world.path('s')}")
    assert result.returncode > 0 and path in result.stderr and not is_mounted(mnt)
    os.chmod(path, stat.S_IRUSR)
    mount = world.mount(server, key=None, api_key_file=path)
    run(["cp", source, mount.path("batch", "f")])
    assert_published(server, mount.path("batch", "f"), source)


def test_one_state_directory_one_daemon(world, server, mount):
    """A second daemon on the same state directory is refused."""
    mnt = world.path("second")
    os.mkdir(mnt)
    result = uploadfs(world, server, mnt, "-o", f"state_dir={mount.state}")
    assert result.returncode > 0 and mount.state in result.stderr
    assert not is_mounted(mnt)


def test_purpose_as_the_root(world, server, source):
    mount = world.mount(server, purpose="batch")
    run(["cp", source, mount.path("f")])
    assert assert_published(server, mount.path("f"), source, purpose="batch")


def test_remount_shows_what_was_sent(server, mount, source):
    run(["cp", source, mount.path("batch", "f")])
    file_id = xattr(mount.path("batch", "f"), "file_id")
    mount.umount()
    mount.remount()
    assert xattr(mount.path("batch", "f"), "file_id") == file_id
    run(["cmp", source, mount.path("batch", "f")])
    assert len(server.files()) == 1


def listening_ports(pids):
    """The TCP ports of this host's IPv4 addresses on which the processes listen."""
    inodes = set()
    for fd in (os.path.join(f"/proc/{pid}/fd", fd) for pid in pids
               for fd in os.listdir(f"/proc/{pid}/fd")):
        with contextlib.suppress(FileNotFoundError):
            inodes.add(os.readlink(fd))
    with open("/proc/net/tcp", encoding="utf-8") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    ports = [int(row[1].split(":")[1], 16) for row in rows
             if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    assert ports
    return ports


def status_without_key(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/v1/files")
        return connection.getresponse().status
    finally:
        connection.close()


def test_local(world, source):
    """`uploadfs local:DIR MNT`: no server to start, no key."""
    mnt, data = world.path("mnt"), world.path("data")
    os.mkdir(mnt)
    env = {**sanitizer.options(world.dir), "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    try:
        run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), "local:" + data, mnt, "-o",
                                 f"state_dir={world.path('state')}"]), env=env)
        dest = os.path.join(mnt, "batch", "f")
        run(["cp", source, dest])
        assert xattr(dest, "file_id")
        run(["cmp", source, dest])
        for port in listening_ports(pids_of(mnt)):
            assert status_without_key(port) == 401
        run(["fusermount3", "-u", mnt])
        wait_until(lambda: not pids_of(mnt), "the daemon ends")
        listing = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploads-server"), "--dir", data,
                                           "--list"]), env=env).stdout
        assert harness.json.loads(listing)["files"][0]["bytes"] == os.path.getsize(source)
    finally:
        if is_mounted(mnt):
            run(["fusermount3", "-u", "-z", mnt], check=False)
        for pid in pids_of(mnt):
            os.kill(pid, 9)


def test_fsync_does_not_publish(server, mount):
    out = python("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b"x" * 100000)
os.fsync(f)
print(os.getxattr(sys.argv[1], "user.upload.status").decode())
os.write(f, b"y")
os.close(f)
""", mount.path("batch", "f")).stdout
    assert out in ("writing\n", "streaming\n")
    assert [x["bytes"] for x in server.files()] == [100001]
    assert len(server.journal(op="complete")) == 1


def test_state_directory_of_somebody_else(world, server):
    """A directory with other things in it, open to others, is refused and left as it is."""
    state = world.path("not-ours")
    os.mkdir(state, 0o755)
    open(os.path.join(state, "precious"), "w", encoding="ascii").close()
    os.chmod(state, 0o755)
    mnt = world.path("elsewhere")
    os.mkdir(mnt)
    result = run([os.path.join(BUILD, "uploadfs"), server.url, mnt, "-o", "state_dir=" + state],
                 check=False, env={"OPENAI_API_KEY": KEY})
    assert result.returncode == 1 and "choose another" in result.stderr
    assert os.stat(state).st_mode & 0o777 == 0o755 and os.listdir(state) == ["precious"]
