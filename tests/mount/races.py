"""
What test_races.py lets several processes do to one directory: random operations
on a few names, for a while. argv: the directory, seconds, a seed, the errnos (by
name) that such a crowd may meet. Any other one ends it with exit code 3.
"""
import errno
import os
import random
import signal
import sys
import time

NAMES = ["a", "b", "c", "d1/a", "d1/b", "d2/c", ".a.AbCdEf"]


def write(rng, path, other):
    flags = os.O_CREAT | rng.choice([os.O_WRONLY, os.O_RDWR])
    flags |= rng.choice([0, os.O_TRUNC, os.O_EXCL, os.O_APPEND])
    fd = os.open(path, flags, 0o644)
    try:
        for _ in range(rng.randrange(5)):
            rng.choice([
                lambda: os.write(fd, os.urandom(rng.choice([1, 1000, 70000, 1500000]))),
                lambda: os.write(fd, b"more"),
                lambda: os.ftruncate(fd, rng.choice([0, 5, 100000, 2000000])),
                lambda: os.pwrite(fd, b"x" * 1000, rng.randrange(1 << 20)),
                lambda: os.close(os.dup(fd)),
            ])()
    finally:
        os.close(fd)


def read(rng, path, other):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.pread(fd, 100000, rng.randrange(1 << 20))
        os.pread(fd, 10, 0)
    finally:
        os.close(fd)


def look(rng, path, other):
    os.listdir(os.path.dirname(path))
    os.stat(path)
    for name in os.listxattr(path):
        try:
            os.getxattr(path, name)
        except OSError as exc:
            if exc.errno != errno.ENODATA:
                raise


def directory(rng, path, other):
    parent = os.path.dirname(path)
    base = parent if os.path.basename(parent)[0] != "d" else os.path.dirname(parent)
    rng.choice([os.mkdir, os.rmdir])(os.path.join(base, rng.choice(["d1", "d2"])))


def die_writing(rng, path, other):
    pid = os.fork()
    if pid == 0:
        try:
            os.write(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644), b"half")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


OPERATIONS = [
    write, write, write, read, look, directory, die_writing,
    lambda rng, path, other: os.unlink(path),
    lambda rng, path, other: os.rename(path, other),
    lambda rng, path, other: os.truncate(path, rng.choice([0, 7, 1000000])),
    lambda rng, path, other: os.getxattr(path, "user.upload.file_id"),
    lambda rng, path, other: os.setxattr(path, "user.upload.publish", b"1"),
]


def main(root, seconds, seed, *allowed):
    rng = random.Random(int(seed))
    allowed = {getattr(errno, name) for name in allowed}
    end = time.monotonic() + float(seconds)
    count = 0
    while time.monotonic() < end:
        path, other = (os.path.join(root, rng.choice(NAMES)) for _ in "ab")
        try:
            rng.choice(OPERATIONS)(rng, path, other)
        except OSError as exc:
            if exc.errno not in allowed:
                print(f"seed {seed}: {errno.errorcode.get(exc.errno, exc.errno)} {exc}")
                return 3
        count += 1
    return 0 if count else 4


sys.exit(main(*sys.argv[1:]))
