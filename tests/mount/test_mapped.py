"""Shared writable mappings: what is written through them is in the File, also after the close."""
import os
import signal

import pytest

from harness import assert_nothing_pending, md5, python, run, wait_until, xattr
from trees import digest, noise, write_bytes

SIZE = 2_300_000

# m: a mapping of fd, the O_RDWR file argv[1] of SIZE bytes. Python's own keeps a descriptor of its
# own open, which these must not.
MAPPED = """
import ctypes, os, signal, sys
SIZE = 2_300_000
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
if os.fstat(fd).st_size == 0:
    os.ftruncate(fd, SIZE)
m = libc.mmap(None, SIZE, 3, 1, fd, 0)
def put(at, data):
    ctypes.memmove(m + at, data, len(data))
def unmap():
    assert libc.munmap(m, SIZE) == 0
"""


class Files:
    """Files of one mount to be mapped: new ones, or Files with or without a copy here."""

    def __init__(self, world, server, kind):
        self.server, self.kind = server, kind
        self.mount = world.mount(server, **{"cache_size": "0"} if kind == "not cached" else {})
        self.data = bytes(SIZE) if kind == "new" else noise(SIZE)
        self.source = write_bytes(world.path("source"), self.data)

    def path(self, name):
        """Of one that nobody has touched yet."""
        path = self.mount.path("batch", name)
        if self.kind != "new":
            run(["cp", self.source, path])
        return path

    def held(self, path):
        """The Files of that name."""
        return self.server.files(filename=os.path.basename(path))

    def assert_is(self, path, data):
        """Now, or once the release that nobody waits for has published it: one File, these bytes."""
        want = digest(data)
        wait_until(lambda: xattr(path, "status") == "completed" and xattr(path, "md5") == want
                   and len(self.held(path)) == 1, f"{path}: the mapping's bytes are the File's")
        assert self.server.content_md5(self.held(path)[0]["id"]) == (len(data), want)
        assert md5(path) == want


@pytest.fixture(params=["new", "not cached", pytest.param("cached", marks=pytest.mark.plain)])
def files(request, world, server):
    return Files(world, server, request.param)


def changed(data, *changes):
    data = bytearray(data)
    for at, new in changes:
        data[at:at + len(new)] = new
    return bytes(data)


FIRST, LAST, MORE = (0, b"first"), (SIZE - 4, b"last"), (1_200_000, b"more")

WAYS = {
    "unmapped, then closed": "put(*FIRST); put(*LAST); put(*MORE); unmap(); os.close(fd)",
    "synced": """put(*FIRST); assert libc.msync(m, SIZE, 4) == 0; put(*LAST); os.fsync(fd)
put(*MORE); unmap(); os.close(fd)""",
    "closed, then unmapped": "put(*FIRST); put(*LAST); os.close(fd); put(*MORE); unmap()",
    "closed before it was written": "os.close(fd); put(*FIRST); put(*LAST); put(*MORE); unmap()",
    "closed, and left to the exit": "os.close(fd); put(*FIRST); put(*LAST); put(*MORE)",
    "left to the exit": "put(*FIRST); put(*LAST); put(*MORE); os._exit(0)",
    "and written": """put(*FIRST); os.pwrite(fd, LAST[1], LAST[0]); put(*MORE)
assert os.pread(fd, 4, MORE[0]) == MORE[1]; os.close(fd)""",
    "by a child": """
if os.fork() == 0:
    put(*FIRST); put(*LAST); put(*MORE)
    os._exit(0)
os.wait(); os.close(fd)""",
}


def test_written(server, files):
    """In whatever order it is unmapped, closed and exited: all bytes are in the one File."""
    for number, way in enumerate(WAYS):
        path = files.path(f"f{number}")
        script = f"FIRST, LAST, MORE = {(FIRST, LAST, MORE)!r}\n{WAYS[way]}"
        python(MAPPED + script, path)
        files.assert_is(path, changed(files.data, FIRST, LAST, MORE))
    assert_nothing_pending(server)


def test_close_and_fsync(files):
    """
    What was written before the close is in the File when close() returns. What
    was mapped before an fsync(), through any handle, outlives the daemon.
    """
    path = files.path("f")
    python(MAPPED + f"""
put(*{FIRST!r})
os.close(fd)
assert os.getxattr(sys.argv[1], "user.upload.md5").decode() == sys.argv[2]
unmap()
""", path, digest(changed(files.data, FIRST)))
    files.assert_is(path, changed(files.data, FIRST))
    pid = int(python(MAPPED + f"""
os.close(fd)
pid = os.fork()
if pid == 0:
    os.close(1), os.close(2)
    put(*{MORE!r})
    fd = os.open(sys.argv[1], os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    os.mkdir(sys.argv[2])
    signal.pause()
print(pid)
""", path, files.source + ".synced").stdout)
    try:
        wait_until(lambda: os.path.exists(files.source + ".synced"), "the child has synced")
        files.mount.kill()
    finally:
        os.kill(pid, signal.SIGKILL)
    files.mount.remount()
    want = changed(files.data, FIRST, MORE)
    assert xattr(path, "status") == "aborted" and md5(path) == digest(want)
    os.setxattr(path, "user.upload.publish", b"1")
    files.assert_is(path, want)


def test_killed(files):
    """A writer that is killed publishes nothing; what it wrote is there, as aborted."""
    for closed in (False, True):
        path = files.path(f"f{closed}")
        before = [x["id"] for x in files.held(path)]
        python(MAPPED + f"""
put(*{FIRST!r})
if {closed}:
    os.close(fd)
    put(*{MORE!r})
os.kill(os.getpid(), signal.SIGKILL)
""", path, check=False)
        wait_until(lambda p=path: xattr(p, "status") == "aborted", "the killed writer is noticed")
        assert md5(path) == digest(changed(files.data, FIRST, *[MORE] * closed))
        if closed:
            # Its close came first, and was in order.
            want = digest(changed(files.data, FIRST))
            assert [x["id"] for x in files.held(path)] not in ([], before)
            assert files.server.content_md5(files.held(path)[0]["id"]) == (SIZE, want)
        else:
            assert [x["id"] for x in files.held(path)] == before
