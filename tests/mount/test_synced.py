"""fsync and close where the disk fails once, and files that are written again and cut off."""
import errno
import os

import pytest

import crash
from harness import python, wait_let_go, wait_until, xattr

DATA = b"some bytes"


class FaultyMount(crash.CrashMount):
    """A sync of staged data fails once after break_disk()."""

    def env(self):
        self.switch = self.state + ".broken"
        return {**super().env(), "UPLOADFS_CRASH_DATA": self.switch}

    def break_disk(self):
        with open(self.switch, "wb"):
            pass


def fails(func, *args):
    """The errno's name, or None."""
    try:
        func(*args)
    except OSError as exc:
        return errno.errorcode[exc.errno]
    return None


def names(server):
    return [x["filename"] for x in server.files()]


@pytest.fixture
def faulty(world, server):
    mount = world._add(FaultyMount, server, (), at=0, retry_delay="1")
    mount.may_fail = True
    return mount


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
@pytest.mark.parametrize("sync", [os.fsync, os.fdatasync])
def test_fsync_fails_once(server, faulty, sync):
    """No later one says 0, and the close does not publish what may be lost."""
    f = faulty.path("batch", "f")
    fd = os.open(f, os.O_WRONLY | os.O_CREAT)
    os.write(fd, DATA)
    faulty.break_disk()
    assert fails(sync, fd) == "EIO"
    assert fails(sync, fd) == "EIO"
    os.write(fd, DATA)
    assert fails(os.fsync, fd) == "EIO"
    assert fails(os.close, fd) == "EIO"
    assert "syncing" in xattr(f, "error") and names(server) == []
    # Neither does the background.
    wait_until(lambda: faulty.log().count("not published") >= 2, "it is tried again")
    assert names(server) == []
    # New bytes are other bytes.
    with open(f, "wb", buffering=0) as out:
        out.write(DATA)
        os.fsync(out.fileno())
    assert xattr(f, "status") == "completed" and names(server) == ["f"]


@pytest.mark.plain
def test_synced_write_fails_once(server, faulty):
    """Nor with O_DSYNC: the write fails, and so does the close."""
    f = faulty.path("batch", "f")
    fd = os.open(f, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
    os.write(fd, DATA)
    faulty.break_disk()
    assert fails(os.write, fd, DATA) == "EIO"
    assert fails(os.fsync, fd) == "EIO"
    assert fails(os.close, fd) == "EIO"
    assert names(server) == []


@pytest.mark.plain
def test_sync_always(world, server):
    """The bytes are synced before complete is asked; otherwise they are not."""
    for option, want in (("sync=always", True), ("sync=auto", False)):
        mount = world._add(crash.CrashMount, server, (option,), at=0)
        with open(mount.path("batch", option), "wb") as out:
            out.write(DATA)
        assert xattr(mount.path("batch", option), "status") == "completed"
        assert ("data" in mount.notes("sync")) == want
        mount.umount()


def test_written_again_and_killed(world, server):
    """A File that is written again and cut off by a kill: what follows replaces that File."""
    mount = world.mount(server, list_ttl="1")
    f = mount.path("batch", "f")
    with open(f, "wb", buffering=0) as out:
        out.write(DATA)
    file_id = xattr(f, "file_id")
    wait_let_go(mount, f)
    fd = os.open(f, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"once")
    os.close(fd)
    fd = os.open(f, os.O_WRONLY | os.O_APPEND)
    keep = os.open(f, os.O_WRONLY)
    os.write(fd, b" more")
    os.close(fd)
    os.write(keep, b"S")
    mount.kill()
    os.closerange(keep, keep + 1)
    mount.remount()
    wait_until(lambda: xattr(f, "status") == "aborted", "it comes back")
    os.setxattr(f, "user.upload.publish", b"1")
    assert xattr(f, "file_id") not in (None, file_id)
    wait_until(lambda: len(server.files()) == 1, "the Files of before are deleted")
    assert server.get(f"/files/{server.files()[0]['id']}/content").read() == \
        b"S" + (DATA + b"once more")[1:]


def test_held_and_killed(world, server):
    """A close under a temporary name survives a kill of the daemon, though it syncs nothing."""
    mount = world.mount(server)
    python("import sys\nopen(sys.argv[1], 'wb').write(b'x' * 100000)",
           mount.path("batch", ".f.AbCdEf"))
    mount.kill()
    mount.remount()
    wait_until(lambda: names(server) == [".f.AbCdEf"], "it is published")
    assert server.files()[0]["bytes"] == 100000
