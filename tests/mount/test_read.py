"""What a reader sees, and what it costs: ranges ahead of it, the caches, several readers."""
import errno
import mmap
import os
import random
import subprocess
import threading
import zipfile

import pytest

import harness
from harness import DEADLINE, GIB, MIB, make_file, run, wait_until, xattr
from shelf import downloads, put, served, sparse


def cached(mount):
    """{File ID: bytes} of what stands in the cache."""
    found = {}
    for file_id, path in harness.cached_data(mount.state).items():
        try:
            found[file_id] = os.path.getsize(path)
        except FileNotFoundError:
            pass    # it has just gone
    return found


def drop_pages(path):
    """The kernel forgets what it has of the file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def pread(path, size, offset):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


@pytest.mark.plain
def test_one_gib(world):
    """
    The first bytes are here before the rest was asked for; all of it is one
    download, in memory that does not grow; afterwards it is local.
    """
    server = world.server()
    source = sparse(world.path("big"), GIB + 12345)
    file_id = put(server, big=source)["big"]
    mount = world.mount(server)
    path = mount.path("batch", "big")
    with open(path, "rb") as f, open(source, "rb") as want:
        assert f.read(4096) == want.read(4096)
        assert served(server) <= 4 * MIB
        # The end, as readers of zip and parquet files begin.
        f.seek(-65536, os.SEEK_END)
        want.seek(-65536, os.SEEK_END)
        assert f.read() == want.read()
        assert served(server) <= 8 * MIB
        run(["cmp", source, path], timeout=DEADLINE * 4)
    assert mount.memory("VmHWM") < 40 * MIB
    wait_until(lambda: cached(mount) == {file_id: GIB + 12345}, "the whole is in the cache")
    asked = len(downloads(server))
    assert served(server) == GIB + 12345
    # Neither the first look nor the last one was more than a small part of it.
    sizes = [x["bytes"] for x in downloads(server)]
    assert sizes[0] <= 2 * MIB and max(sizes) <= 17 * MIB
    drop_pages(path)
    run(["bash", "-c", 'cat "$1" > /dev/null', "bash", path], timeout=DEADLINE * 4)
    mount.umount()
    mount.remount()
    run(["cmp", source, path], timeout=DEADLINE * 4)
    assert len(downloads(server)) == asked


def test_four_readers(world, server):
    """At once, of one File: each gets all of it, and it is downloaded once."""
    source = make_file(world.path("source"), 40 * MIB + 77)
    put(server, f=source)
    mount = world.mount(server)
    path = mount.path("batch", "f")
    readers = [subprocess.Popen(["cmp", source, path]) for _ in range(4)]
    try:
        assert [x.wait(DEADLINE * 2) for x in readers] == [0] * 4
    finally:
        for x in readers:
            x.kill()
            x.wait()
    assert served(server) == 40 * MIB + 77


def test_random_reads(world, server):
    """By eight threads, of every size and alignment; and through a mapping."""
    size = 64 * MIB + 4321
    source = sparse(world.path("source"), size)
    put(server, f=source)
    mount = world.mount(server)
    path = mount.path("batch", "f")
    wrong = []

    def reader(seed):
        rng = random.Random(seed)
        with open(source, "rb") as want, open(path, "rb") as got:
            for _ in range(40):
                offset = rng.randrange(size)
                length = rng.choice((1, 10, 4096, 65536, 300000, 2 * MIB))
                if os.pread(got.fileno(), length, offset) != os.pread(want.fileno(), length, offset):
                    wrong.append((seed, offset, length))

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(8)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert wrong == []
    with open(path, "rb") as got, open(source, "rb") as want, \
            mmap.mmap(got.fileno(), 0, prot=mmap.PROT_READ) as a, \
            mmap.mmap(want.fileno(), 0, prot=mmap.PROT_READ) as b:
        rng = random.Random(99)
        for _ in range(100):
            offset = rng.randrange(size)
            assert a[offset:offset + 5000] == b[offset:offset + 5000]
        assert a[-4:] == b"last"
    # Where all requests are taken one is given up for a reader that waits.
    assert served(server) <= 2 * size


@pytest.mark.plain
def test_zip(world, server):
    """One small member of a large archive: its index and the member are fetched, no more."""
    path = world.path("a.zip")
    with zipfile.ZipFile(path, "w") as z:
        for i in range(12):
            z.writestr(f"big{i}", os.urandom(4 * MIB))
            z.writestr(f"small{i}", b"small %d" % i)
    put(server, **{"a.zip": path})
    mount = world.mount(server)
    with zipfile.ZipFile(mount.path("batch", "a.zip")) as z:
        assert z.read("small5") == b"small 5"
    wait_until(lambda: len(downloads(server)) >= 2, "the ranges were sent")
    assert served(server) <= 4 * MIB


class Traced(harness.Mount):
    """Prints the FUSE traffic into its log."""

    def argv(self):
        words = super().argv()
        return [words[0], "-d", *words[1:]]

    def reads(self):
        return self.log().count("opcode: READ (")


@pytest.mark.plain
def test_page_cache(world, server, source):
    """Opened again, a File is read from the kernel's memory: no READ comes to the daemon."""
    put(server, f=source)
    mount = world._add(Traced, server)
    path = mount.path("batch", "f")
    run(["cmp", source, path])
    before = mount.reads()
    assert before > 0
    run(["cmp", source, path])
    assert mount.reads() == before
    drop_pages(path)
    run(["cmp", source, path])
    assert mount.reads() > before
    assert served(server) == os.path.getsize(source)


