"""System calls that tools make: the same answer as on a disk, or a clear refusal."""
import os

from harness import python, run
from parity import Parity
from trees import assert_held, write_bytes

# What is printed has to be the same in the mount as on a disk.
SAME = r"""
import ctypes, errno, fcntl, os, stat, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def e(f, *args, **more):
    try:
        return f(*args, **more)
    except OSError as exc:
        return errno.errorcode[exc.errno]

def raw(name, *args):
    r = getattr(libc, name)(*args)
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r

def write(name, data=b"x", flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    fd = os.open(name, flags, 0o644)
    os.write(fd, data)
    os.close(fd)

CHILD = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.%s(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
def child_locks(how, name):
    return subprocess.run([sys.executable, "-c", CHILD % how, name],
                          stderr=subprocess.DEVNULL).returncode

# Locks, of both kinds: another process, and another open file.
write("lock")
with open("lock", "r+") as f, open("lock", "r+") as g:
    for how in ("flock", "lockf"):
        getattr(fcntl, how)(f, fcntl.LOCK_EX)
        print(how, child_locks(how, "lock"), how == "flock" and
              e(fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB))
        getattr(fcntl, how)(f, fcntl.LOCK_UN)
        print(how, child_locks(how, "lock"))

# Two that append at the same time: no line is lost or torn.
APPEND = '''import os, sys
fd = os.open("appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for _ in range(100):
    os.write(fd, sys.argv[1].encode() * 9 + b"\\n")
os.close(fd)'''
both = [subprocess.Popen([sys.executable, "-c", APPEND, x]) for x in "ab"]
print([x.wait() for x in both])
lines = open("appended").read().splitlines()
print(len(lines), sorted(set(lines)))
os.unlink("appended")
# Appending and writing elsewhere, by one descriptor and by two.
write("a", b"0123456789")
f, g = os.open("a", os.O_RDWR | os.O_APPEND), os.open("a", os.O_RDWR)
os.lseek(f, 0, os.SEEK_SET)
print(os.write(f, b"END"), os.pwrite(g, b"ab", 3), os.write(f, b"END"), os.pread(g, 99, 0))
os.ftruncate(g, 7)
print(os.write(f, b"X"), os.pread(f, 99, 0), os.lseek(f, 0, os.SEEK_CUR))
os.close(f), os.close(g)

# Holes, and what copies them.
f = os.open("hole", os.O_RDWR | os.O_CREAT, 0o644)
os.pwrite(f, b"end", 300_000)
print(os.fstat(f).st_size, os.pread(f, 3, 150_000), os.lseek(f, -1, os.SEEK_END))
g = os.open("range", os.O_RDWR | os.O_CREAT, 0o644)
print(os.copy_file_range(f, g, 150_000, 200_000, 0), os.fstat(g).st_size, os.pread(g, 9, 100_000))
print(os.sendfile(g, f, 0, 1000), os.fstat(g).st_size)
os.close(f), os.close(g)

# fallocate: what is there is kept, punched or zeroed.
f = os.open("fa", os.O_RDWR | os.O_CREAT, 0o644)
os.write(f, b"a" * 100_000)
off = lambda n: ctypes.c_long(n)
for mode, start, length in ((1, 4096, 200_000), (3, 4096, 8192), (3, 90_000, 50_000), (0x11, 20480, 99),
                            (0, 50_000, 60_000), (0x10, 100_000, 20_000), (0, 0, 1), (1, 0, 0)):
    r = raw("fallocate", f, mode, off(start), off(length))
    print(hex(mode), r, os.fstat(f).st_size, os.pread(f, 1, start), os.pread(f, 1, start - 1 if start else 0))
print(e(os.posix_fallocate, f, 0, 130_000), os.fstat(f).st_size)
os.close(f)
# Of what was closed before: the first change of all, without a write.
for mode, start, length in ((3, 4096, 8192), (0, 100_000, 50_000), (0x10, 0, 10), (1, 0, 300_000)):
    f = os.open("fa", os.O_RDWR)
    print(raw("fallocate", f, mode, off(start), off(length)), os.fstat(f).st_size)
    os.close(f)

# Names and kinds.
os.mkdir("d")
write("x")
write("y", b"yy")
print(e(os.open, "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY), e(os.open, "x", os.O_DIRECTORY),
      e(os.open, "d", os.O_RDWR), e(os.open, "x/z", os.O_RDONLY), e(os.open, "none", os.O_RDWR),
      e(os.open, "n" * 256, os.O_CREAT | os.O_WRONLY))
print(e(os.rmdir, "x"), e(os.unlink, "d"), e(os.mkdir, "x"), e(os.rename, "x", "d"),
      e(os.rename, "d", "x"), e(os.rename, "d", "d/e"), e(os.rename, "none", "x"), e(os.rmdir, "none"))
rename = lambda a, b, flags: raw("renameat2", -100, a.encode(), -100, b.encode(), flags)
print(rename("x", "y", 1), rename("x", "x", 0), rename("x", "z", 1), rename("z", "x", 0))
print(e(os.readlink, "x"), e(os.listdir, "x"), os.access("x", os.W_OK), os.access("none", os.F_OK))
print(os.stat("x").st_nlink, e(os.mknod, "made", 0o100640), oct(os.stat("made").st_mode), e(os.mknod, "made"))

# Times and modes.
os.utime("x", ns=(5, 1234567890123456789))
os.chmod("x", 0o4751)
st = os.stat("x")
print(st.st_mtime_ns, oct(st.st_mode))
os.rename("x", "w")
st = os.stat("w")
print(st.st_mtime_ns, oct(st.st_mode))
write("w", b"again", os.O_WRONLY | os.O_TRUNC)
print(os.stat("w").st_mtime_ns > 1234567890123456789, oct(os.stat("w").st_mode & 0o777))
os.utime("w", ns=(0, -10**9))
os.utime("d", (1, 1))
print(os.stat("w").st_mtime_ns, os.stat("d").st_mtime_ns)
umask = os.umask(0o077)
write("private")
os.mkdir("private.d")
os.umask(umask)
print(oct(os.stat("private").st_mode), oct(os.stat("private.d").st_mode))

# Removed while open.
write("gone", b"still here")
f = os.open("gone", os.O_RDWR)
os.pwrite(f, b"STILL", 0)
os.unlink("gone")
print(os.fstat(f).st_nlink, os.pread(f, 99, 0), os.pwrite(f, b"more", 10), os.fstat(f).st_size)
os.close(f)
print(e(os.stat, "gone"), os.path.exists("gone"))
for name in ("lock", "hole"):
    os.unlink(name)
"""


