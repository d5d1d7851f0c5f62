"""A File that is cut to nothing: an empty file here, and no File."""
import os

import pytest

from harness import assert_published, bash, make_file, records, run, wait_until, xattr

HOW = {
    "redirection": ': > "$1"',
    "truncate": 'truncate -s 0 "$1"',
    "cp": 'cp /dev/null "$1"',
    "mv": ': > "$1.new"; mv "$1.new" "$1"',
    "rsync": ': > "$2/f"; rsync -a "$2/f" "$1"',
}


@pytest.fixture
def published(world, server, mount):
    """A File that has been published, as (path, source, File ID)."""
    source = make_file(world.path("source"), 100000)
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    return dest, source, assert_published(server, dest, source)


def assert_empty(mount, names):
    """What batch shows, and that f is an empty file."""
    assert sorted(os.listdir(mount.path("batch"))) == sorted(names)
    path = mount.path("batch", "f")
    wait_until(lambda: xattr(path, "status") == "empty", "the file is found empty")
    assert os.path.getsize(path) == 0 and xattr(path, "file_id") is None
    with open(path, "rb") as f:
        assert f.read() == b""


@pytest.mark.parametrize("how", HOW)
def test_emptied(world, server, mount, published, how):
    """The File goes, and nothing else is left of it, also after a remount."""
    dest, source, _ = published
    os.mkdir(world.path("dir"))
    bash(HOW[how], dest, world.path("dir"))
    wait_until(lambda: not server.files(), "the File is deleted")
    assert_empty(mount, ["f"])
    mount.umount()
    mount.remount()
    assert_empty(mount, ["f"])
    assert not server.uploads(status="pending")
    run(["cp", source, dest])
    assert_published(server, dest, source)
    assert os.listdir(mount.path("batch")) == ["f"]


def test_emptied_with_keep_old(world, server):
    """It stays, under a name of its own; rm of the empty file leaves it."""
    mount = world.mount(server, "keep_old", list_ttl="0")
    source = make_file(world.path("source"), 1000)
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    file_id = assert_published(server, dest, source)
    bash(": > $1", dest)
    wait_until(lambda: xattr(dest, "status") == "empty", "the file is found empty")
    assert_empty(mount, ["f", "f~" + file_id])
    mount.umount()
    mount.remount()
    assert_empty(mount, ["f", "f~" + file_id])
    os.unlink(dest)
    assert [x["id"] for x in server.files()] == [file_id]


def test_removed_when_empty(server, mount, published):
    dest, _, _ = published
    bash(": > $1; rm $1", dest)
    assert os.listdir(mount.path("batch")) == []
    wait_until(lambda: not server.files(), "the File is deleted")
    mount.umount()
    mount.remount()
    assert os.listdir(mount.path("batch")) == []


def test_deletion_fails(server, mount, published):
    """The File stays, hidden behind the empty one; the next daemon deletes it."""
    dest, _, file_id = published
    server.faults([{"op": "delete", "times": 0, "action": "status", "status": 403}])
    bash("truncate -s 0 $1", dest)
    assert server.journal(op="delete", status=403)
    assert sorted(os.listdir(mount.path("batch"))) == ["f"]
    assert xattr(dest, "status") == "empty" and os.path.getsize(dest) == 0
    assert [x["id"] for x in server.files()] == [file_id]
    mount.umount()
    server.faults([])
    mount.remount()
    assert_empty(mount, ["f"])
    wait_until(lambda: not server.files(), "the File is deleted")


def test_killed_before_the_deletion(server, mount, published):
    """The empty file is on disk before the deletion is asked for."""
    dest, _, file_id = published
    server.faults([{"op": "delete", "times": 0, "action": "stall"}])
    bash(": > $1", dest)
    wait_until(lambda: states(mount) == ["empty"], "the record says that it is empty")
    mount.kill()
    server.restart()
    assert [x["id"] for x in server.files()] == [file_id]
    server.faults([])
    mount.remount()
    assert_empty(mount, ["f"])
    wait_until(lambda: not server.files(), "the File is deleted")


def states(mount):
    """Of all files in the staging area."""
    return [x["state"] for x in records(mount.state)]
