"""A predicted size that turns out wrong costs a second sending, never correctness."""
import os

import pytest

from harness import (MIB, FrozenCopy, assert_published, bash, make_file, run, wait_until)


@pytest.fixture
def big(world):
    return make_file(world.path("big.jsonl"), 64 * MIB)


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_source_changes_under_cp(world, server, mount, big, change):
    """cp is stopped after the Upload was made for the size the source had then."""
    dest = mount.path("batch", "out.jsonl")
    copy = FrozenCopy(big, dest, at=8 * MIB)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        if change == "grows":
            with open(big, "ab") as f:
                f.write(b"more" * 500000)
        else:
            os.truncate(big, copy.read + 3000)
        code, err = copy.finish()
    finally:
        copy.close()
    assert (code, err) == (0, "")
    assert os.path.getsize(dest) == os.path.getsize(big)
    assert_published(server, dest, big)
    assert len(server.journal(copy.since, op="complete", status=200)) == 1


@pytest.mark.parametrize("size", [1, 3 * MIB, 3 * MIB + 7, 20 * MIB])
def test_head_of_a_larger_file(world, server, mount, big, size):
    part = world.path("part")
    bash('head -c "$3" "$1" > "$2"', big, part, size)
    dest = mount.path("batch", "out.jsonl")
    bash('head -c "$3" "$1" > "$2"', big, dest, size)
    assert_published(server, dest, part)
    assert len(server.journal(op="complete", status=200)) == 1


def test_the_wrong_source_is_open(world, server, mount, big):
    """The writer has another file open for reading whose first bytes equal what it writes."""
    other = world.path("other")
    script = """
import os, sys
source = os.open(sys.argv[1], os.O_RDONLY)
data = os.pread(source, 1048576, 0)
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data)
os.write(f, b"something else" * 200000)
os.close(f)
"""
    run(["/usr/bin/python3", "-c", script, big, other])
    dest = mount.path("batch", "out.jsonl")
    run(["/usr/bin/python3", "-c", script, big, dest])
    assert_published(server, dest, other)


def test_streams_while_it_is_written(server, mount, big):
    """The prediction is worth something: parts are on the server before the source is read."""
    dest = mount.path("batch", "out.jsonl")
    copy = FrozenCopy(big, dest, at=16 * MIB)
    try:
        wait_until(lambda: len(server.journal(copy.since, op="part", status=200)) >= 8,
                   "eight parts arrive")
        code, err = copy.finish()
    finally:
        copy.close()
    assert (code, err) == (0, "")
    assert_published(server, dest, big, parts=64)
    # Nothing went twice: there was one Upload, and it got each of its parts once.
    assert len(server.journal(copy.since, op="create")) == 1
    assert len(server.journal(copy.since, op="part")) == 64
