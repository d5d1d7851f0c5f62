"""
What stands behind a name, or has lost it: Files that are replaced but not deleted
yet, open files without a name, directories in which something is on its way.
"""
import errno
import os

import pytest

from harness import assert_nothing_pending, md5, wait_let_go, wait_until, xattr
from test_races import get, put, status



@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_written_after_it_lost_its_name(server, mount, how):
    """As on a local disk, though nothing was staged before: the content is in the cache."""
    path, other = mount.path("batch", "f"), mount.path("batch", "g")
    put(path, b"0123456789")
    fds = [os.open(path, flags) for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY)]
    if how == "removed":
        os.unlink(path)
    else:
        put(other, b"new")
        os.rename(other, path)
    assert [os.fstat(fd).st_nlink for fd in fds] == [0, 0, 0]
    assert os.pwrite(fds[0], b"AB", 1) == 2
    assert os.pread(fds[1], 20, 0) == b"0AB3456789"
    os.ftruncate(fds[1], 5)
    assert [os.pread(fd, 20, 0) for fd in fds[1:]] == [b"0AB34"] * 2
    assert [os.fstat(fd).st_nlink for fd in fds] == [0, 0, 0]
    for fd in fds:
        os.close(fd)
    assert [x["filename"] for x in server.files()] == ([] if how == "removed" else ["f"])
    assert how == "removed" or get(path) == b"new"
    assert_nothing_pending(server)


def test_gone_and_nowhere_in_the_cache(world, server):
    mount = world.mount(server, cache_size="0")
    path = mount.path("batch", "f")
    put(path, b"0123456789")
    wait_let_go(mount, path)
    fd = os.open(path, os.O_WRONLY)
    os.unlink(path)
    with pytest.raises(OSError) as info:
        os.pwrite(fd, b"AB", 1)
    assert info.value.errno == errno.ENOENT
    os.close(fd)
    assert server.files() == []


@pytest.mark.parametrize("keep_old", [False, True])
def test_hidden_until_it_is_replaced(world, server, keep_old):
    """By a file that is not closed yet; the same after the daemon was killed."""
    mount = world.mount(server, *["keep_old"] * keep_old, list_ttl="0")
    path, new = mount.path("batch", "f"), mount.path("batch", "new")
    put(path, b"published")
    wait_let_go(mount, path)
    former = xattr(path, "file_id")
    shown = ["f"] + ["f~" + former] * keep_old
    fd = os.open(new, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"not closed")
    os.rename(new, path)
    for _ in range(3):
        assert sorted(os.listdir(mount.path("batch"))) == shown
    assert [x["id"] for x in server.files()] == [former]
    os.fsync(fd)
    mount.kill()
    with pytest.raises(OSError):
        os.close(fd)
    mount.remount()
    assert sorted(os.listdir(mount.path("batch"))) == shown
    assert (status(path), get(path)) == ("aborted", b"not closed")
    put(path, b"anew")
    assert sorted(os.listdir(mount.path("batch"))) == shown
    assert len(server.files()) == len(shown)
    assert get(path) == b"anew"


def test_stays_when_what_was_to_replace_it_fails(world, server):
    """A failed rename changes neither name; rm of the source leaves the File."""
    mount = world.mount(server, list_ttl="0", retry_delay="60")
    mount.may_fail = True
    path, temporary = mount.path("batch", "f"), mount.path("batch", ".f.AbCdEf")
    put(path, b"published")
    file_id = xattr(path, "file_id")
    put(temporary, b"held")
    server.faults([{"op": "complete", "action": "status", "status": 400, "times": 0}])
    with pytest.raises(OSError) as info:
        os.rename(temporary, path)
    assert info.value.errno == errno.EINVAL
    assert sorted(os.listdir(mount.path("batch"))) == [".f.AbCdEf", "f"]
    assert (status(temporary), get(temporary)) == ("held", b"held")
    assert "400" in xattr(temporary, "error")
    assert (status(path), get(path)) == ("completed", b"published")
    os.unlink(temporary)
    assert os.listdir(mount.path("batch")) == ["f"]
    assert [x["id"] for x in server.files()] == [file_id]


