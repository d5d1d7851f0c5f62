"""The staging area is full: by its own limit, or because the disk is."""
import os
import subprocess
import tempfile

import pytest

from harness import (MIB, assert_nothing_pending, assert_published, copy_when_room, make_file, md5,
                     python, run, wait_let_go, wait_until, xattr)

DISK = 48 * MIB

# argv: file, bytes. Writes 64 KiB at a time; prints what came of the writes, and of close().
FILL = """
import errno, os, sys
try:
    f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
except OSError as exc:
    print(errno.errorcode[exc.errno], "not opened")
    sys.exit()
left, said = int(sys.argv[2]), "written"
block = os.urandom(65536)
while left > 0:
    try:
        left -= os.write(f, block[:left])
    except OSError as exc:
        said = errno.errorcode[exc.errno]
        break
try:
    os.close(f)
    print(said, "closed")
except OSError as exc:
    print(said, errno.errorcode[exc.errno])
"""


@pytest.fixture
def disk():
    """A tmpfs of its own; set up before world, so that it outlives the daemon."""
    path = tempfile.mkdtemp(prefix="d-")
    try:
        run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", path])
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
        os.rmdir(path)


@pytest.fixture
def small(world):
    return make_file(world.path("small"), 3 * MIB + 5)


def fill(path, size=2 * DISK):
    """Writes until it fails: (what write said, what close said)."""
    return tuple(python(FILL, path, size).stdout.split(maxsplit=1))


def fill_disk(disk):
    """Somebody else takes what is left, to the last byte; the file."""
    path = os.path.join(disk, "somebody-else")
    run(["dd", "if=/dev/zero", "of=" + path, "bs=64K"], check=False)
    run(["dd", "if=/dev/zero", "of=" + path, "bs=1", "oflag=append", "conv=notrunc",
         "count=65536"], check=False)
    assert os.statvfs(disk).f_bavail == 0
    return path


def start(world, disk, server, **options):
    """A mount whose staging area, and cache, is on the small disk."""
    options = {"staging_reserve": "8M", **options}
    return world.mount(server, state_dir=os.path.join(disk, "state"), **options)


def assert_full_and_well(server, mount, small):
    """
    One file fills the area. Its writer is told by write(), it is not published, and
    neither a file being written at the time nor those before it come to harm.
    """
    before, beside, big, after = [mount.path("batch", x)
                                  for x in ("before", "beside", "big", "after")]
    mount.may_fail = True
    run(["cp", small, before])
    with open(small, "rb") as f:
        data = f.read()
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(fd, data)
        said, closed = fill(big)
        assert said == "ENOSPC"
        # No half of a file becomes a File, whether or not the writer asks close().
        assert closed.strip() == "ENOSPC"
        assert xattr(big, "file_id") is None
        with pytest.raises(OSError):
            os.pwrite(fd, b"x" * 8 * MIB, len(data))
        # Cut where the write failed, it is what its writer wants it to be.
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
    assert sorted(x["filename"] for x in server.files()) == ["before", "beside"]
    size = os.path.getsize(big)
    assert MIB < size < DISK
    assert len(read(big)) == size
    run(["cmp", small, before])
    run(["cmp", small, beside])

    run(["rm", big])
    assert not os.path.exists(big)
    copy_when_room(small, after)
    assert xattr(after, "md5") == md5(small)
    assert sorted((x["filename"], x["bytes"]) for x in server.files()) == sorted(
        (x, len(data)) for x in ("before", "beside", "after"))
    assert_nothing_pending(server)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_reserve(disk, world, server, small):
    """The disk is nearly full: what is kept free of it stays free."""
    mount = start(world, disk, server)
    assert_full_and_well(server, mount, small)
    # Full again: the records of what is there still find room.
    fill(mount.path("batch", "big"))
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize >= 8 * MIB - MIB
    run(["rm", mount.path("batch", "big")])


