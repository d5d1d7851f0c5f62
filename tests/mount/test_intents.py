"""What each name means while a rename of a File waits for its new File, and how that can end."""
import ctypes
import errno
import os
import subprocess
import threading
import urllib.error

import pytest

import crash
import harness
from accounts import post_file
from harness import python, wait_let_go, wait_until, xattr

LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
REFUSED = {"op": "create", "action": "status", "status": 400}


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    with open(os.open(path, flags, 0o644), "wb", buffering=0) as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def renameat2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old)


def terminated(argv, condition, what):
    """argv ends by SIGTERM once the condition holds."""
    proc = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        wait_until(condition, what)
        proc.terminate()
        assert proc.wait(harness.DEADLINE) == -15
    finally:
        proc.kill()
        proc.wait()


def contents(server):
    """(name, bytes) of each File; None while one is being deleted."""
    try:
        return sorted((x["filename"], server.get(f"/files/{x['id']}/content").read())
                      for x in server.files())
    except urllib.error.HTTPError as exc:
        assert exc.code == 404
        return None


class Later:
    """A call in a thread; result() waits for it."""

    def __init__(self, call, *args):
        self.value = self.error = None
        self.thread = threading.Thread(target=self._run, args=(call, args), daemon=True)
        self.thread.start()

    def _run(self, call, args):
        try:
            self.value = call(*args)
        except OSError as exc:
            self.error = exc

    def over(self):
        return not self.thread.is_alive()

    def result(self):
        self.thread.join(harness.DEADLINE)
        assert self.over(), "it hangs"
        if self.error:
            raise self.error
        return self.value


@pytest.fixture
def files(world, server):
    """A mount with the Files f and g, and their paths."""
    mount = world.mount(server, retry_timeout="1000", retry_delay="600", list_ttl="1")
    mount.may_fail = True
    f, g = mount.path("batch", "f"), mount.path("batch", "g")
    for path, data in ((f, b"source"), (g, b"target")):
        put(path, data)
        wait_let_go(mount, path)
    return mount, f, g


@pytest.fixture
def begun(server, files):
    """The same, and a rename of f to g that waits for its Upload."""
    mount, f, g = files
    # Known to the kernel: looking a name up waits for the rename.
    os.stat(f), os.stat(g)
    server.faults([{"op": "create", "match": "g", "action": "status", "status": 503, "times": 0}])
    rename = Later(os.rename, f, g)
    wait_until(lambda: server.journal(op="create", status=503), "it asks for an Upload")
    return mount, f, g, rename


def test_reading(server, begun):
    """Both names have their former Files."""
    _, f, g, rename = begun
    assert (get(f), os.stat(f).st_size) == (b"source", 6)
    assert (get(g), os.stat(g).st_size) == (b"target", 6)
    assert not rename.over()
    server.faults([])
    rename.result()
    assert contents(server) == [("g", b"source")] and get(g) == b"source"
    assert not os.path.exists(f)


@pytest.mark.parametrize("change", ["write", "truncate", "cut"])
def test_source_is_written(server, begun, change):
    """Whoever writes it waits, and the bytes come to the new name."""
    _, f, g, rename = begun
    made = {"write": lambda: put(f, b"SOUR", os.O_WRONLY), "truncate": lambda: os.truncate(f, 4),
            "cut": lambda: put(f, b"anew", os.O_WRONLY | os.O_TRUNC)}
    writing = Later(made[change])
    assert not crash.wait_for(writing.over, 0.3)
    server.faults([])
    rename.result()
    writing.result()
    want = {"write": b"SOURce", "truncate": b"sour", "cut": b"anew"}[change]
    assert get(g) == want
    wait_until(lambda: contents(server) == [("g", want)], "the File has it")


@pytest.fixture
def asked(server, files):
    """The same, killed after complete was asked: the rename goes on, and locks nothing."""
    mount, f, g = files
    server.faults([{"op": "complete", "match": "g", "action": "status", "status": 503,
                    "times": 0}])
    terminated(["mv", f, g], lambda: server.journal(op="complete", status=503),
               "complete is asked")
    assert (get(f), get(g)) == (b"source", b"target")
    # That of the target works.
    server.faults([{"op": "complete", "match": server.uploads(status="pending")[0]["id"],
                    "action": "status", "status": 503, "times": 0}])
    return mount, f, g


