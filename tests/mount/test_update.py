"""Files that exist already, opened to be written."""
import os

import pytest

from harness import (MIB, assert_published, bash, copy_when_room, make_file, md5, python, run,
                     wait_let_go, wait_until, xattr)


@pytest.fixture
def published(world, server, mount):
    """A published File of some parts, its source and its File ID."""
    source = world.path("source")
    make_file(source, 3_300_000)
    dest = mount.path("batch", "f.jsonl")
    run(["cp", source, dest])
    return source, dest, assert_published(server, dest, source)


@pytest.mark.parametrize("how", ["touch $1", ": >> $1", "exec 3<>$1; exec 3>&-"])
def test_opened_and_not_written(server, mount, published, how):
    """It is still that File, and nothing was fetched or sent."""
    source, dest, file_id = published
    before = len(server.journal())
    bash(how, dest)
    assert xattr(dest, "file_id") == file_id and xattr(dest, "status") == "completed"
    assert md5(dest) == md5(source)
    assert [j["op"] for j in server.journal()[before:] if j["op"] != "list"] == []


def test_touch_of_what_may_not_be_read(world, server):
    """A user_data File can't be fetched; touch(1) needs nothing of it."""
    source = world.path("source")
    make_file(source, 1000)
    mount = world.mount(server, "cache_size=0")
    dest = mount.path("user_data", "f")
    run(["cp", source, dest])
    file_id = xattr(dest, "file_id")
    run(["touch", dest])
    assert xattr(dest, "file_id") == file_id
    wait_let_go(mount, dest)
    result = bash("echo more >> $1", dest, check=False)
    assert result.returncode != 0 and "Permission denied" in result.stderr
    assert [f["id"] for f in server.files()] == [file_id]


UPDATES = {
    "append": "echo more >> $1",
    "dd conv=notrunc": "echo inside | dd of=$1 bs=1 seek=2000000 conv=notrunc status=none",
    "truncate": "truncate -s 1500000 $1",
    "longer": "truncate -s 4500000 $1",
}


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("how", UPDATES)
def test_update(world, server, published, how, cached):
    """The same as on a local file: one File of that name, with the new bytes."""
    source, dest, file_id = published
    if not cached:
        mount = world.mount(server, "cache_size=0")
        dest = mount.path("batch", "f.jsonl")
    bash(UPDATES[how], source)
    bash(UPDATES[how], dest)
    assert_published(server, dest, source)
    assert xattr(dest, "file_id") != file_id
    assert len(server.files(filename="f.jsonl")) == 1


def test_read_and_write(server, mount, published):
    """O_RDWR: reads see what is there and what was written."""
    source, dest, _ = published
    script = """
import os, sys
f = os.open(sys.argv[1], os.O_RDWR)
first = os.pread(f, 10, 5)
os.pwrite(f, b"0123456789", 100)
print(first.hex(), os.pread(f, 12, 99).hex())
os.close(f)
"""
    assert python(script, source).stdout == python(script, dest).stdout
    assert_published(server, dest, source)


def test_staging_full_leaves_no_part_of_a_file(world, server):
    """cp says ENOSPC, and what it got across does not become a File."""
    source = world.path("source")
    make_file(source, 5_000_000)
    mount = world.mount(server, "staging_size=3M,part_size=1M")
    dest = mount.path("batch", "f")
    result = run(["cp", source, dest], check=False)
    assert result.returncode == 1 and "No space left on device" in result.stderr
    wait_until(lambda: xattr(dest, "status") == "aborted", "the file to be given up")
    assert server.files() == []
    os.unlink(dest)
    make_file(source, 1_000_000)
    copy_when_room(source, dest)
    assert_published(server, dest, source)


def test_write_that_failed_before_the_content_came(world, server, published):
    """A later write does not make it good: the File stays as it is until the bytes are written."""
    source, _, file_id = published
    mount = world.mount(server, "cache_size=0")
    mount.may_fail = True
    dest = mount.path("batch", "f.jsonl")
    server.faults([{"op": "content", "action": "status", "status": 403, "times": 0}])
    fd = os.open(dest, os.O_WRONLY)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"first", 0)
    server.faults([])
    os.pwrite(fd, b"second", 100)
    for call in os.fsync, os.close:
        with pytest.raises(PermissionError):
            call(os.dup(fd) if call == os.close else fd)
    assert [x["id"] for x in server.files()] == [file_id]
    os.pwrite(fd, b"first", 0)
    os.close(fd)
    with open(source, "r+b") as f:
        f.write(b"first")
        f.seek(100)
        f.write(b"second")
    assert_published(server, dest, source)


def test_each_write_that_failed_counts(world, server):
    """One of them was repeated: nothing is published without the bytes of the other."""
    mount = world.mount(server, "staging_size=3M,part_size=1M")
    mount.may_fail = True
    dest, other = mount.path("batch", "f"), mount.path("batch", "other")
    with open(other, "wb") as out:
        out.truncate(2500000)
        fd = two_failed_writes(dest)
        os.unlink(other)
    wait_until(lambda: repeated(fd, MIB), "there is room")
    with pytest.raises(OSError, match="No space left"):
        os.close(fd)
    wait_until(lambda: xattr(dest, "status") == "aborted", "it is given up")
    assert server.files(filename="f") == []


def two_failed_writes(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for at in 0, MIB:
        with pytest.raises(OSError, match="No space left"):
            os.pwrite(fd, b"x" * MIB, at)
    return fd


def repeated(fd, at):
    try:
        return os.pwrite(fd, b"x" * MIB, at) == MIB
    except OSError:
        return False


def test_temporary_name_made_first_and_written_later(world, server):
    """mktemp(1) makes the file, somebody else writes it: that does not wait for hold_timeout."""
    mount = world.mount(server, hold_timeout="86400")
    temporary, dest = mount.path("batch", ".f.AbCdEf"), mount.path("batch", "f")
    bash(": > $1; echo first > $1; echo more >> $1; mv $1 $2", temporary, dest)
    source = world.path("source")
    with open(source, "w", encoding="ascii") as f:
        f.write("first\nmore\n")
    assert_published(server, dest, source)