def test_same_answers(world, server, mount):
    """Locks, appends, holes, fallocate, names, times, and what is removed while open."""
    script = write_bytes(world.path("script.py"), SAME.encode())
    Parity(world, server, mount)("calls", '/usr/bin/python3 -B "$1"', script)


REFUSED = r"""
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def refused(want, f, *args):
    try:
        r = f(*args)
    except OSError as exc:
        assert exc.errno == want, (args, exc)
        return
    if isinstance(f, ctypes._CFuncPtr) and r < 0:
        assert ctypes.get_errno() == want, (args, errno.errorcode[ctypes.get_errno()])
        return
    raise AssertionError((f, args, "was not refused"))

os.chdir(sys.argv[1])
with open("f", "wb") as f:
    f.write(b"f" * 9999)
for kind in (0o010644, 0o140644, 0o020644, 0o060644):
    refused(errno.EPERM, os.mknod, "n", kind, 259)
refused(errno.EPERM, os.mkfifo, "n")
refused(errno.EPERM, os.link, "f", "n")
refused(errno.EPERM, os.symlink, "f", "n")
refused(errno.EPERM, socket.socket(socket.AF_UNIX).bind, "n")
refused(errno.EOPNOTSUPP, os.open, ".", os.O_RDWR | os.O_TMPFILE)
os.mknod("g")
for flags in (2, 4):
    refused(errno.EINVAL, libc.renameat2, -100, b"f", -100, b"g", flags)
os.unlink("g")
fd = os.open("f", os.O_RDWR)
for mode in (0x08, 0x20, 0x40):
    refused(errno.EOPNOTSUPP, libc.fallocate, fd, mode, ctypes.c_long(0), ctypes.c_long(4096))
refused(errno.EFBIG, os.ftruncate, fd, (8 << 30) + 1)
refused(errno.EFBIG, os.posix_fallocate, fd, 0, (8 << 30) + 1)
os.pwrite(fd, b"F", 0)
os.close(fd)
for where in ("f", "."):
    refused(errno.EOPNOTSUPP, os.setxattr, where, "user.foo", b"1")
    refused(errno.ENODATA, os.getxattr, where, "user.foo")
    refused(errno.EOPNOTSUPP, os.removexattr, where, "user.foo")
for name in ("file_id", "filename", "status", "none"):
    for value in (b"1", b"1" * 300, b"\0"):
        refused(errno.EOPNOTSUPP, os.setxattr, "f", "user.upload." + name, value)
assert os.listdir(".") == ["f"], os.listdir(".")
"""


def test_refused(world, server, mount):
    """What can't be is refused by the call that asks for it, and leaves nothing behind."""
    top, ref = mount.path("batch", "r"), world.path("ref")
    for folder in (top, ref):
        os.mkdir(folder)
    python(REFUSED, top)
    # Nothing was fetched, nor sent, for a call that can't be.
    assert len(server.journal(op="complete")) == 2 and server.journal(op="content") == []
    write_bytes(os.path.join(ref, "f"), b"F" + b"f" * 9998)
    assert_held(server, "batch", "r", ref)


def test_space(world, mount):
    """df shows the disk of the state directory; du and stat the content."""
    def df(path):
        return run(["df", "--output=size", path]).stdout.split()[1]

    assert df(mount.mnt) == df(mount.state)
    assert os.statvfs(mount.mnt).f_namemax == 255
    path = mount.path("batch", "f")
    python("import sys; open(sys.argv[1], 'wb').write(bytes(1 << 20))", path)
    st = os.stat(path)
    assert (st.st_blocks, st.st_nlink) == (2048, 1)
    assert run(["du", "-k", path]).stdout.split()[0] == "1024"


def test_owner_and_mode(mount):
    """chmod, chown and utimensat of a File are kept over a remount, to the nanosecond."""
    path = mount.path("batch", "f")
    python("import sys; open(sys.argv[1], 'w').write('x')", path)
    os.chmod(path, 0o640)
    os.utime(path, ns=(1, 1234567890123456789))
    os.chown(path, os.getuid(), os.getgid())
    mount.umount()
    mount.remount()
    st = os.stat(path)
    assert (st.st_mode & 0o7777, st.st_mtime_ns) == (0o640, 1234567890123456789)
    assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())