def test_target_is_written(server, asked):
    """Its close publishes, and the rename replaces that File."""
    mount, f, g = asked
    put(g, b"written meanwhile", os.O_WRONLY | os.O_TRUNC)
    assert xattr(g, "status") == "completed" and get(f) == b"source"
    assert contents(server) == [("f", b"source"), ("g", b"written meanwhile")]
    server.faults([])
    wait_until(lambda: contents(server) == [("g", b"source")], "it is renamed")
    wait_until(lambda: os.listdir(mount.path("batch")) == ["g"], "one name is left")
    assert get(g) == b"source"


def test_target_is_being_written(server, asked):
    """What was not closed goes with the rename; its writer keeps its bytes."""
    mount, _, g = asked
    with open(os.open(g, os.O_RDWR | os.O_TRUNC), "r+b", buffering=0) as out:
        out.write(b"half")
        server.faults([])
        wait_until(lambda: contents(server) == [("g", b"source")], "it is renamed")
        assert os.pread(out.fileno(), 9, 0) == b"half"
    assert contents(server) == [("g", b"source")]
    wait_until(lambda: os.listdir(mount.path("batch")) == ["g"], "one name is left")
    assert get(g) == b"source"


def test_source_is_changed(server, asked):
    """A second rename of it waits; so does a write."""
    mount, f, _ = asked
    again = Later(os.rename, f, mount.path("batch", "h"))
    assert not crash.wait_for(again.over, 0.3)
    server.faults([])
    # The name has gone to g by then.
    with pytest.raises(FileNotFoundError):
        again.result()
    wait_until(lambda: contents(server) == [("g", b"source")], "it is renamed")


@pytest.mark.parametrize("which", [0, 1])
def test_one_of_both_is_removed(server, asked, which):
    """A removed source takes the rename with it; a removed target comes back by it."""
    mount, *names = asked
    os.unlink(names[which])
    server.faults([])
    want = [[("g", b"target")], [("g", b"source")]][which]
    wait_until(lambda: contents(server) == want, "one File is left")
    wait_until(lambda: os.listdir(mount.path("batch")) == ["g"], "one name is left")


def test_source_of_a_killed_caller_is_removed(world, server, files):
    """After EINTR the name can be removed and made anew."""
    mount, f, g = files
    server.faults([{"op": "create", "match": "g", "action": "status", "status": 503, "times": 0}])
    terminated(["mv", f, g], lambda: server.journal(op="create", status=503),
               "it asks for an Upload")
    wait_until(lambda: xattr(f, "status") == "completed", "the rename is given up")
    server.faults([])
    assert sorted(os.listdir(mount.path("batch"))) == ["f", "g"]
    assert (get(f), get(g)) == (b"source", b"target")
    os.unlink(f)
    assert contents(server) == [("g", b"target")]


@pytest.mark.parametrize("size", [6, 9])
def test_noreplace(server, files, size):
    """A File of another host takes the name before ours is asked for."""
    mount, f, _ = files
    h = mount.path("batch", "h")
    server.faults([{"op": "create", "match": "h", "action": "status", "status": 503, "times": 0}])
    rename = Later(renameat2, f, h, NOREPLACE)
    wait_until(lambda: server.journal(op="create", status=503), "it asks for an Upload")
    post_file(server, "h", b"h" * size)
    # Of its size it could be ours: then both are kept.
    if size == 9:
        with pytest.raises(OSError) as e:
            # A listing comes with a look at another directory.
            wait_until(lambda: os.path.exists(mount.path("vision", "x")) or rename.over(), "a list")
            rename.result()
        assert e.value.errno == errno.EEXIST
        server.faults([])
        assert get(h) == b"h" * size and get(f) == b"source"
        assert ("f", b"source") in contents(server) and len(server.files()) == 3
        return
    server.faults([])
    rename.result()
    assert contents(server) == [("g", b"target"), ("h", b"h" * size), ("h", b"source")]
    wait_until(lambda: len(os.listdir(mount.path("batch"))) == 3, "all are listed")
    assert get(h) == b"source"


def test_flags(files):
    _, f, g = files
    for flags, code in ((NOREPLACE, errno.EEXIST), (EXCHANGE, errno.EINVAL)):
        with pytest.raises(OSError) as e:
            renameat2(f, g, flags)
        assert e.value.errno == code
    assert (get(f), get(g)) == (b"source", b"target")


def test_held_again(world, server, files):
    """A failed rename of a held file leaves it held; the next one publishes."""
    mount, _, g = files
    temporary = mount.path("batch", ".g.aBcDeF")
    put(temporary, b"new")
    for k in range(2):
        server.faults([{"op": "complete", "action": "status", "status": 400, "comment": str(k)}])
        with pytest.raises(OSError) as e:
            os.rename(temporary, g)
        server.faults([])
        assert e.value.errno == errno.EINVAL
        assert xattr(temporary, "status") == "held"
        assert get(temporary) == b"new" and get(g) == b"target"
    os.rename(temporary, g)
    assert contents(server) == [("f", b"source"), ("g", b"new")]


