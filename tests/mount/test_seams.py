"""A rename that fails changes nothing: neither name, nor bytes, nor open handle."""
import errno
import os
import threading

import pytest

import crash
import harness
from harness import python, wait_let_go, wait_until, xattr

REFUSED = {"op": "create", "action": "status", "status": 400}
KILLED = "import os, sys\nos.write(os.open(sys.argv[1], 65), b'only copy')\nos.kill(os.getpid(), 9)"


@pytest.fixture
def seam(world, server):
    """A mount with a File f, and the paths of f and g."""
    mount = world.mount(server, retry_timeout="1", retry_delay="600", list_ttl="1")
    mount.may_fail = True
    f, g = mount.path("batch", "f"), mount.path("batch", "g")
    put(f, b"source")
    wait_let_go(mount, f)
    return mount, f, g


def put(path, data):
    with open(path, "wb", buffering=0) as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def refused_rename(server, f, g, times=1):
    server.faults([{**REFUSED, "times": times}])
    with pytest.raises(OSError) as e:
        os.rename(f, g)
    server.faults([])
    assert e.value.errno == errno.EINVAL


def contents(server):
    return sorted((x["filename"], server.get(f"/files/{x['id']}/content").read())
                  for x in server.files())


def test_target_is_the_only_copy(server, seam):
    """The bytes of a killed writer stay where they are."""
    _, f, g = seam
    python(KILLED, g, check=False)
    wait_until(lambda: xattr(g, "status") == "aborted", "the kill is noticed")
    refused_rename(server, f, g)
    assert get(g) == b"only copy" and xattr(g, "status") == "aborted"
    assert get(f) == b"source" and xattr(f, "status") == "completed"


def test_target_is_being_written(server, seam):
    """The close of the target publishes the bytes it has."""
    _, f, g = seam
    with open(g, "wb", buffering=0) as out:
        out.write(b"written")
        refused_rename(server, f, g)
    assert contents(server) == [("f", b"source"), ("g", b"written")]


def test_both_are_files(server, seam):
    """The target, overwritten afterwards, is one File."""
    mount, f, g = seam
    put(g, b"old")
    wait_let_go(mount, g)
    refused_rename(server, f, g)
    assert get(g) == b"old"
    put(g, b"new")
    assert contents(server) == [("f", b"source"), ("g", b"new")]
    os.rename(f, g)
    assert contents(server) == [("g", b"source")] and get(g) == b"source"


def test_reader_of_a_failed_update(seam):
    """It reads the File, not what is left of the update."""
    _, f, _ = seam
    with open(f, "rb", buffering=0) as reader:
        out = os.open(f, os.O_WRONLY)
        with pytest.raises(OSError):
            os.ftruncate(out, 1 << 60)
        os.close(out)
        assert reader.read() == b"source"
    assert get(f) == b"source"


def test_killed_before_the_first_byte(server, seam):
    """A File that was cut by a killed writer stays."""
    _, f, _ = seam
    python("import os, sys\nos.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)\n"
           "os.kill(os.getpid(), 9)", f, check=False)
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    assert contents(server) == [("f", b"source")]


@pytest.fixture
def noted(world, server):
    """A mount that notes each sync, and a function that returns those since its last call."""
    mount = world._add(crash.CrashMount, server, (), at=0)
    seen = []

    def syncs():
        new = mount.notes("sync")[len(seen):]
        seen.extend(new)
        return new

    return mount, syncs


def is_durable(notes):
    """Whether a sync of the WAL that began after the first commit in these notes has ended."""
    rest = iter(notes)
    return all(line in rest for line in ("commit store", "syncing wal", "sync wal"))


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
def test_fsync_of_a_directory(noted):
    """A change of names is durable after it, whoever else syncs meanwhile."""
    mount, _ = noted
    f, d = mount.path("batch", "f"), mount.path("batch", "d")
    python(KILLED, f, check=False)
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    top = os.open(mount.path("batch"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        for change in (lambda: os.mkdir(d), lambda: os.rename(f, d + "/g"),
                       lambda: os.unlink(d + "/g"), lambda: os.rmdir(d)):
            before = len(mount.all_notes())
            change()
            os.fsync(top)
            assert is_durable(mount.all_notes()[before:])
    finally:
        os.close(top)


@pytest.mark.plain
def test_upload_of_several_parts(server, noted):
    """The row that names it is durable before the Parts are in."""
    mount, syncs = noted
    wait_until(lambda: "wal" in syncs(), "the WAL was grown")
    server.faults([{"op": "part", "nth": 2, "action": "stall"}])
    writer = threading.Thread(target=put, args=(mount.path("batch", "f"), bytes(3 << 20)))
    writer.start()
    try:
        wait_until(lambda: "wal" in syncs(), "it is durable")
        assert writer.is_alive() and not server.journal(op="complete")
    finally:
        server.faults([])
        # The stalled Part is sent again.
        server.restart()
        writer.join()
    assert [x["filename"] for x in server.files()] == ["f"]


@pytest.mark.plain
@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_DSYNC, os.O_WRONLY | os.O_SYNC,
                                   os.O_RDWR | os.O_DSYNC, os.O_RDWR | os.O_SYNC])
