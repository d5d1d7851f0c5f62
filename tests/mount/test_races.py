"""Several at one file or one name at once, and ends that come at a bad moment."""
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from harness import (KEY, MIB, SLOW, arriving_data, assert_nothing_pending, assert_published,
                     is_mounted, make_file, md5, run, wait_let_go, wait_until, xattr)

HERE = os.path.dirname(os.path.abspath(__file__))
# What somebody else's unlink, rename or kill can do to an operation; and EIO for what a killed
# writer left, EPERM for publishing what is a File already, ESTALE for a name that went under us,
# EXDEV for a File that shows again after its update was given up: its content is not here any more.
MEETS = ["ENOENT", "EEXIST", "ENOTEMPTY", "ENODATA", "EIO", "EPERM", "ESTALE",
         "EXDEV"]


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def in_thread(func, *args):
    """Runs func beside the test; the returned function joins it and gives its result."""
    box = {}

    def body():
        try:
            box["value"] = func(*args)
        except BaseException as exc:  # handed to whoever joins
            box["error"] = exc

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def join():
        thread.join(60 * SLOW)
        assert not thread.is_alive(), f"{func} hangs"
        if "error" in box:
            raise box["error"]
        return box.get("value")

    return join


def status(path):
    try:
        return xattr(path, "status")
    except FileNotFoundError:
        return None


def all_files(root):
    return [os.path.join(d, f) for d, _, names in os.walk(root) for f in names]


def delete_elsewhere(server, file_id):
    """As another host would."""
    request = urllib.request.Request(f"{server.url}/files/{file_id}", method="DELETE",
                                     headers={"Authorization": f"Bearer {KEY}"})
    urllib.request.urlopen(request, timeout=30).close()


@pytest.mark.parametrize("latency", ["0", "25"])
def test_crowd(world, latency):
    """
    Nobody hangs or meets an errno that tells of us; afterwards each entry comes to an end, its
    File has its bytes, and with the last entry the last File is gone.
    """
    server = world.server("--latency", latency)
    mount = world.mount(server, hold_timeout="2", list_ttl="1", retry_delay="1")
    mount.may_fail = True
    root = mount.path("fine-tune")
    seed = random.randrange(10 ** 6)
    crowd = [subprocess.Popen([sys.executable, "-B", os.path.join(HERE, "races.py"), root, "8",
                               str(seed + k), *MEETS], stdout=subprocess.PIPE, text=True)
             for k in range(6)]
    try:
        for p in crowd:
            out, _ = p.communicate(timeout=60 * SLOW)
            assert p.returncode == 0, f"seed {seed}: {out}"
    finally:
        for p in crowd:
            p.kill()
            p.communicate()
    left = {}

    def ended():
        """A listing may still give an older File, NAME~FILE_ID, the plain name back: look again."""
        left.clear()
        try:
            left.update((x, xattr(x, "status")) for x in all_files(root))
        except FileNotFoundError:
            return False
        return set(left.values()) <= {"completed", "aborted", "empty"}

    try:
        wait_until(ended, f"every file comes to an end (seed {seed})")
    except AssertionError as exc:
        raise AssertionError(f"{exc}: {left}") from None
    assert_nothing_pending(server)

    def compared():
        """As ended(): all of them, under the names that they have now."""
        try:
            for path in all_files(root):
                if xattr(path, "status") == "completed":
                    file_id, found = xattr(path, "file_id"), md5(path)
                    if xattr(path, "file_id") != file_id:
                        return False
                    assert server.content_md5(file_id)[1] == found, (seed, path)
        except FileNotFoundError:
            return False
        return True

    wait_until(compared, f"each File has its bytes (seed {seed})")

    def emptied():
        for path in all_files(root):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
        return not server.files()

    wait_until(emptied, f"no File without an entry (seed {seed})")


def test_close_beside_a_write(server, mount, world):
    """A close that comes while another handle's write is on its way: each close ends, all is sent."""
    dest = mount.path("batch", "f")
    block = os.urandom(MIB)
    fd = os.open(dest, os.O_CREAT | os.O_WRONLY, 0o644)

    def write_on():
        for k in range(40):
            os.pwrite(fd, block, k * MIB)

    join = in_thread(write_on)
    for _ in range(30):
        os.close(os.dup(fd))
    join()
    in_thread(os.close, fd)()
    put(world.path("source"), block * 40)
    assert_published(server, dest, world.path("source"))

def test_cut_while_the_former_writer_is_let_go(mount):
    """
    A close does not wait for its RELEASE: a file that is cut to nothing meanwhile has one
    writer, and comes to its end when that one closes.
    """
    dest = mount.path("batch", "f")
    for k in range(100):
        put(dest, b"x" * (k + 1))
        os.close(os.open(dest, os.O_WRONLY | os.O_TRUNC))
        wait_until(lambda: status(dest) == "empty", f"the empty file comes to its end ({k})")