@pytest.mark.parametrize("target", [None, "held"])
def test_to_a_temporary_name(server, files, target):
    """A File stays one under a temporary name, and a kill right after the reply changes nothing."""
    mount, f, _ = files
    temporary = mount.path("batch", ".h.aBcDeF")
    if target:
        put(temporary, b"held")
    os.rename(f, temporary)
    mount.kill()
    mount.remount()
    assert sorted(os.listdir(mount.path("batch"))) == [".h.aBcDeF", "g"]
    assert get(temporary) == b"source"
    assert contents(server) == [(".h.aBcDeF", b"source"), ("g", b"target")]


def test_attributes_of_a_staged_file(server, files):
    """They are recorded before the reply."""
    mount, _, g = files
    h = mount.path("batch", "h")
    server.faults([REFUSED])
    with pytest.raises(OSError):
        put(h, b"failed")
    out = os.open(g, os.O_RDWR)
    try:
        os.write(out, b"half")
        os.fchmod(out, 0o600)
        os.chown(h, 1, 2)
        os.setxattr(h, "user.upload.mime_type", b"text/x-h")
        os.setxattr(h, "user.upload.expires_after", b"7200")
        mount.kill()
    finally:
        with pytest.raises(OSError):
            os.close(out)
    rows = {x["path"]: x for x in harness.records(mount.state)}
    assert rows["g"]["mode"] == 0o600
    assert (rows["h"]["uid"], rows["h"]["gid"]) == (1, 2)
    assert (rows["h"]["mime_type"], rows["h"]["expires_after"]) == ("text/x-h", 7200)
    mount.remount()
    assert os.stat(g).st_mode & 0o777 == 0o600 and os.stat(h).st_uid == 1


def test_failed_with_an_open_writer(server, files):
    """The File that could not be renamed stays, and can be changed."""
    _, f, g = files
    with open(f, "r+b", buffering=0) as out:
        out.write(b"S")
        os.close(os.dup(out.fileno()))
        server.faults([{**REFUSED, "times": 1}])
        with pytest.raises(OSError):
            os.rename(f, g)
        server.faults([])
        assert get(f) == b"Source" and get(g) == b"target"
        out.write(b"O")
    assert contents(server) == [("f", b"SOurce"), ("g", b"target")]


def test_without_content(world, server):
    """A File that is not here is copied by mv."""
    mount = world.mount(server, cache_size="0", list_ttl="1")
    f, g = mount.path("batch", "f"), mount.path("batch", "g")
    put(f, b"bytes")
    wait_let_go(mount, f)
    with pytest.raises(OSError) as e:
        os.rename(f, g)
    assert e.value.errno == errno.EXDEV
    harness.run(["mv", f, g])
    assert contents(server) == [("g", b"bytes")]


LIST_FAILS = {"op": "list", "action": "status", "status": 500, "times": 0}


@pytest.mark.no_tsan  # it waits most of the time
@pytest.mark.parametrize("fate", ["exists", "repeated", "never"])
def test_cut_in_doubt(server, files, fate):
    """The next daemon finds the File and moves the name, or there is none and nothing happened."""
    mount, f, g = files
    put(mount.path("batch", "local"), b"")
    action = {"action": "drop"} if fate == "exists" else {"action": "status", "status": 500}
    server.faults([{"op": "complete", "times": 0, **action}, LIST_FAILS])
    rename = Later(os.rename, f, g)
    wait_until(lambda: len(server.journal(op="complete")) > 2, "complete is asked")
    mount.kill()
    with pytest.raises(OSError):
        rename.result()
    upload = [x["id"] for x in server.uploads(filename="g", status="pending")]
    refuse = {"op": "complete", "action": "status", "status": 400, "times": 0}
    server.faults([refuse] if fate == "never" else [])
    mount.remount()
    # Each name is there at any time.
    assert {"g", "local"} <= set(os.listdir(mount.path("batch")))
    if fate == "never":
        assert get(f) == b"source" and get(g) == b"target"
        wait_until(lambda: not harness.query(mount.state, "SELECT * FROM copy"), "it is given up")
        assert server.uploads(status="pending") == [] and upload
        assert contents(server) == [("f", b"source"), ("g", b"target")]
        assert sorted(os.listdir(mount.path("batch"))) == ["f", "g", "local"]
        return
    wait_until(lambda: contents(server) == [("g", b"source")], "it is done")
    wait_until(lambda: set(os.listdir(mount.path("batch"))) == {"g", "local"}, "and shown")
    assert get(g) == b"source"


