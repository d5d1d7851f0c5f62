"""What can't become a File is refused at the call that shows it."""
import os

import pytest

from harness import GIB, assert_published, copy_when_room, python, run, wait_until, xattr

LIMIT = 8 * GIB

# Calls that would pass 8 GiB: refused bytes are missing from the file, a refused size is not.
WRITES = {
    "pwrite at the limit": "os.pwrite(f, b'x', LIMIT)",
    "pwrite beyond": "os.pwrite(f, b'x', LIMIT + 5)",
}
CALLS = {
    "ftruncate": "os.ftruncate(f, LIMIT + 1)",
    "posix_fallocate": "os.posix_fallocate(f, LIMIT, 1)",
    "truncate": "os.truncate(sys.argv[1], LIMIT + 1)",
}


def call_and_close(dest, call):
    """The names of the errnos of the call and of the close."""
    return python(f"""
import errno, os, sys
LIMIT = {LIMIT}
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.write(f, b"small")
def attempt(fn):
    try:
        fn()
        return "0"
    except OSError as exc:
        return errno.errorcode[exc.errno]
print(attempt(lambda: {call}), attempt(lambda: os.close(f)))
""", dest).stdout


@pytest.mark.parametrize("call", WRITES)
def test_write_beyond_8_gib(server, mount, call):
    """EFBIG at once, and again at the close: a file that lacks bytes is no File."""
    dest = mount.path("batch", "f")
    assert call_and_close(dest, WRITES[call]) == "EFBIG EFBIG\n"
    wait_until(lambda: xattr(dest, "status") == "aborted", "the file to be given up")
    assert server.files() == [] and open(dest, "rb").read() == b"small"
    with open(dest, "wb") as f:
        f.write(b"anew")
    assert [f["bytes"] for f in server.files()] == [4]


@pytest.mark.parametrize("call", CALLS)
def test_beyond_8_gib(world, server, mount, call):
    """EFBIG at once; what was written stays good and is published."""
    dest = mount.path("batch", "f")
    assert call_and_close(dest, CALLS[call]) == "EFBIG 0\n"
    small = world.path("small")
    with open(small, "wb") as f:
        f.write(b"small")
    assert_published(server, dest, small)


def test_write_across_8_gib(server, mount):
    """What starts below the limit is cut short there, as write(2) has it, or refused whole."""
    out = python(f"""
import errno, os, sys
LIMIT = {LIMIT}
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
try:
    print(os.pwrite(f, b"xx", LIMIT - 1), os.fstat(f).st_size - LIMIT)
except OSError as exc:
    print(errno.errorcode[exc.errno])
os.ftruncate(f, 0)      # or 8 GiB would be sent
os.close(f)
""", mount.path("batch", "f")).stdout
    assert out in ("1 0\n", "EFBIG\n")
    assert server.files() == []


def test_truncate_command(mount):
    result = run(["truncate", "-s", str(LIMIT + 1), mount.path("batch", "f")], check=False)
    assert result.returncode == 1 and "File too large" in result.stderr
    assert os.path.getsize(mount.path("batch", "f")) == 0


def test_writing_into_the_root(mount):
    """A root that shows purposes takes no files."""
    result = run(["cp", "/etc/hostname", mount.path("f")], check=False)
    assert result.returncode == 1 and "Operation not permitted" in result.stderr


def test_statfs(mount):
    """df works, and knows about the disk behind the staging area."""
    stat = os.statvfs(mount.mnt)
    assert stat.f_blocks > 0 and 0 < stat.f_bavail <= stat.f_blocks
    assert stat.f_namemax == 255


def test_staging_full(world, server):
    """ENOSPC at the write, no File, and the mount goes on working."""
    mount = world.mount(server, staging_size="4M")
    mount.may_fail = True
    result = run(["dd", "if=/dev/zero", "of=" + mount.path("batch", "f"), "bs=64K", "count=200"],
                 check=False)
    assert result.returncode == 1 and "No space left on device" in result.stderr
    run(["rm", mount.path("batch", "f")])
    copy_when_room("/etc/services", mount.path("batch", "g"))
    assert xattr(mount.path("batch", "g"), "status") == "completed"