def test_no_reserve(disk, world, server, small):
    """Filled to the last byte by the mount itself: a write that is cut short, then ENOSPC."""
    mount = start(world, disk, server, staging_reserve="0")
    before, big, after = [mount.path("batch", x) for x in ("before", "big", "after")]
    run(["cp", small, before])
    assert fill(big) == ("ENOSPC", "ENOSPC\n")
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize < 65536
    run(["cmp", small, before])
    assert len(read(big)) == os.path.getsize(big) > DISK // 2
    run(["rm", big])
    copy_when_room(small, after)
    assert sorted(x["filename"] for x in server.files()) == ["after", "before"]
    assert xattr(after, "md5") == md5(small)
    assert_nothing_pending(server)


def test_limit(world, server, small):
    """staging_size= is reached long before the disk is full."""
    assert_full_and_well(server, world.mount(server, staging_size="16M", cache_size="0"), small)


def test_limit_is_exact(world, server):
    """As many bytes as it says fit, by several files at once, and not one more."""
    mount = world.mount(server, staging_size="4M", cache_size="0")
    mount.may_fail = True
    fds = [os.open(mount.path("batch", f"f{i}"), os.O_WRONLY | os.O_CREAT) for i in range(4)]
    try:
        for fd in fds:
            assert os.write(fd, b"x" * MIB) == MIB
        for fd in fds:
            with pytest.raises(OSError) as full:
                os.pwrite(fd, b"y", MIB)
            assert full.value.errno == 28
            assert os.pwrite(fd, b"y" * MIB, 0) == MIB  # overwriting takes no more room
    finally:
        for fd in fds:
            try:
                os.close(fd)
            except OSError:
                pass


def test_retried_write(world, server, small):
    """A writer that waits for room and writes again loses nothing: one whole File."""
    mount = world.mount(server, staging_size="6M", cache_size="0")
    other, dest = mount.path("batch", "other"), mount.path("batch", "out.jsonl")
    data = read(small)
    hog = os.open(other, os.O_WRONLY | os.O_CREAT)
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(hog, b"x" * 4 * MIB)
        done, full = 0, False
        while done < len(data):
            try:
                done += os.pwrite(fd, data[done:done + MIB], done)
            except OSError as exc:
                assert exc.errno == 28 and not full
                full = True
                os.ftruncate(hog, 0)
        assert full
    finally:
        os.close(hog)
        os.close(fd)
    run(["rm", other])
    assert_published(server, dest, small)


@pytest.mark.parametrize("reserve", ["0", "4M"])
def test_disk_full_by_others(disk, world, server, small, reserve):
    """
    Not a byte is left on the disk. Nothing that was accepted is lost, the mount goes on,
    and works again when there is room.
    """
    mount = start(world, disk, server, staging_reserve=reserve, retry_delay="1")
    mount.may_fail = True
    before, open_file, big = [mount.path("batch", x) for x in ("before", "open", "big")]
    run(["cp", small, before])
    fd = os.open(open_file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        data = read(small)
        os.write(fd, data)
        hog = fill_disk(disk)
        # What can't have a record is not even opened; there is some room for records.
        assert fill(big) in [("ENOSPC", "not opened\n"), ("ENOSPC", "ENOSPC\n")]
        assert set(os.listdir(mount.path("batch"))) - {"big"} == {"before", "open"}
        run(["cmp", small, before])
        run(["cmp", small, open_file])
        assert mount.alive()
        result = run(["cp", small, mount.path("batch", "no")], check=False)
        assert result.returncode == 1 and "No space left on device" in result.stderr
        assert [x["filename"] for x in server.files()] == ["before"]
        os.unlink(hog)
    finally:
        os.close(fd)
    assert xattr(open_file, "status") == "completed"
    run(["cp", small, big])
    assert sorted((x["filename"], x["bytes"]) for x in server.files()) == sorted(
        (x, len(data)) for x in ("before", "open", "big"))
    want = md5(small)
    for found in server.files():
        assert server.content_md5(found["id"]) == (len(data), want)
    assert_nothing_pending(server)


def test_closed_while_the_disk_is_full(disk, world, server, small):
    """All bytes are here, but no record can be written: close() tells the truth."""
    mount = start(world, disk, server, staging_reserve="0", retry_delay="1")
    mount.may_fail = True
    dest = mount.path("batch", "out.jsonl")
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT, 0o644)
    closed = True
    try:
        os.write(fd, read(small))
        hog = fill_disk(disk)
    finally:
        try:
            os.close(fd)
        except OSError:
            closed = False
    assert (xattr(dest, "status") == "completed") == closed
    if closed:
        assert [x["filename"] for x in server.files()] == ["out.jsonl"]
    os.unlink(hog)
    wait_until(lambda: xattr(dest, "status") == "completed", "it is published")
    assert_published(server, dest, small)


