"""Parts that leave while they are written: little is left for the close, whatever comes between."""
import json
import os

import pytest

from harness import MIB, assert_published, make_file, md5, run, wait_until, xattr

SIZE = 20 * MIB  # Parts of 8, 8 and 4 MiB


class Writing:
    """A file of declared size that is written piece by piece, by this process."""

    def __init__(self, world, mount, name="out.jsonl", size=SIZE, declared=SIZE):
        self.mount, self.source = mount, make_file(world.path(name), size)
        with open(self.source, "rb") as f:
            self.data = f.read()
        self.path = mount.path("batch", name)
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self.fd, declared)

    def write(self, start, end, block=131072):
        for at in range(start, end, block):
            piece = self.data[at:min(at + block, end)]
            assert os.pwrite(self.fd, piece, at) == len(piece)

    def rewrite(self, at, data):
        """Other bytes than before, also in what it is compared with."""
        self.data = self.data[:at] + data + self.data[at + len(data):]
        with open(self.source, "r+b") as f:
            f.seek(at)
            f.write(data)
        assert os.pwrite(self.fd, data, at) == len(data)

    def row(self):
        with open(self.mount.path(".uploadfs", "status"), encoding="utf-8") as f:
            rows = json.load(f)["files"]
        return next((x for x in rows if self.path.endswith(x["path"])), None)

    def await_sent(self, size):
        wait_until(lambda: self.row()["sent"] >= size, f"{size} bytes have left")

    def close(self):
        fd, self.fd = self.fd, -1
        os.close(fd)


@pytest.fixture(name="live")
def live_mount(world, server):
    return world.mount(server, part_size="8M")


def test_slow_writer(world, server, live):
    """Each Part is on its way before it is whole, and is sent once."""
    w = Writing(world, live)
    for start in range(0, SIZE, 2 * MIB):
        w.write(start, start + 2 * MIB)
        w.await_sent(start + 2 * MIB)
    # Nothing more to send: all that the close asks for is the complete.
    wait_until(lambda: w.row()["parts_done"] == 3, "all Parts are in")
    w.close()
    assert_published(server, w.path, w.source, parts=3)
    assert [x["status"] for x in server.journal(op="part")] == [200] * 3


@pytest.mark.parametrize("fault", [{"action": "reset", "when": "during", "after_bytes": 2 * MIB},
                                   {"action": "status", "status": 503, "when": "during",
                                    "after_bytes": MIB},
                                   {"action": "drop"}])
def test_fails_half_way(world, server, live, fault):
    """The writer does not notice; the Part is sent again from the staged file."""
    server.faults([{"op": "part", **fault}])
    w = Writing(world, live)
    w.write(0, 3 * MIB)
    wait_until(lambda: w.row()["parts_total"] == 3, "the Upload is there")
    for start in range(3 * MIB, SIZE, MIB):
        w.write(start, start + MIB)
    w.close()
    assert_published(server, w.path, w.source, parts=3)
    assert len(server.journal(op="create")) == 1


def test_rewritten_while_it_leaves(world, server, live):
    """Never a mix of old and new bytes."""
    w = Writing(world, live)
    w.write(0, 4 * MIB)
    w.await_sent(4 * MIB)
    w.rewrite(MIB, b"other" * 1000)
    w.write(4 * MIB, 12 * MIB)
    w.await_sent(8 * MIB)
    w.rewrite(9 * MIB, b"again" * 1000)
    w.write(12 * MIB, SIZE)
    w.rewrite(0, b"header")
    w.close()
    assert_published(server, w.path, w.source, parts=3)


def test_slow_writer_holds_nothing_up(world, server):
    """With one connection: who is done goes first, and the slow one loses nothing."""
    mount = world.mount(server, part_size="8M", parallel="1")
    w = Writing(world, mount)
    w.write(0, 3 * MIB)
    w.await_sent(3 * MIB)
    source = make_file(world.path("other"), 9 * MIB)
    run(["cp", source, mount.path("batch", "other.jsonl")])
    other = mount.path("batch", "other.jsonl")
    assert xattr(other, "status") == "completed" and xattr(other, "md5") == md5(source)
    w.write(3 * MIB, SIZE)
    w.close()
    assert xattr(w.path, "md5") == md5(w.source)
    assert server.content_md5(xattr(w.path, "file_id")) == (SIZE, md5(w.source))


@pytest.mark.parametrize("size", [5 * MIB, 25 * MIB])
def test_size_was_wrong(world, server, live, size):
    """Shorter, longer: a new Upload, as for Parts of any kind."""
    w = Writing(world, live, size=size)
    w.write(0, 3 * MIB)
    w.await_sent(3 * MIB)
    w.write(3 * MIB, size)
    os.ftruncate(w.fd, size)
    w.close()
    assert_published(server, w.path, w.source)
    assert len(server.journal(op="complete", status=200)) == 1


def test_daemon_dies(world, server, live):
    w = Writing(world, live)
    w.write(0, 3 * MIB)
    w.await_sent(3 * MIB)
    live.kill()
    with pytest.raises(OSError):
        os.close(w.fd)
    live.remount()
    wait_until(lambda: xattr(w.path, "status") == "aborted", "it came back")
    assert not server.files()
    w.fd = os.open(w.path, os.O_WRONLY | os.O_CLOEXEC)
    w.write(0, SIZE, block=MIB)
    w.close()
    assert_published(server, w.path, w.source, parts=3)