@pytest.mark.parametrize("over", [False, True])
def test_unlink_while_completing(server, mount, over):
    """Whatever the moment at which it is removed: no File stays, and the close is no failure."""
    dest = mount.path("batch", "f")
    if over:
        put(dest, b"before")
    for pause in (0, 100, 200):
        server.faults([{"op": "complete", "action": "delay", "ms": 150, "times": 0,
                        "comment": str(pause)},
                       {"op": "delete", "action": "delay", "ms": pause, "times": 0}])
        join = in_thread(put, dest, b"after")
        wait_until(lambda: status(dest) == "publishing", "the close is under way")
        os.unlink(dest)
        join()
        assert not os.path.exists(dest)
        wait_until(lambda: not server.files(), "no File stays")
        assert_nothing_pending(server)


def test_removed_after_being_renamed_onto_a_file(server, mount):
    """mv new old; rm old: the File that old was goes too, though new never became one."""
    old, new = mount.path("batch", "old"), mount.path("batch", "new")
    put(old, b"published")
    fd = os.open(new, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"not closed yet")
    os.rename(new, old)
    newer = os.open(mount.path("batch", "newer"), os.O_CREAT | os.O_WRONLY)
    os.write(newer, b"nor this")
    os.rename(mount.path("batch", "newer"), old)
    os.unlink(old)
    os.close(fd)
    os.close(newer)
    assert server.files() == []
    assert os.listdir(mount.path("batch")) == []


def test_rename_onto_a_file_fails(server, world):
    """Both stay what they were, under the names they had."""
    mount = world.mount(server, list_ttl="1", retry_delay="60")
    a, b = mount.path("batch", "a"), mount.path("batch", "b")
    put(a, b"bytes of a")
    put(b, b"bytes of b")
    wait_let_go(mount, a)
    wait_let_go(mount, b)
    ids = xattr(a, "file_id"), xattr(b, "file_id")
    server.faults([{"op": "complete", "action": "status", "status": 400, "times": 0}])
    with pytest.raises(OSError) as info:
        os.rename(a, b)
    assert info.value.errno == errno.EINVAL
    wait_until(lambda: os.path.exists(b), "the other one is back")
    assert (get(a), get(b)) == (b"bytes of a", b"bytes of b")
    assert (xattr(a, "file_id"), xattr(b, "file_id")) == ids
    assert_nothing_pending(server)


def test_rename_fails_while_somebody_writes(server, world):
    """A published File that is open to be written: its bytes and its writer survive."""
    mount = world.mount(server, retry_delay="1")
    a, b = mount.path("batch", "a"), mount.path("batch", "b")
    put(a, b"bytes of a")
    fd = os.open(a, os.O_RDWR)
    os.pwrite(fd, b"B", 0)
    os.fsync(fd)
    os.close(os.dup(fd))  # published, and still open
    server.faults([{"op": "complete", "action": "status", "status": 400}])
    with pytest.raises(OSError):
        os.rename(a, b)
    os.pwrite(fd, b"BYTES", 0)
    os.close(fd)
    assert get(a) == b"BYTES of a"
    put(world.path("source"), b"BYTES of a")
    assert_published(server, a, world.path("source"))


def test_temporary_name_to_temporary_name(server, mount, world):
    """Goes on being held: the rename does not wait for what will never come."""
    first, second = mount.path("batch", ".f.AbCdEf"), mount.path("batch", ".f.GhIjKl")
    put(first, b"held")
    in_thread(os.rename, first, second)()
    assert xattr(second, "status") == "held"
    os.rename(second, mount.path("batch", "f"))
    put(world.path("source"), b"held")
    assert_published(server, mount.path("batch", "f"), world.path("source"))


@pytest.mark.parametrize("by", ["truncating", "in place"])
def test_reader_of_what_is_written_anew(server, world, by):
    """Who has it open reads the new bytes, also when they are a File and the local copy went."""
    mount = world.mount(server, cache_size="0")
    path = mount.path("batch", "f")
    put(path, b"first version")
    with open(path, "rb", buffering=0) as reader:
        assert reader.read() == b"first version"
        if by == "truncating":
            put(path, b"SECOND VERSION")
        else:
            with open(path, "r+b") as f:
                f.write(b"SECOND VERSION")
        assert os.pread(reader.fileno(), 100, 0) == b"SECOND VERSION"
    assert get(path) == b"SECOND VERSION"
    assert len(server.files()) == 1