def test_write_that_syncs(noted, flags):
    """The bytes are synced when write() returns, each time."""
    mount, syncs = noted
    with open(os.open(mount.path("batch", "f"), flags | os.O_CREAT), "wb", buffering=0) as out:
        for data in (b"first", b"second"):
            syncs()
            out.write(data)
            assert "data" in syncs()


class NamespaceMount(harness.Mount):
    """The daemon in a PID namespace of its own: the kernel names no writer."""

    def argv(self):
        return ["unshare", "--pid", "--fork", "--kill-child", *super().argv()]


@pytest.fixture
def unseen(world, server):
    if os.geteuid():
        pytest.skip("making a PID namespace takes root")
    mount = world._add(NamespaceMount, server, (), list_ttl="1")
    mount.may_fail = True
    return mount


@pytest.mark.parametrize("sig", ["KILL", "TERM", "INT", "HUP"])
def test_unseen_writer_is_killed(server, unseen, sig):
    """Its half is no File; the log names the cure once."""
    f, g = unseen.path("batch", "f"), unseen.path("batch", "g")
    for path in (f, g):
        python("import os, signal, sys\n"
               f"signal.signal(signal.SIG{sig}, signal.SIG_DFL) if '{sig}' != 'KILL' else None\n"
               "os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b'half')\n"
               f"os.kill(os.getpid(), signal.SIG{sig})", path, check=False)
        wait_until(lambda p=path: xattr(p, "status") == "aborted", "the kill is noticed")
    put(f, b"whole")
    assert contents(server) == [("f", b"whole")]
    assert unseen.log().count("hostPID") == 1


def test_unseen_child_is_killed(server, unseen):
    """Its parent goes on, and the file is no File."""
    f = unseen.path("batch", "f")
    python("import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
           "os.fork() or (os.write(fd, b'half'), os.kill(os.getpid(), 9))\n"
           "os.wait()\nos.write(fd, b' and more')\nos.close(fd)", f, check=False)
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    assert contents(server) == []


def test_unseen_writer_exits(server, unseen):
    """An exit without a close publishes."""
    f = unseen.path("batch", "f")
    python("import os, sys\nos.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b'all')\n"
           "os._exit(3)", f, check=False)
    wait_until(lambda: contents(server) == [("f", b"all")], "the File is there")


HALF = "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
DIE = "os.kill(os.getpid(), 9)\n"
HALVES = {
    "a duplicate is left": HALF + "os.write(fd, b'half')\nos.dup(fd)\n" + DIE,
    "a thread wrote": HALF + "t = threading.Thread(target=os.write, args=(fd, b'half'))\n"
                      "t.start()\nt.join()\n" + DIE,
    "a thread waits": HALF + "os.write(fd, b'half')\n"
                      "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n" + DIE,
    "the child wrote last": HALF + "os.write(fd, b'ha')\nos.fork() or (os.write(fd, b'lf'), "
                            "os.kill(os.getpid(), 9))\nos.wait()\nos.close(fd)\n",
    "two handles": HALF + "two = os.open(sys.argv[1], os.O_WRONLY)\nos.write(fd, b'ha')\n"
                   "os.pwrite(two, b'lf', 2)\n" + DIE,
}
WHOLES = {
    "a child inherits": HALF + "os.write(fd, b'all')\nos.fork() or os.kill(os.getpid(), 9)\n"
                        "os.wait()\nos.close(fd)\n",
    "a child inherits a duplicate": HALF + "os.write(fd, b'all')\nos.set_inheritable(os.dup(fd), 1)\n"
                                    "os.fork() or os.kill(os.getpid(), 9)\nos.wait()\n",
    "a thread writes and closes": HALF + "t = threading.Thread(target=lambda: (os.write(fd, b'all'),"
                                  " os.close(fd)))\nt.start()\nt.join()\n",
}


@pytest.fixture(params=["seen", "unseen"])
def any_mount(request, world, server):
    mount = request.getfixturevalue("unseen") if request.param == "unseen" else \
        world.mount(server, list_ttl="1")
    mount.may_fail = True
    return mount


