"""Readers under everything: deaths, full disks, evictions, faults, other speeds, other calls."""
import errno
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

import harness
from crash import CrashMount
from harness import DEADLINE, MIB, make_file, md5, run, wait_until
from shelf import put

# What a read may say when the service or the daemon is not there.
FAILURES = (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EHOSTUNREACH,
            errno.EINTR)
STALL = {"op": "content", "times": 0, "action": "stall", "when": "during", "after_bytes": 3 * MIB}
FAULTS = [{"action": "truncate", "after_bytes": 100000}, {"action": "truncate"},
          {"action": "reset", "when": "before"}, {"action": "reset", "when": "during"},
          {"action": "status", "status": 503}, {"action": "status", "status": 500},
          {"action": "stall", "when": "during", "ms": 30}, {"action": "no_range"},
          {"action": "delay", "ms": 20}]


def some_faults(rng, times=40):
    """About every third of the requests to come fails in its own way."""
    return [{"op": "content", "nth": n, **rng.choice(FAULTS)}
            for n in sorted(rng.sample(range(1, 3 * times), times))]


def close_quietly(fd):
    """The close of a file of a daemon that died fails."""
    try:
        os.close(fd)
    except OSError as exc:
        assert exc.errno in FAILURES


def drop_pages(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def pread(fd, length, offset):
    """As many bytes as there are: a read that fails further on gives what stands before, first."""
    data = b""
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


class Readers:
    """
    Threads that read files at random and in order, and compare. reads: how many were right;
    wrong: those that were not; errors: errnos of those that failed.
    """

    def __init__(self, pairs, count, reads, seed=1):
        self.pairs, self.wanted = pairs, reads
        self.lock = threading.Lock()
        self.reads, self.wrong, self.errors = 0, [], []
        self.threads = [threading.Thread(target=self.run, args=(seed * 1000 + i,), daemon=True)
                        for i in range(count)]
        for x in self.threads:
            x.start()

    def run(self, seed):
        rng = random.Random(seed)
        for _ in range(self.wanted):
            source, path = rng.choice(self.pairs)
            self.one(rng, source, path)

    def one(self, rng, source, path):
        size = os.path.getsize(source)
        offset = rng.randrange(size)
        length = rng.choice((1, 4096, 65536, 300000, 2 * MIB))
        want = os.open(source, os.O_RDONLY)
        got = None
        try:
            got = os.open(path, os.O_RDONLY)
            if rng.random() < 0.3:
                os.posix_fadvise(got, 0, 0, os.POSIX_FADV_DONTNEED)
            data, right = pread(got, length, offset), os.pread(want, length, offset)
            with self.lock:
                self.reads += data == right
                if data != right:
                    self.wrong.append((path, offset, length, len(data)))
        except OSError as exc:
            with self.lock:
                self.errors.append(exc.errno)
        finally:
            os.close(want)
            if got is not None:
                close_quietly(got)

    def join(self, timeout=DEADLINE * 3):
        for x in self.threads:
            x.join(timeout)
        assert not any(x.is_alive() for x in self.threads), "a reader hangs"
        assert self.wrong == []
        return self


def several(world, server, count, size):
    sources = {f"f{i}": make_file(world.path(f"s{i}"), size + 1000 * i) for i in range(count)}
    return sources, put(server, **sources)


def pairs(mount, sources):
    return [(source, mount.path("batch", name)) for name, source in sources.items()]


# ---- deaths ----

@pytest.mark.plain
@pytest.mark.parametrize("when", ["before", "after"])
def test_daemon_dies_at_each_step(world, server, when):
    """While content is fetched and as it becomes cached; the next daemon reads all of it right."""
    sources, _ = several(world, server, 3, 2 * MIB)
    for n in range(1, 30):
        mount = CrashMount(world, server, at=n, when=when, cache_size="1G")
        world.processes.append(mount)
        readers = Readers(pairs(mount, sources), 2, 4, seed=n).join()
        assert set(readers.errors) <= set(FAILURES) | {errno.ENOENT}
        died = mount.crashed()
        mount.kill()
        mount.killed = True
        mount.at = None
        mount.detach()
        mount.start()
        for source, path in pairs(mount, sources):
            run(["cmp", source, path])
        mount.umount()
        mount.remount()
        for source, path in pairs(mount, sources):
            run(["cmp", source, path])
        mount.umount()
        if not died:
            # The list and a content for each File, at least.
            assert n > 4
            return
    raise AssertionError("it dies for ever")


def begin(source, path):
    """A descriptor of path, of which the first MiB was read."""
    fd = os.open(path, os.O_RDONLY)
    with open(source, "rb") as want:
        assert os.pread(fd, MIB, 0) == want.read(MIB)
    return fd


def test_daemon_killed_during_a_fetch(world, server):
    """Readers hear of it at once; half of a content is never taken for all, and not kept."""
    source = make_file(world.path("source"), 12 * MIB + 99)
    put(server, f=source)
    server.faults([STALL])
    mount = world.mount(server)
    path = mount.path("batch", "f")
    fd = begin(source, path)
    try:
        readers = Readers([(source, path)], 4, 3)
        mount.kill()
        readers.join()
        with pytest.raises(OSError) as failed:
            os.pread(fd, 10, 9 * MIB)
        assert failed.value.errno in FAILURES
    finally:
        close_quietly(fd)
    server.faults([])
    mount.remount()
    run(["cmp", source, path])
    mount.umount()
    mount.remount()
    run(["cmp", source, path])


def test_daemon_ends_in_order_during_a_fetch(world, server):
    """The same at SIGTERM: the readers end, the exit status is 0, and the next mount reads on."""
    source = make_file(world.path("source"), 12 * MIB + 99)
    put(server, f=source)
    server.faults([STALL])
    mount = world.mount(server)
    path = mount.path("batch", "f")
    fd = begin(source, path)
    try:
        readers = Readers([(source, path)], 4, 3)
        mount.proc.send_signal(signal.SIGTERM)
        assert mount.wait() == 0
        readers.join()
    finally:
        close_quietly(fd)
    server.faults([])
    mount.remount()
    run(["cmp", source, path])


def test_server_killed_during_a_fetch(world, server):
    """Readers wait for it, and get the right bytes when it is there again."""
    sources, _ = several(world, server, 2, 20 * MIB)
    server.faults([dict(STALL, times=6)])
    mount = world.mount(server, retry_timeout="60")
    readers = Readers(pairs(mount, sources), 4, 6)
    for _ in range(3):
        asked = len(server.journal(op="content"))
        server.restart()
        wait_until(lambda: len(server.journal(op="content")) > asked or not any(
            x.is_alive() for x in readers.threads), "a download goes on")
    server.faults([])
    readers.join()
    assert readers.errors == []
    for source, path in pairs(mount, sources):
        run(["cmp", source, path])


# ---- space ----

@pytest.mark.parametrize("cache_size", ["8M", "0"])
def test_evicted_under_readers(world, server, cache_size):
    """A cache with room for one of four: readers and mappings of all of them see right bytes."""
    sources, _ = several(world, server, 4, 5 * MIB)
    mount = world.mount(server, cache_size=cache_size)
    maps = []
    try:
        for source, path in pairs(mount, sources):
            with open(source, "rb") as want, open(path, "rb") as got:
                maps.append([mmap.mmap(x.fileno(), 0, prot=mmap.PROT_READ) for x in (want, got)])
        readers = Readers(pairs(mount, sources), 4, 25)
        rng = random.Random(5)
        for _ in range(300):
            want, got = rng.choice(maps)
            at = rng.randrange(len(want) - 5000)
            assert got[at:at + 5000] == want[at:at + 5000]
            if rng.random() < 0.1:
                drop_pages(rng.choice(pairs(mount, sources))[1])
        readers.join()
        assert readers.errors == [] and readers.reads == 100
    finally:
        for want, got in maps:
            want.close()
            got.close()


@pytest.fixture
def disk():
    """A tmpfs of its own; set up before world, so that it outlives the daemon."""
    path = tempfile.mkdtemp(prefix="d-")
    try:
        run(["mount", "-t", "tmpfs", "-o", f"size={48 * MIB},mode=700", "tmpfs", path])
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
        os.rmdir(path)


def take_room(disk, leave):
    """Somebody else takes all but so many bytes; the file."""
    path = os.path.join(disk, "somebody-else")
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(path, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, max(free - leave, 1))
    return path


def test_disk_full_during_a_fetch(disk, world, server):
    """ENOSPC and the bytes that had room; the disk is free again, then all of it is read."""
    sources, _ = several(world, server, 2, 12 * MIB)
    mount = world.mount(server, state_dir=os.path.join(disk, "state"), staging_reserve="0")
    other = take_room(disk, 5 * MIB)
    source, path = pairs(mount, sources)[0]
    with open(source, "rb") as want, open(path, "rb", buffering=0) as f:
        assert f.read(MIB) == want.read(MIB)
        with pytest.raises(OSError) as failed:
            while block := f.read(MIB):
                assert block == want.read(len(block))
        assert failed.value.errno == errno.ENOSPC
        # Nobody loses what is there, and another reader gets no wrong byte.
        readers = Readers(pairs(mount, sources), 3, 5).join()
        assert set(readers.errors) <= {errno.ENOSPC}
        assert len(os.listdir(mount.path("batch"))) == 2
        os.unlink(other)
        f.seek(0)
        want.seek(0)
        while block := f.read(MIB):
            assert block == want.read(MIB)
        assert want.read(1) == b""
    for source, path in pairs(mount, sources):
        run(["cmp", source, path])


# ---- removed ----

def test_cached_content_makes_room(disk, world, server):
    """Content of other Files goes when the disk is full, not the read."""
    sources, _ = several(world, server, 3, 12 * MIB)
    mount = world.mount(server, state_dir=os.path.join(disk, "state"), staging_reserve="0")
    all_pairs = pairs(mount, sources)
    for source, path in all_pairs[:2]:
        run(["cmp", source, path])
    take_room(disk, MIB)
    # The close of the last reader does not wait for its RELEASE: until then it is no other File's.
    wait_until(lambda: run(["cmp", *all_pairs[2]], check=False).returncode == 0, "room was made")
    for source, path in all_pairs[::-1]:
        drop_pages(path)
        wait_until(lambda: run(["cmp", source, path], check=False).returncode == 0, "and again")


def test_removed_here_while_it_is_read(world, server):
    """What was read whole is read on, also page by page; of half of it, the right bytes or an error."""
    sources, _ = several(world, server, 2, 12 * MIB)
    server.faults([dict(STALL, ms=100, match="f1")])
    mount = world.mount(server)
    (whole, whole_path), (half, half_path) = pairs(mount, sources)
    with open(whole, "rb") as want, open(whole_path, "rb", buffering=0) as got, \
            open(half, "rb") as want_half, open(half_path, "rb", buffering=0) as got_half:
        run(["cmp", whole, whole_path])
        assert got_half.read(MIB) == want_half.read(MIB)
        os.unlink(whole_path)
        os.unlink(half_path)
        assert server.files() == [] and os.listdir(mount.path("batch")) == []
        rng = random.Random(3)
        for _ in range(50):
            os.posix_fadvise(got.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            at = rng.randrange(12 * MIB)
            assert os.pread(got.fileno(), 70000, at) == os.pread(want.fileno(), 70000, at)
        assert os.fstat(got.fileno()).st_nlink == 0
        try:
            while block := got_half.read(MIB):
                assert block == want_half.read(MIB)
            assert want_half.read(1) == b""
        except OSError as exc:
            assert exc.errno in (errno.ENOENT, errno.EIO)


# ---- other calls, other speeds ----

# argv: way, from, to.
SEND = """
import os, sys
way, source, dest = sys.argv[1:]
size = os.path.getsize(source)
a = os.open(source, os.O_RDONLY)
b = os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
at = 0
r, w = os.pipe()
while at < size:
    if way == "sendfile":
        n = os.sendfile(b, a, at, 1 << 20)
    elif way == "splice":
        n = os.splice(a, w, 1 << 16, offset_src=at)
        left = n
        while left:
            left -= os.splice(r, b, left)
    else:
        n = os.copy_file_range(a, b, 1 << 20, offset_src=at)
    if not n:
        sys.exit(f"the end at {at} of {size}")
    at += n
assert not os.splice(a, w, 100, offset_src=at) if way == "splice" else True
"""


@pytest.mark.parametrize("way", ["sendfile", "splice", "copy_file_range"])
@pytest.mark.parametrize("ranges", [True, pytest.param(False, marks=pytest.mark.plain)],
                         ids=["ranges", "stream"])
def test_sent(world, way, ranges):
    """All bytes and no others, under faults, from the service and from the cache."""
    server = world.server(*([] if ranges else ["--no-range"]))
    source = make_file(world.path("source"), 12 * MIB + 99)
    put(server, f=source)
    server.faults(some_faults(random.Random(7), 10))
    mount = world.mount(server, retry_timeout="60")
    for n in range(2):
        # Between file systems the kernel refuses copy_file_range().
        place = mount.path("batch") if way == "copy_file_range" else world.dir
        dest = os.path.join(place, f"dest{n}")
        harness.python(SEND, way, mount.path("batch", "f"), dest)
        assert md5(dest) == md5(source)
        drop_pages(mount.path("batch", "f"))


# argv: file. Reads it by the block size of a line of input, then says its MD5.
STEPS = """
import hashlib, sys
digest = hashlib.md5()
with open(sys.argv[1], "rb", buffering=0) as f:
    for line in sys.stdin:
        size, count = map(int, line.split())
        while count and (data := f.read(size)):
            digest.update(data)
            count -= 1
        print(digest.hexdigest(), flush=True)
"""


@pytest.mark.parametrize("ranges", [True, pytest.param(False, marks=pytest.mark.plain)],
                         ids=["ranges", "stream"])
def test_different_speeds(world, ranges):
    """One stops in the middle, one reads by a few bytes, one all: each gets all, for one download."""
    server = world.server(*([] if ranges else ["--no-range"]))
    source = make_file(world.path("source"), 24 * MIB + 99)
    put(server, f=source)
    mount = world.mount(server)
    path = mount.path("batch", "f")
    readers = [subprocess.Popen([sys.executable, "-B", "-c", STEPS, path], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True) for _ in range(4)]

    def steps(reader, size, count):
        reader.stdin.write(f"{size} {count}\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    try:
        steps(readers[0], MIB, 2)
        steps(readers[1], 100, 50)
        steps(readers[2], 300000, 20)
        assert steps(readers[3], MIB, 1 << 30) == md5(source)
        steps(readers[1], 7, 1000)
        for reader in readers[:3]:
            assert steps(reader, 100000, 1 << 30) == md5(source)
    finally:
        for x in readers:
            x.kill()
            x.communicate()
    wait_until(lambda: sum(x["bytes"] for x in server.journal(op="content")) >=
               os.path.getsize(source), "the downloads are noted")
    assert sum(x["bytes"] for x in server.journal(op="content")) < 2 * os.path.getsize(source)


@pytest.mark.parametrize("parallel", ["4", "16", pytest.param("1", marks=pytest.mark.plain)])
def test_parallel_under_faults(world, server, parallel):
    """Eight readers of three Files, every third request fails in its own way: no byte is wrong."""
    sources, _ = several(world, server, 3, 24 * MIB)
    server.faults(some_faults(random.Random(int(parallel)), 60))
    mount = world.mount(server, parallel=parallel, retry_timeout="60", cache_size="30M")
    readers = Readers(pairs(mount, sources), 8, 30).join()
    assert readers.errors == [] and readers.reads == 240
    for source, path in pairs(mount, sources):
        run(["cmp", source, path])