def test_directory_with_a_file_on_its_way(world, server):
    """close=async: renaming it waits, and then there is a File in it."""
    mount = world.mount(server, "close=async")
    old, new = mount.path("batch", "old"), mount.path("batch", "new")
    os.makedirs(os.path.join(old, "sub"))
    server.faults([{"op": "complete", "action": "delay", "ms": 300, "times": 0}])
    put(os.path.join(old, "sub", "f"), b"bytes")
    with pytest.raises(OSError) as info:
        os.rename(old, new)
    assert info.value.errno == errno.EXDEV
    assert [x["filename"] for x in server.files()] == ["old/sub/f"]
    assert not os.path.exists(new)
    assert xattr(os.path.join(old, "sub", "f"), "status") == "completed"


def test_directory_with_a_file_that_fails(world, server):
    """It is only local then, and ends where the directory has gone."""
    mount = world.mount(server, "close=async", retry_delay="60")
    mount.may_fail = True
    old, new = mount.path("batch", "old"), mount.path("batch", "new")
    os.mkdir(old)
    server.faults([{"op": "part", "action": "delay", "ms": 300},
                   {"op": "complete", "action": "status", "status": 400, "times": 0}])
    put(os.path.join(old, "f"), b"bytes")
    os.rename(old, new)
    assert server.files() == [] and os.listdir(new) == ["f"]
    # Its name changed: it is sent once more.
    wait_until(lambda: len(server.journal(op="complete")) == 2, "the second try")
    wait_until(lambda: status(os.path.join(new, "f")) == "failed", "it is refused again")
    server.faults([])
    os.setxattr(os.path.join(new, "f"), "user.upload.publish", b"1")
    wait_until(lambda: status(os.path.join(new, "f")) == "completed", "the file is sent again")
    assert [x["filename"] for x in server.files()] == ["new/f"]


def test_directory_with_a_held_file(world, server):
    """What is sent of it goes out under the name that it is going to have."""
    mount = world.mount(server, hold_timeout="86400")
    old, new = mount.path("batch", "old"), mount.path("batch", "new")
    source = world.path("source")
    put(source, b"bytes" * 500000)
    os.mkdir(old)
    put(os.path.join(old, ".f.AbCdEf"), get(source))
    assert status(os.path.join(old, ".f.AbCdEf")) == "held"
    os.rename(old, new)
    wait_until(lambda: [x["filename"] for x in server.uploads(status="pending")] == ["new/f"],
               "an Upload is made with the new name")
    os.rename(os.path.join(new, ".f.AbCdEf"), os.path.join(new, "f"))
    assert [x["filename"] for x in server.files()] == ["new/f"]
    assert server.content_md5(xattr(os.path.join(new, "f"), "file_id"))[1] == md5(source)
    assert {x["filename"] for x in server.uploads()} == {"old/f", "new/f"}
    assert_nothing_pending(server)


def test_rename_onto_a_file_fails_while_somebody_writes(world, server):
    """Neither that close nor a later one takes the other File away."""
    mount = world.mount(server, list_ttl="0", retry_delay="60")
    a, b = mount.path("batch", "a"), mount.path("batch", "b")
    put(a, b"bytes of a")
    put(b, b"bytes of b")
    wait_let_go(mount, b)
    fd = os.open(a, os.O_RDWR)
    os.pwrite(fd, b"B", 0)
    os.close(os.dup(fd))  # published, and still open
    server.faults([{"op": "complete", "action": "status", "status": 400}])
    with pytest.raises(OSError):
        os.rename(a, b)
    assert sorted(os.listdir(mount.path("batch"))) == ["a", "b"]
    os.pwrite(fd, b"BYTES", 0)
    os.close(fd)
    assert (get(a), get(b)) == (b"BYTES of a", b"bytes of b")
    assert sorted(x["filename"] for x in server.files()) == ["a", "b"]
