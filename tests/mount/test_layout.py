"""The end of a file goes in small Parts, so that little is left to send at the close."""
import contextlib
import os

import pytest

from harness import MIB, assert_published, bash, make_file, records, run, wait_until, xattr

BLOCK = 8 * MIB  # of Parts of 32 MiB


@pytest.fixture
def mount(world, server):
    return world.mount(server, part_size="32M")


def part_lengths(server):
    return sorted(x["bytes"] for x in server.journal(op="part", status=200))


def put(fd, source, start, end):
    """Bytes [start, end) of source, at their place."""
    with open(source, "rb") as f:
        f.seek(start)
        for at in range(start, end, MIB):
            data = f.read(min(MIB, end - at))
            assert os.pwrite(fd, data, at) == len(data)


class Declared:
    """A file of declared size, written bit by bit by this process, which also closes it."""

    def __init__(self, path, size):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.setxattr(path, "user.upload.size", str(size).encode())

    def __enter__(self):
        return self

    def close(self):
        fd, self.fd = self.fd, -1
        os.close(fd)

    def __exit__(self, *_):
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.close()


def test_the_end_leaves_while_it_is_written(world, server, mount):
    """All but the last small Part is in before the last byte is written."""
    source = make_file(world.path("source"), 2 * 32 * MIB)
    dest = mount.path("batch", "f")
    with Declared(dest, 2 * 32 * MIB) as f:
        put(f.fd, source, 0, 32 * MIB + 3 * BLOCK)
        wait_until(lambda: xattr(dest, "parts") == "4/5", "what is there leaves")
        assert part_lengths(server) == [BLOCK] * 3 + [32 * MIB]
        put(f.fd, source, 32 * MIB + 3 * BLOCK, 2 * 32 * MIB)
        f.close()
    assert_published(server, dest, source, parts=5)
    assert [x["bytes"] for x in server.files()[0]["parts"]] == [32 * MIB] + [BLOCK] * 4
    assert len(server.journal(op="part")) == 5


def test_a_rewritten_part_is_sent_again(world, server, mount):
    """A large one by a byte in any of its blocks, a small one alone; the others stay."""
    source = make_file(world.path("source"), 32 * MIB + BLOCK + 5)
    dest = mount.path("batch", "f")
    with Declared(dest, os.path.getsize(source)) as f:
        put(f.fd, source, 0, 32 * MIB + BLOCK)
        wait_until(lambda: xattr(dest, "parts") == "2/3", "two Parts are in")
        with open(source, "r+b") as changed:
            for at in (2 * BLOCK + 100, 32 * MIB + BLOCK):
                os.pwrite(changed.fileno(), b"other", at)
        put(f.fd, source, 2 * BLOCK, 2 * BLOCK + MIB)
        put(f.fd, source, 32 * MIB + BLOCK, 32 * MIB + BLOCK + 5)
        f.close()
    assert_published(server, dest, source, parts=3)
    assert part_lengths(server) == [5, BLOCK, 32 * MIB, 32 * MIB]


def test_a_size_that_shows_at_the_close(world, server, mount):
    source = make_file(world.path("source"), 32 * MIB + 2 * BLOCK + 1)
    dest = mount.path("batch", "f")
    bash('cat "$1" | cat >"$2"', source, dest)
    assert_published(server, dest, source, parts=4)
    assert [x["bytes"] for x in server.files()[0]["parts"]] == [32 * MIB, BLOCK, BLOCK, 1]


def recorded_parts(mount):
    """Number of Parts in the record of the one staged file."""
    return len(records(mount.state)[0]["parts"])


def test_parts_that_are_in_outlive_the_daemon(world, server):
    """The next daemon knows which bytes each of them is, and sends the one that is missing."""
    mount = world.mount(server, part_size="32M", close="async")
    source = make_file(world.path("source"), 32 * MIB + 3 * BLOCK)
    dest = mount.path("batch", "f")
    server.faults([{"op": "part", "nth": 4, "times": 0, "action": "stall"}])
    run(["cp", source, dest])
    wait_until(lambda: recorded_parts(mount) == 3, "three Parts are in the record")
    mount.kill()
    server.faults([])
    mount.remount()
    wait_until(lambda: xattr(dest, "status") == "completed", "the next daemon publishes it")
    assert_published(server, dest, source, parts=4)
    assert part_lengths(server) == [BLOCK] * 3 + [32 * MIB]
