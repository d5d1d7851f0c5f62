"""Files that exist already, opened to be written."""
import os

import pytest

from harness import (assert_published, bash, copy_when_room, make_file, md5, python, run,
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


def test_temporary_name_made_first_and_written_later(world, server):
    """mktemp(1) makes the file, somebody else writes it: that does not wait for hold_timeout."""
    mount = world.mount(server, hold_timeout="86400")
    temporary, dest = mount.path("batch", ".f.AbCdEf"), mount.path("batch", "f")
    bash(": > $1; echo first > $1; echo more >> $1; mv $1 $2", temporary, dest)
    source = world.path("source")
    with open(source, "w", encoding="ascii") as f:
        f.write("first\nmore\n")
    assert_published(server, dest, source)
