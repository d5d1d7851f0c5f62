"""The table of system calls in docs/semantics.md, for what no other test asks of a mount."""
import ctypes
import errno
import os

import pytest

from harness import python, run, wait_until, xattr

CALLS = r"""
import ctypes, errno, fcntl, mmap, os, select, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ENOTSUP = errno.EOPNOTSUPP

def fails(want, f, *args):
    try:
        r = f(*args)
    except OSError as exc:
        assert exc.errno == want, (args, exc)
        return
    raise AssertionError((f, args, r, "was not refused"))

def raw(want, name, *args):
    r = getattr(libc, name)(*args)
    assert r < 0 and ctypes.get_errno() == want, (name, args, r, ctypes.get_errno())

os.chdir(sys.argv[1])
with open("f", "wb") as f:
    f.write(b"f" * 9999)
fd = os.open("f", os.O_RDWR)

# Data: one piece without holes; any alignment; no call that must not wait.
assert os.lseek(fd, 0, os.SEEK_DATA) == 0 and os.lseek(fd, 5, os.SEEK_HOLE) == 9999
fails(errno.ENXIO, os.lseek, fd, 9999, os.SEEK_DATA)
fails(ENOTSUP, os.preadv, fd, [bytearray(3)], 0, os.RWF_NOWAIT)
fails(ENOTSUP, os.pwritev, fd, [b"abc"], 0, os.RWF_NOWAIT)
assert os.pwritev(fd, [b"D"], 0, os.RWF_DSYNC) == 1
assert os.pwritev(fd, [b"A"], 0, 0x10) == 1 and os.fstat(fd).st_size == 10000  # RWF_APPEND
direct = os.open("f", os.O_RDWR | os.O_DIRECT)
assert os.pwrite(direct, b"abc", 1) == 3 and os.pread(direct, 4, 0) == b"Dabc"
os.close(direct)
for flag in (os.O_PATH, os.O_NOATIME, os.O_NOFOLLOW, os.O_NONBLOCK):
    os.close(os.open("f", flag))
os.fdatasync(fd)
assert libc.syncfs(fd) == 0 and libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 7) == 0
assert len(mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)) == 4096

# From file to file, and through a pipe.
other = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
fails(ENOTSUP, fcntl.ioctl, fd, 0x40049409, fd)  # FICLONE
fails(errno.EXDEV, os.copy_file_range, fd, other, 10)
assert os.sendfile(other, fd, 0, 10) == 10
assert os.copy_file_range(fd, fd, 10, 0, 5000) == 10
r, w = os.pipe()
assert libc.splice(fd, ctypes.byref(ctypes.c_long(0)), w, None, 100, 0) == 100

# Attributes of other kinds.
for name in ("system.posix_acl_access", "trusted.x", "security.x", "user.x"):
    fails(ENOTSUP, os.setxattr, "f", name, b"\2\0\0\0")
    fails(errno.ENODATA, os.getxattr, "f", name)
for request in (0x80086601, 0x40086602):  # lsattr, chattr
    fails(errno.ENOTTY, fcntl.ioctl, fd, request, b"\0" * 8)
fails(ENOTSUP, fcntl.ioctl, fd, 0xC020660B, b"\0" * 32)  # FIEMAP
raw(errno.EINVAL, "swapon", b"f", 0)

# Waiting and watching: always ready, and told of what passes through the mount.
assert select.select([fd], [fd], [], 0) == ([fd], [fd], [])
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, b".", 0x100) == 1
open("seen", "w").close()
assert b"seen" in os.read(watch, 4096)
os.unlink("seen")
lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
fcntl.fcntl(fd, 37, lock)  # F_OFD_SETLK
again = os.open("f", os.O_RDWR)
fails(errno.EAGAIN, fcntl.fcntl, again, 37, lock)

# By a descriptor that does not allow it.
ro, wo = os.open("f", os.O_RDONLY), os.open("f", os.O_WRONLY)
fails(errno.EINVAL, os.ftruncate, ro, 0)
fails(errno.EBADF, os.write, ro, b"x")
fails(errno.EBADF, os.read, wo, 1)
fails(errno.EACCES, mmap.mmap, wo, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
for x in (fd, other, again, ro, wo):
    os.close(x)

# Names, within the mount and out of it.
raw(errno.EPERM, "linkat", -100, b"f", -100, b"n", 0)
fails(errno.EXDEV, os.rename, "f", sys.argv[2])
fails(errno.EINVAL, os.rmdir, ".")
fails(errno.EISDIR, os.open, ".", os.O_WRONLY)
assert os.pathconf("f", "PC_NAME_MAX") == 255
st = os.stat("f")
assert st.st_atime_ns == st.st_ctime_ns == st.st_mtime_ns and st.st_nlink == 1
"""