@pytest.mark.parametrize("script", HALVES.values(), ids=HALVES)
def test_half_a_file(server, any_mount, script):
    """A file of a killed writer is no File, whichever way its descriptors are shared."""
    f = any_mount.path("batch", "f")
    python("import os, sys, threading, time\n" + script, f, check=False)
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    assert contents(server) == [] and get(f) == b"half"


@pytest.mark.parametrize("script", WHOLES.values(), ids=WHOLES)
def test_a_whole_file(server, any_mount, script):
    """One that only inherited the file and is killed spoils nothing."""
    f = any_mount.path("batch", "f")
    python("import os, sys, threading, time\n" + script, f, check=False)
    wait_until(lambda: xattr(f, "status") == "completed", "it is published")
    assert contents(server) == [("f", b"all")]


@pytest.mark.parametrize("how", ["thread", "exec", "dup"])
def test_close_after_the_kill_of_another(server, any_mount, how):
    """The close of an independent open is EIO after the other writer died, and right after."""
    f = any_mount.path("batch", "f")
    writes = {"thread": "t = threading.Thread(target=os.write, args=(fd, b'XX'))\nt.start()\nt.join()\n",
              "exec": "os.write(fd, b'XX')\nos.set_inheritable(fd, True)\n"
                      "os.execvp('sh', ['sh', '-c', 'kill -9 $$'])\n",
              "dup": "other = os.dup(fd)\nos.write(other, b'XX')\n"}
    with pytest.raises(OSError) as e:
        with open(f, "wb", buffering=0) as out:
            out.write(b"whole")
            python("import os, sys, threading\nfd = os.open(sys.argv[1], os.O_WRONLY)\n"
                   + writes[how] + DIE, f, check=False)
    assert e.value.errno == errno.EIO
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    assert contents(server) == []


@pytest.mark.parametrize("flags, data", [(0, b"half"), (os.O_TRUNC, b""), (os.O_TRUNC, b"half")])
def test_close_beside_a_killed_writer(server, seam, flags, data):
    """Whoever else holds the file learns of it, and the File stays."""
    _, f, _ = seam
    with pytest.raises(OSError) as e:
        with open(os.open(f, os.O_WRONLY), "wb", buffering=0):
            python(f"import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY | {flags})\n"
                   f"{data} and os.write(fd, {data})\nos.kill(os.getpid(), 9)", f, check=False)
    assert e.value.errno == errno.EIO
    wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
    assert contents(server) == [("f", b"source")]


def test_bytes_cut_by_a_killed_writer(server, seam):
    """The bytes of another writer are gone: its close says so."""
    _, _, g = seam
    with pytest.raises(OSError) as e:
        with open(g, "wb", buffering=0) as out:
            out.write(b"whole")
            python("import os, sys\nos.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)\n"
                   "os.kill(os.getpid(), 9)", g, check=False)
    assert e.value.errno == errno.EIO
    assert contents(server) == [("f", b"source")]


def test_rm_of_aborted_bytes(server, seam):
    """The File that they would have replaced has the name again, with its attributes."""
    mount, f, g = seam
    os.chmod(f, 0o640)
    before = os.stat(f)
    for _ in range(2):
        python("import os, sys\nos.write(os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC), b'half')\n"
               "os.kill(os.getpid(), 9)", f, check=False)
        wait_until(lambda: xattr(f, "status") == "aborted", "the kill is noticed")
        os.unlink(f)
        assert get(f) == b"source" and xattr(f, "status") == "completed"
        after = os.stat(f)
        assert (after.st_mode, after.st_size) == (before.st_mode, before.st_size)
    # Renamed over the File, and hidden for the next mount as well.
    python(KILLED, g, check=False)
    wait_until(lambda: xattr(g, "status") == "aborted", "the kill is noticed")
    os.rename(g, f)
    mount.kill()
    mount.remount()
    assert get(f) == b"only copy"
    os.unlink(f)
    wait_until(lambda: os.path.exists(f) and get(f) == b"source", "the File is back")
    os.unlink(f)
    assert contents(server) == [] and not os.path.exists(f)