def test_removed_beside_a_listing(server, world):
    """A listing that was made before the removal and comes after it brings nothing back."""
    mount = world.mount(server, list_ttl="0")
    put(mount.path("batch", "d-f"), b"x")
    # The list is made at once and comes late; the File goes in between.
    server.faults([{"op": "list", "action": "delay", "ms": 800, "times": 0},
                   {"op": "delete", "action": "stall", "ms": 300, "times": 0}])
    join = in_thread(os.listdir, mount.path("batch"))
    os.unlink(mount.path("batch", "d-f"))
    assert join() == []
    server.faults([])
    assert os.listdir(mount.path("batch")) == []


def test_overwritten_beside_listings(server, world):
    """However many listings come while a File is replaced: there is one entry, always."""
    mount = world.mount(server, list_ttl="0")
    path = mount.path("batch", "f")
    put(path, b"0")
    server.faults([{"op": "delete", "action": "delay", "ms": 30, "times": 0},
                   {"op": "complete", "action": "delay", "ms": 30, "times": 0}])

    done = threading.Event()

    def rewrite():
        try:
            for k in range(15):
                put(path, b"%d" % k)
        finally:
            done.set()

    join, seen = in_thread(rewrite), set()
    while not done.is_set():
        seen.update(os.listdir(mount.path("batch")))
    join()
    seen.update(os.listdir(mount.path("batch")))
    assert seen == {"f"}
    assert len(server.files()) == 1


def test_directory_that_went_with_its_last_file(world, server):
    """A directory that only a listing made is gone with its Files; whoever stands in it is told."""
    maker = world.mount(server)
    os.mkdir(maker.path("batch", "dir"))
    put(maker.path("batch", "dir", "f"), b"x")
    file_id = xattr(maker.path("batch", "dir", "f"), "file_id")
    mount = world.mount(server, list_ttl="0")
    os.listdir(mount.path("batch"))
    inside = os.open(mount.path("batch", "dir"), os.O_DIRECTORY | os.O_RDONLY)
    try:
        delete_elsewhere(server, file_id)
        wait_until(lambda: "dir" not in os.listdir(mount.path("batch")), "it is gone")
        with pytest.raises(FileNotFoundError):
            os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside)
        with pytest.raises(FileNotFoundError):
            os.mkdir("sub", dir_fd=inside)
    finally:
        os.close(inside)
    os.mkdir(mount.path("batch", "dir"))
    put(mount.path("batch", "dir", "new"), b"y")
    assert [x["filename"] for x in server.files()] == ["dir/new"]


def test_ended_while_somebody_writes(world, server):
    """SIGTERM with an open file: the exit code tells, the bytes come back as an aborted file."""
    mount = world.mount(server)
    mount.may_fail = True
    path = mount.path("batch", "f")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.write(fd, b"so far")
        mount.proc.send_signal(signal.SIGTERM)
        assert mount.wait() == 1
        assert "still being written" in mount.log()
    finally:
        with pytest.raises(OSError):
            os.write(fd, b"more")
        try:
            os.close(fd)
        except OSError:
            pass
    mount.remount()
    assert get(path) == b"so far" and xattr(path, "status") == "aborted"
    os.setxattr(path, "user.upload.publish", b"1")
    put(world.path("source"), b"so far")
    assert_published(server, path, world.path("source"))


def test_detached_while_somebody_writes(world, server):
    """fusermount3 -uz: the name is gone at once, the writer goes on, and its close publishes."""
    mount = world.mount(server)
    fd = os.open(mount.path("batch", "f"), os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"begun, ")
    run(["fusermount3", "-u", "-z", mount.mnt])
    assert not is_mounted(mount.mnt) and mount.alive()
    os.write(fd, b"ended")
    os.close(fd)
    assert mount.wait() == 0
    assert [x["bytes"] for x in server.files()] == [12]


@pytest.mark.parametrize("how", ["kill the server", "end the mount"])
def test_content_that_does_not_come(world, server, how):
    """A write to a File whose content is on its way when the other side goes: an error, no hang."""
    mount = world.mount(server, cache_size="0", connect_timeout="2", idle_timeout="3")
    mount.may_fail = True
    path = mount.path("batch", "f")
    make_file(world.path("source"), 3 * MIB)
    run(["cp", world.path("source"), path])
    wait_let_go(mount, path)
    server.faults([{"op": "content", "action": "stall", "when": "during", "times": 0}])
    fd = os.open(path, os.O_RDWR)
    try:
        join = in_thread(os.write, fd, b"x")
        wait_until(lambda: arriving_data(mount), "it is being fetched")
        if how == "kill the server":
            server.kill()
        else:
            mount.proc.send_signal(signal.SIGTERM)
        with pytest.raises(OSError) as info:
            join()
        assert info.value.errno not in (errno.EBUSY, errno.EAGAIN, errno.EBADF)
    finally:
        try:
            os.close(fd)
        except OSError:
            pass
    if how == "kill the server":
        server.start()
        server.faults([])
        run(["cmp", world.path("source"), path])
    else:
        mount.wait()    # it unmounts by itself