@pytest.mark.parametrize("keeps", ["keep_old", "no_delete"])
def test_cut_with_keep_old(world, server, keeps):
    """What is renamed is no old File: the next daemon deletes it, unless that may delete nothing."""
    mount = world.mount(server, "keep_old", list_ttl="1")
    mount.may_fail = True
    f, g = mount.path("batch", "f"), mount.path("batch", "g")
    for path, data in ((f, b"source"), (g, b"target")):
        put(path, data)
        wait_let_go(mount, path)
    server.faults([{"op": "complete", "action": "drop", "times": 0}, LIST_FAILS])
    rename = Later(os.rename, f, g)
    wait_until(lambda: server.journal(op="complete", fault="drop"), "complete is asked")
    mount.kill()
    with pytest.raises(OSError):
        rename.result()
    server.faults([])
    mount.flags = [keeps]
    mount.remount()
    left = [("f", b"source")] if keeps == "no_delete" else []
    want = [*left, ("g", b"source"), ("g", b"target")]
    wait_until(lambda: harness.records(mount.state) == [], "it is over")
    assert contents(server) == want
    wait_until(lambda: len(os.listdir(mount.path("batch"))) == len(want), "and shown")
    assert get(g) == b"source"


def test_rm_of_aborted_bytes_in_doubt(world, server, files):
    """Neither the bytes nor the File that they may have become take the File before with them."""
    mount, f, _ = files
    server.faults([{"op": "complete", "action": "drop", "times": 0}, LIST_FAILS])
    writing = Later(put, f, b"new bytes")
    wait_until(lambda: len(server.journal(op="complete")) > 2, "complete is asked")
    mount.kill()
    with pytest.raises(OSError):
        writing.result()
    server.faults([])
    mount.remount()
    wait_until(lambda: contents(server) == [("f", b"new bytes"), ("g", b"target")], "it is done")


def test_rm_right_after_a_kill(server, files):
    """The parent knows of the death before the file is let go; the File stays."""
    _, f, _ = files
    for data in (b"", b"half") * 10:
        python("import os, sys\nif os.fork() == 0:\n"
               " fd = os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)\n"
               f" {data} and os.write(fd, {data})\n os.kill(os.getpid(), 9)\n"
               "os.wait()\nos.unlink(sys.argv[1])", f)
        wait_until(lambda: os.path.exists(f), "the File shows again")
        assert get(f) == b"source"
    assert contents(server) == [("f", b"source"), ("g", b"target")]


def test_rm_of_aborted_bytes_that_were_renamed(server, files):
    """The File that they would have replaced shows under the name that it has."""
    mount, f, _ = files
    python("import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY)\nos.write(fd, b'half')\n"
           "os.kill(os.getpid(), 9)", f, check=False)
    wait_until(lambda: xattr(f, "status") == "aborted", "its writer was killed")
    h = mount.path("batch", "h")
    os.rename(f, h)
    os.unlink(h)
    wait_until(lambda: sorted(os.listdir(mount.path("batch"))) == ["f", "g"], "it is f again")
    assert get(f) == b"source" and not os.path.exists(h)
    assert contents(server) == [("f", b"source"), ("g", b"target")]


@pytest.mark.parametrize("closed", [True, False])
def test_written_after_a_killed_rm(server, files, closed):
    """What was written after the death of rm(1) stays; the File of before goes."""
    mount, f, _ = files
    server.faults([{"op": "delete", "action": "status", "status": 503, "times": 0}])
    terminated(["rm", f], lambda: server.journal(op="delete", status=503),
               "it asks for the deletion")
    with open(f, "wb", buffering=0) as out:
        out.write(b"anew")
        if not closed:
            server.faults([])
            wait_until(lambda: contents(server) == [("g", b"target")], "the deletion is over")
        writing = Later(out.close)
        if closed:
            wait_until(lambda: ("f", b"anew") in contents(server), "it is a File")
            server.faults([])
        writing.result()
    wait_until(lambda: contents(server) == [("f", b"anew"), ("g", b"target")], "two are left")
    assert sorted(os.listdir(mount.path("batch"))) == ["f", "g"] and get(f) == b"anew"


def test_rm_while_it_is_written(server, files):
    """It takes the File that was opened, too: all that the name stands for."""
    _, f, _ = files
    with open(f, "wb", buffering=0) as out:
        out.write(b"half")
        os.unlink(f)
    assert contents(server) == [("g", b"target")]
    assert not os.path.exists(f)