@pytest.mark.plain
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("at", range(2, 7))
def test_replacement_cut_by_a_kill(world, server, at, closed):
    """Write a.tmp, rename it over the File a: a is the old or the new one, also after rm."""
    mount = world._add(crash.CrashMount, server, (), when="after", list_ttl="1", retry_delay="1")
    mount.may_fail = True
    a, t = mount.path("batch", "a"), mount.path("batch", "a.tmp")
    put(a, b"old")
    if closed:
        put(t, b"new")
    mount.umount()
    mount.at = at
    mount.start()
    try:
        if closed:
            os.rename(t, a)
        else:
            out = os.open(t, os.O_WRONLY | os.O_CREAT)
            os.write(out, b"new")
            os.fsync(out)
            os.rename(t, a)
    except OSError as e:
        assert e.errno in crash.GONE
    mount.wait_for_death(1)
    mount.detach()
    mount.at = None
    mount.start()
    assert get(a) in (b"old", b"new")
    left = [x for x in (a, t) if os.path.exists(x) and xattr(x, "status") == "aborted"]
    for path in left:
        os.unlink(path)
    wait_until(lambda: os.path.exists(a) and get(a) in (b"old", b"new"), "a File has the name")
    if left:
        assert ("a", b"old") in contents(server)


def nested(top):
    """Directories in one another, entered one by one, until one is refused; how many there are."""
    here, depth = os.open(top, os.O_RDONLY | os.O_DIRECTORY), 0
    try:
        while True:
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
            depth += 1
            assert depth < 4096
    except OSError as e:
        assert e.errno == errno.ENAMETOOLONG
    finally:
        os.close(here)
    return depth


@pytest.mark.no_tsan  # one thread, many names
def test_directories_without_end(world, server):
    """Beyond PATH_MAX one is refused; the tree is moved, listed and found by the next mount."""
    mount = world.mount(server, list_ttl="1")
    top, other = mount.path("batch", "t"), mount.path("batch", "u")
    os.mkdir(top)
    assert nested(top) > 2000
    assert os.path.isdir(top + "/d" * 2000)
    os.rename(top, other)
    assert os.path.isdir(other + "/d" * 2000) and not os.path.exists(top)
    with pytest.raises(OSError) as e:
        os.rename(other, mount.path("batch", "a name that is longer"))
    assert e.value.errno == errno.ENAMETOOLONG
    os.rename(other, mount.path("vision", "v"))
    mount.kill()
    mount.remount()
    assert os.listdir(mount.path("batch")) == []
    assert os.path.isdir(mount.path("vision", "v") + "/d" * 2000)


@pytest.mark.plain
@pytest.mark.parametrize("at", range(1, 8))
def test_directory_rename_cut_by_a_kill(world, server, at):
    """All that is in the directory has one place: the former or the new one."""
    mount = world._add(crash.CrashMount, server, (), when="after", list_ttl="1")
    mount.may_fail = True
    old, new = mount.path("batch", "old"), mount.path("batch", "new")
    os.makedirs(old + "/sub")
    os.mkdir(old + "er")
    names = ["f", "sub/g", "sub/h"]
    for name in ["../older/f", *names]:
        python(KILLED, os.path.join(old, name), check=False)
        wait_until(lambda n=name: xattr(os.path.join(old, n), "status") == "aborted", "it is kept")
    mount.kill()
    mount.detach()
    mount.at = at
    mount.start()
    try:
        os.rename(old, new)
    except OSError as e:
        assert e.errno in crash.GONE
    mount.wait_for_death(1)
    mount.detach()
    mount.at = None
    mount.start()
    there = [d for d in (old, new) if os.path.isdir(d)]
    assert len(there) == 1
    assert {get(os.path.join(there[0], x)) for x in names} == {b"only copy"}
    assert os.listdir(old + "er") == ["f"]


class BrokenStore(crash.CrashMount):
    """Its store fails for good with the first sync after the switch exists."""

    @property
    def switch(self):
        return self.state + ".broken"

    def env(self):
        return {**super().env(), "UPLOADFS_CRASH_SYNC": self.switch}


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
def test_unlink_that_can_not_be_recorded(world, server):
    """It is not answered with 0, and nothing of the file goes."""
    mount = world._add(BrokenStore, server, (), at=0)
    mount.may_fail = True
    top, path = mount.path("batch"), mount.path("batch", "f")
    python(KILLED, path, check=False)
    wait_until(lambda: xattr(path, "status") == "aborted", "the kill is noticed")
    with open(mount.switch, "w", encoding="utf-8"):
        pass
    fd = os.open(top, os.O_RDONLY)
    try:
        # Something to sync: a commit, and a sync of it that fails.
        os.mkdir(os.path.join(top, "d"))
        with pytest.raises(OSError) as e:
            os.fsync(fd)
        assert e.value.errno == errno.EIO
    finally:
        os.close(fd)
    with pytest.raises(OSError) as e:
        os.unlink(path)
    assert e.value.errno == errno.EIO
    assert os.path.exists(path) and get(path) == b"only copy"
    os.unlink(mount.switch)
    mount.remount()
    assert get(path) == b"only copy"
    os.unlink(path)
    assert not os.path.exists(path)
