"""The size of a File: unknown at first, changed later, or not the one its content has."""
import errno
import mmap
import os

import pytest

from harness import MIB, make_file, wait_until


def read_at(path, size, offset):
    """The bytes, or the name of the error. A descriptor of its own, and no page of others."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    except OSError as exc:
        return errno.errorcode[exc.errno]
    finally:
        os.close(fd)


def names(mount):
    return sorted(os.listdir(mount.path("batch")))


@pytest.mark.parametrize("unknown", [b"", b'"bytes":null,'], ids=["missing", "null"])
def test_unknown(world, account, unknown):
    """A File of unknown size is not shown, by any name: never with 0 bytes."""
    known = account.add("known", b"known")
    late = account.add("late", b"the content")
    size = b'"bytes":%d,' % len(b"the content")
    account.change(late, size, unknown)
    mount = world.mount(account, list_ttl="0")
    by_id = mount.path(".by-id", late)
    assert names(mount) == ["known"]
    assert not os.path.exists(mount.path("batch", "late")) and not os.path.exists(by_id)
    account.change(late, unknown or b'"purpose"', size + (b"" if unknown else b'"purpose"'))
    assert names(mount) == ["known", "late"]
    for path in (mount.path("batch", "late"), by_id):
        assert os.path.getsize(path) == 11 and read_at(path, 100, 0) == b"the content"
    # A size that was known does not go.
    account.change(known, b'"bytes":5,', unknown)
    assert names(mount) == ["known", "late"]
    assert read_at(mount.path("batch", "known"), 100, 0) == b"known"


@pytest.mark.parametrize("off", [-1000, 1000], ids=["less", "more"])
def test_another_total(world, account, off):
    """A range that belongs to content of another size is EIO at its first byte."""
    with open(make_file(world.path("source"), 20 * MIB), "rb") as f:
        content = f.read()
    file_id = account.add("f", content)
    account.ranges = True
    account.totals[file_id] = len(content) + off
    mount = world.mount(account)
    path = mount.path("batch", "f")
    for offset in (0, 12 * MIB, 20 * MIB - 10):
        before = len(account.served)
        assert read_at(path, 1, offset) == "EIO"
        # The answer is not sought by asking again.
        assert len(account.served) - before <= 2
    assert f"{len(content)} bytes expected" in mount.log()
    account.totals.clear()
    for offset in (0, 12 * MIB, 20 * MIB - 10):
        assert read_at(path, 10, offset) == content[offset:offset + 10]


OLD, NEW = b"the first half", b"another beginning, and the second half"


@pytest.mark.parametrize("new", [NEW, NEW[:5]], ids=["grows", "shrinks"])
def test_size_changes(world, account, new):
    """A newer listing's size replaces the old one, with all that was known of the content."""
    account.ranges = True
    file_id = account.add("f", OLD)
    other = account.add("other", b"other")
    mount = world.mount(account, list_ttl="0")
    path = mount.path("batch", "f")
    assert names(mount) == ["f", "other"]
    assert read_at(path, 100, 0) == OLD
    assert read_at(mount.path("batch", "other"), 100, 0) == b"other"
    with open(path, "rb", buffering=0) as held, \
            mmap.mmap(held.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == OLD
        account.change(file_id, b'"bytes":%d,' % len(OLD), b'"bytes":%d,' % len(new))
        with account.lock:
            next(x for x in account.files if x["id"] == file_id)["content"] = new
        assert names(mount) == ["f", "other"]
        assert os.path.getsize(path) == len(new)
        assert read_at(path, 100, 0) == new
        # Whoever has it open gets the new bytes from the page cache, or an error; never a mixture.
        try:
            assert os.pread(held.fileno(), 100, 0) == new
        except OSError as exc:
            assert exc.errno == errno.EIO
    assert names(mount) == ["f", "other"]
    assert mount.log().count(f"{file_id}): its size was {len(OLD)} bytes, now {len(new)} bytes") == 1
    assert mount.log().count("its size was") == 1
    # What is cached now is the new content, over a remount as well.
    account.served.clear()
    mount.umount()
    mount.remount()
    assert read_at(path, 100, 0) == new
    assert read_at(mount.path("batch", "other"), 100, 0) == b"other"
    assert [x for x in account.served if x[0] == other] == []


def test_size_changes_while_it_is_read(world, account):
    """A reader that has it open gets an error, and no byte of either content after the other."""
    with open(make_file(world.path("source"), 24 * MIB), "rb") as f:
        content = f.read()
    account.ranges = True
    file_id = account.add("f", content)
    mount = world.mount(account, list_ttl="0")
    path = mount.path("batch", "f")
    with open(path, "rb", buffering=0) as f:
        assert f.read(10) == content[:10]
        account.change(file_id, b'"bytes":%d,' % len(content), b'"bytes":%d,' % (30 * MIB))
        assert names(mount) == ["f"]
        # The service still has the old content: not a byte of it is taken for the new.
        assert read_at(path, 10, 20 * MIB) == "EIO"
        f.seek(16 * MIB)
        with pytest.raises(OSError) as failed:
            f.read(10)
        assert failed.value.errno == errno.EIO
        with account.lock:
            account.files[0]["content"] = content + bytes(6 * MIB)
    wait_until(lambda: read_at(path, 10, 29 * MIB) == bytes(10), "the new content")
    assert read_at(path, 10, 16 * MIB) == content[16 * MIB:16 * MIB + 10]


def test_ours_keeps_its_size(world, server, source):
    """A File that was published here has the size that was checked, whatever is listed."""
    mount = world.mount(server, list_ttl="0")
    path = mount.path("batch", "f")
    with open(source, "rb") as f, open(path, "wb") as to:
        to.write(f.read())
    server.faults([{"op": "list", "times": 0, "action": "wrong_bytes", "bytes": 7}])
    assert names(mount) == ["f"]
    assert os.path.getsize(path) == os.path.getsize(source)
    with open(source, "rb") as f:
        assert read_at(path, 1000, 0) == f.read(1000)