def test_calls(world, mount):
    python(CALLS, mount.path("batch"), world.path("elsewhere"))


def test_no_time_of_birth(mount):
    path = mount.path("batch", "f")
    python("import sys; open(sys.argv[1], 'w').write('x')", path)
    assert run(["stat", "-c", "%w %W", path]).stdout == "- 0\n"


def test_rename_of_directories(mount):
    """With a File in it: EXDEV, to a neighbour and to another purpose, and nothing has changed."""
    batch, other = mount.path("batch"), mount.path("fine-tune")
    os.mkdir(batch + "/d")
    python("import sys; open(sys.argv[1], 'w').write('x')", batch + "/d/f")
    wait_until(lambda: xattr(batch + "/d/f", "status") == "completed", "it is a File")
    for target in (batch + "/e", other + "/d"):
        with pytest.raises(OSError) as failed:
            os.rename(batch + "/d", target)
        assert failed.value.errno == errno.EXDEV and not os.path.exists(target)
    assert os.listdir(batch + "/d") == ["f"]
    # mv copies then.
    run(["mv", batch + "/d", batch + "/e"])
    assert os.listdir(batch + "/e") == ["f"] and not os.path.exists(batch + "/d")
    # An empty directory is renamed, to another purpose as well; that of a purpose never.
    os.mkdir(batch + "/empty")
    os.rename(batch + "/empty", other + "/moved")
    assert os.path.isdir(other + "/moved")
    for source, target in ((batch, mount.path("x")), (other + "/moved", mount.path("x"))):
        with pytest.raises(OSError) as failed:
            os.rename(source, target)
        assert failed.value.errno == errno.EPERM


class Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_char * 128)]


def handle_of(path):
    """What an NFS server would give its clients."""
    libc, handle, mount_id = ctypes.CDLL(None, use_errno=True), Handle(128), ctypes.c_int()
    assert libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(mount_id),
                                  0) == 0
    return handle


def open_handle(folder, handle):
    """The descriptor, or minus the errno."""
    libc, where = ctypes.CDLL(None, use_errno=True), os.open(folder, os.O_RDONLY)
    try:
        fd = libc.open_by_handle_at(where, ctypes.byref(handle), os.O_RDONLY)
        return fd if fd >= 0 else -ctypes.get_errno()
    finally:
        os.close(where)


def test_file_handles(mount):
    """They work while the kernel knows the file: no NFS export outlives a removal or a mount."""
    batch = mount.path("batch")
    for name in "ab":
        python("import sys; open(sys.argv[1], 'w').write('x')", batch + "/" + name)
    kept, gone = handle_of(batch + "/a"), handle_of(batch + "/b")
    fd = open_handle(batch, kept)
    assert fd >= 0 and os.read(fd, 9) == b"x"
    os.close(fd)
    os.unlink(batch + "/b")
    assert open_handle(batch, gone) == -errno.ESTALE
    mount.umount()
    mount.remount()
    assert open_handle(batch, kept) == -errno.ESTALE
    with open(batch + "/a", encoding="ascii") as f:
        assert f.read() == "x"