def test_crash_while_the_disk_is_full(disk, world, server, small):
    """Mounting with not a byte free works; then the closed file is published."""
    mount = start(world, disk, server, staging_reserve="0", close="async")
    mount.may_fail = True
    server.faults([{"op": "create", "nth": 1, "times": 0, "action": "stall"}])
    dest = mount.path("batch", "out.jsonl")
    run(["cp", small, dest])
    hog = fill_disk(disk)
    mount.kill()
    server.restart()
    server.faults([])
    mount.remount()
    wait_until(lambda: xattr(dest, "status") in ("completed", "failed"), "it is tried")
    run(["cmp", small, dest])
    os.unlink(hog)
    if xattr(dest, "status") == "failed":
        os.setxattr(dest, "user.upload.publish", b"1")
    wait_until(lambda: xattr(dest, "status") == "completed", "it is published")
    assert_published(server, dest, small)


def test_fallocate_beyond_the_disk(disk, world, server, small):
    """ENOSPC at the call; the file goes on as if it had not been made."""
    mount = start(world, disk, server)
    dest = mount.path("batch", "out.jsonl")
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        with pytest.raises(OSError) as full:
            os.posix_fallocate(fd, 0, 4 * DISK)
        assert full.value.errno == 28
        os.write(fd, read(small))
    finally:
        os.close(fd)
    assert_published(server, dest, small)


def test_statfs_shows_the_small_disk(disk, world, server):
    """df on the mount is about the staging area."""
    mount = start(world, disk, server)
    stat = os.statvfs(mount.mnt)
    assert stat.f_blocks * stat.f_frsize == DISK
    assert stat.f_bavail * stat.f_frsize <= DISK


KILLED = """
import os, signal, sys
os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b"x" * 1000000)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("grow", [os.posix_fallocate, lambda fd, _, size: os.ftruncate(fd, size)])
def test_half_a_file_stays_aborted(world, server, grow):
    """Somebody opens what a killed writer left, there is no room for what he wants, he closes."""
    mount = world.mount(server, staging_size="4M")
    dest = mount.path("batch", "f")
    python(KILLED, dest, check=False)
    wait_until(lambda: xattr(dest, "status") == "aborted", "the half file is aborted")
    fd = os.open(dest, os.O_RDWR)
    with pytest.raises(OSError, match="No space left"):
        grow(fd, 0, 100 * MIB)
    os.close(fd)
    wait_until(lambda: xattr(dest, "status") == "aborted", "it is again")
    assert server.files() == []


def test_rename_after_a_write_that_failed(world, server):
    """The content was fetched for nothing: what is renamed is still the File."""
    mount = world.mount(server, staging_size="4M")
    source, old, new = make_file(world.path("s"), 3 * MIB), *(mount.path("batch", x) for x in "fg")
    run(["cp", source, old])
    wait_let_go(mount, old)
    fd = os.open(old, os.O_RDWR)
    with pytest.raises(OSError, match="No space left"):
        os.posix_fallocate(fd, 0, 100 * MIB)
    os.rename(old, new)
    os.close(fd)
    assert [x["filename"] for x in server.files()] == ["g"]
    assert_published(server, new, source)
