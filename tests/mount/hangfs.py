"""
A FUSE file system of a hostile user: each name in it is an empty file that opens, and whose
poll() never ends. Run: hangfs.py DIRECTORY. It says "mounted", and "polled" for each poll().
"""
import ctypes
import errno
import os
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, INIT, INTERRUPT, POLL, BATCH_FORGET = 1, 2, 3, 14, 26, 36, 40, 42


def attr(ino):
    mode = 0o40755 if ino == 1 else 0o100644
    return struct.pack("<6Q10I", ino, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(op, ino):
    """(errno, bytes) of a reply."""
    if op == INIT:
        return 0, struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 10, 10, 65536, 1, 1, 0, *[0] * 8)
    if op == LOOKUP:
        return 0, struct.pack("<4Q2I", 2, 0, 999, 999, 0, 0) + attr(2)
    if op == GETATTR:
        return 0, struct.pack("<Q2I", 999, 0, 0) + attr(ino)
    if op == OPEN:
        return 0, struct.pack("<Q2I", 1, 0, 0)
    return errno.ENOSYS, b""


def serve(fd):
    while True:
        try:
            request = os.read(fd, 1 << 20)
        except OSError as e:
            if e.errno in (errno.EINTR, errno.ENOENT):
                continue
            return
        _, op, unique, ino = struct.unpack_from("<IIQQ", request)
        if op == POLL:
            print("polled", flush=True)
        elif op not in (FORGET, BATCH_FORGET, INTERRUPT):
            err, out = answer(op, ino)
            os.write(fd, struct.pack("<IiQ", 16 + len(out), -err, unique) + out)


def main(where):
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hangfs", where.encode(), b"fuse.hangfs", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    serve(fd)


main(sys.argv[1])