@pytest.mark.plain
def test_cache_is_bounded(world, server):
    """cache_size holds; the File that was not read for the longest time goes first."""
    size = 3 * MIB
    sources = {x: make_file(world.path(x), size + i) for i, x in enumerate("abcd")}
    ids = put(server, **sources)
    mount = world.mount(server, cache_size="10M")

    def read(name):
        """Reads it and says whether that took a download."""
        before = len(downloads(server, file_id=ids[name]))
        drop_pages(mount.path("batch", name))
        run(["cmp", sources[name], mount.path("batch", name)])
        wait_until(lambda: ids[name] in cached(mount), "it is in the cache")
        # What has to go for it is unlinked by a thread of its own.
        wait_until(lambda: sum(cached(mount).values()) <= 10 * MIB, "the cache keeps its bound")
        return len(downloads(server, file_id=ids[name])) > before

    assert [read(x) for x in "abc"] == [True] * 3
    assert not read("a")
    assert read("d")  # b has to go
    assert set(cached(mount)) == {ids[x] for x in "acd"}
    assert [read(x) for x in "acd"] == [False] * 3
    assert read("b")
    mount.umount()
    mount.remount()
    assert sum(cached(mount).values()) <= 10 * MIB
    assert not read("b")


@pytest.mark.plain
def test_refused_purposes(world, server, source):
    """
    EACCES and the reason; but what was written through the mount is read from the
    cache, also by the next mount.
    """
    put(server, theirs=(source, "user_data"))
    mount = world.mount(server)
    theirs, ours = mount.path("user_data", "theirs"), mount.path("user_data", "ours")
    result = run(["cmp", source, theirs], check=False)
    assert result.returncode == 2 and "Permission denied" in result.stderr
    assert "Not allowed to download files of purpose: user_data" in mount.log()
    run(["cp", source, ours])
    for again in (False, True):
        if again:
            mount.umount()
            mount.remount()
        drop_pages(ours)
        run(["cmp", source, ours])
        assert run(["cmp", source, theirs], check=False).returncode == 2
    assert xattr(ours, "status") == "completed"
    os.unlink(harness.cached_data(mount.state)[xattr(ours, "file_id")])
    drop_pages(ours)
    assert run(["cmp", source, ours], check=False).returncode == 2


# argv: file, flags, whether to read all of it first. Opens for update, removes, then writes.
UPDATE = """
import errno, os, sys
fd = os.open(sys.argv[1], getattr(os, sys.argv[2]))
if sys.argv[3] == "all":
    while os.read(fd, 1 << 20):
        pass
os.unlink(sys.argv[1])
try:
    os.pwrite(fd, b"new", 5)
    print(os.fstat(fd).st_size, os.pread(fd, 10, 0) if sys.argv[2] == "O_RDWR" else "")
except OSError as exc:
    print(errno.errorcode[exc.errno])
"""


@pytest.mark.plain
def test_removed_before_the_first_write(world, server, source):
    """
    Opened for update, then removed: it goes on with what is here of it, for nobody
    else. Where that is not all of it, the first write is ENOENT.
    """
    put(server, **{x: source for x in "abcd"})
    mount = world.mount(server)
    size = os.path.getsize(source)
    with open(source, "rb") as f:
        want = bytearray(f.read(10))
    want[5:8] = b"new"

    def update(name, *args):
        return harness.python(UPDATE, mount.path("batch", name), *args).stdout.strip()

    assert update("a", "O_RDWR", "all") == f"{size} {bytes(want)}"
    run(["cmp", source, mount.path("batch", "b")])
    wait_until(lambda: cached(mount), "it is in the cache")
    assert update("b", "O_WRONLY", "none") == str(size)
    assert update("c", "O_RDWR", "none") == "ENOENT"
    assert update("d", "O_WRONLY", "none") == "ENOENT"
    assert server.files() == []
    assert os.listdir(mount.path("batch")) == []
    assert server.journal(op="create") == []


def read_or_errno(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as exc:
        return errno.errorcode[exc.errno]


def test_removed_and_opened_again(world, server, source):
    """What is gone is never an empty file: not by a descriptor's name, not by its id."""
    first, mount = world.mount(server), world.mount(server)
    run(["cp", source, first.path("batch", "f")])
    path = mount.path("batch", "f")
    by_id = mount.path(".by-id", xattr(path, "file_id"))
    os.stat(by_id)
    with open(path, "rb") as f:
        whole = f.read()
        os.unlink(path)
        assert read_or_errno(f"/proc/self/fd/{f.fileno()}") == "ESTALE"
        f.seek(0)
        assert f.read() == whole
    assert read_or_errno(by_id) in ("ENOENT", "ESTALE")
