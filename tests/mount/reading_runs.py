"""
A random reader, for tests/soak.py: one host reads while another one changes the Files, contents
fail in passing, and either daemon or the server may be killed.

Each block of a content tells its version and its place, so each answer can be checked: a
descriptor gives the bytes of one version of its name, at the right places, to the end.
"""
import errno
import mmap
import os
import random
import threading
import time

import harness
from harness import MIB, md5, run, wait_until

BLOCK = 64
# What a call may say: a name or a File that is gone, or a daemon or server that was killed.
GONE = (errno.ENOENT, errno.ESTALE)
DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR, errno.EHOSTUNREACH,
        errno.ETIMEDOUT)
FAULTS = [{"action": "truncate", "after_bytes": 70000}, {"action": "truncate"},
          {"action": "reset", "when": "before"}, {"action": "reset", "when": "during"},
          {"action": "status", "status": 503}, {"action": "status", "status": 429,
                                                 "headers": {"Retry-After": "0"}},
          {"action": "stall", "when": "during", "ms": 50}, {"action": "no_range"},
          {"action": "drop"}, {"action": "delay", "ms": 30}]


def content(version, size):
    """size bytes: blocks that tell version, size and place."""
    count = (size + BLOCK - 1) // BLOCK
    return b"".join(b"%-63s\n" % (b"%d %d %d" % (version, size, n)) for n in range(count))[:size]


class Contents:
    """The versions that were made, by number; content is made anew when it is compared."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sizes = []
        self.last = (None, b"")

    def new(self, size):
        with self.lock:
            self.sizes.append(size)
            version = len(self.sizes) - 1
        return version, content(version, size)

    def of(self, version):
        with self.lock:
            if self.last[0] != version:
                self.last = (version, content(version, self.sizes[version]))
            return self.last[1]


class Run:
    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        rng = self.rng
        self.contents = Contents()
        self.over = threading.Event()
        self.may_die = rng.random() < 0.5
        self.reads, self.wrong = 0, []
        self.lock = threading.Lock()
        self.server = world.server(*rng.choice([[], [], ["--no-range"], ["--latency", "10"]]))
        options = {"retry_timeout": "30", "list_ttl": rng.choice(["0", "1"]),
                   "parallel": str(rng.choice([1, 4, 16])),
                   "cache_size": rng.choice(["0", "4M", "1G"])}
        self.here = world.mount(self.server, **options)
        self.there = world.mount(self.server, **{**options, "cache_size": "1G"})
        self.names = [f"f{i}" for i in range(4)]

    def change(self, rng):
        """The other host makes, replaces, renames or removes a File."""
        path = self.there.path("batch", rng.choice(self.names))
        try:
            what = rng.random()
            if what < 0.75:
                _, data = self.contents.new(rng.choice([rng.randrange(1, 5000), 3 * MIB,
                                                        rng.randrange(8 * MIB, 14 * MIB)]))
                with open(path, "wb") as f:
                    f.write(data)
            elif what < 0.85:
                os.rename(path, self.there.path("batch", rng.choice(self.names)))
            else:
                os.unlink(path)
        except OSError as exc:
            if exc.errno not in GONE + (DEAD if self.may_die else ()):
                self.note(f"changing {path}: {exc!r}")

    def changer(self, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            self.change(rng)

    def note(self, story):
        with self.lock:
            self.wrong.append(story)

    def one(self, rng, path):
        """Opens it and reads parts of it, in one of the ways; AssertionError when bytes are wrong."""
        fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if rng.random() < 0.2 else 0))
        try:
            size = os.fstat(fd).st_size
            head = self.read(fd, 0, BLOCK, 4096)
            if not head:
                return
            words = head.split()
            want = self.contents.of(int(words[0]))
            if len(want) >= BLOCK or head == want:
                assert head == want[:BLOCK], (path, head, want[:BLOCK])
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(want))
                length = rng.choice([1, 4096, 100000, 2 * MIB])
                got = self.read(fd, at, length, 4096)
                assert got == want[at:at + length], (path, words, size, at, length, len(got))
                if rng.random() < 0.2:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            with self.lock:
                self.reads += 1
        finally:
            try:
                os.close(fd)
            except OSError:
                pass

    @staticmethod
    def read(fd, at, length, align):
        """By aligned blocks into aligned memory, as O_DIRECT wants it; until there is no more."""
        first = at - at % align
        room = (at + length - first + align - 1) // align * align
        with mmap.mmap(-1, room) as block:
            done = 0
            while done < room:
                with memoryview(block) as view, view[done:] as rest:
                    n = os.preadv(fd, [rest], first + done)
                if not n:
                    break
                done += n
                if done % align:
                    break   # the end of the file
            return block[:done][at - first:at - first + length]

    def reader(self, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            try:
                names = os.listdir(self.here.path("batch"))
                if names:
                    self.one(rng, self.here.path("batch", rng.choice(names)))
            except OSError as exc:
                if exc.errno not in GONE + (DEAD if self.may_die else ()):
                    self.note(f"reading: {exc!r}")
            except (AssertionError, ValueError, IndexError) as exc:
                self.note(f"wrong bytes: {exc!r}"[:600])

    def some_faults(self):
        return [{"op": "content", "nth": self.rng.randrange(1, 60),
                 "times": self.rng.randrange(1, 3), **self.rng.choice(FAULTS)} for _ in range(12)]

    def disturb(self):
        """New faults, or a death, and the next daemon."""
        what = self.rng.random()
        if not self.may_die or what < 0.5:
            self.server.faults(self.some_faults())
        elif what < 0.75:
            self.server.restart()
        else:
            mount = self.rng.choice([self.here, self.there])
            mount.may_fail = True
            mount.kill()
            mount.remount()

    def go(self, seconds):
        threads = [threading.Thread(target=self.changer, args=(self.rng.random(),), daemon=True)]
        threads += [threading.Thread(target=self.reader, args=(self.rng.random(),), daemon=True)
                    for _ in range(3)]
        for _ in range(3):
            self.change(self.rng)
        for x in threads:
            x.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and not self.wrong:
                self.disturb()
                self.over.wait(self.rng.uniform(0.1, 1.0))
        finally:
            self.server.faults([])
            self.over.set()
            for x in threads:
                x.join(120)
        assert not any(x.is_alive() for x in threads), "a reader or a writer hangs"
        assert self.wrong == [], "\n".join(map(str, self.wrong[:5]))

    def check(self):
        """In the end both hosts show the Files of the server, with their bytes."""
        run([os.path.join(harness.BUILD, "uploadfs"), "wait", "--timeout", "60", self.there.mnt],
            check=False)
        for mount in (self.here, self.there):
            try:
                wait_until(lambda m=mount: self.same(m), "it shows what the server has", 90)
            except AssertionError as exc:
                raise AssertionError(f"{exc}\n{mount.name}: {self.shown(mount)}\nserver: "
                                     f"{[(x['filename'], x['id']) for x in self.server.files()]}"
                                     ) from exc
        assert self.reads > 0 or self.may_die, "nothing was read"

    @staticmethod
    def shown(mount):
        top = mount.path("batch")
        return [(x, [harness.xattr(os.path.join(top, x), y) for y in ("status", "file_id", "error")])
                for x in sorted(os.listdir(top))]

    def same(self, mount):
        try:
            top = mount.path("batch")
            for x in os.listdir(top):
                # The daemon was killed while it was written; the File behind it shows then.
                if harness.xattr(os.path.join(top, x), "status") == "aborted":
                    os.unlink(os.path.join(top, x))
            shown = {harness.xattr(os.path.join(top, x), "file_id"): os.path.join(top, x)
                     for x in os.listdir(top)}
            shown = {k: v for k, v in shown.items() if k}
            files = {x["id"] for x in self.server.files()}
            return set(shown) == files and all(
                md5(path) == self.server.content_md5(file_id)[1] for file_id, path in shown.items())
        except OSError:
            return False


def read_along(world, seed, seconds=6):
    """One run. AssertionError, with the story, when something does not hold."""
    one = Run(world, seed)
    try:
        one.go(seconds)
        one.check()
    except (AssertionError, OSError) as exc:
        logs = "".join(f"--- {x.name}\n{x.log()[-3000:]}" for x in (one.here, one.there))
        raise AssertionError(f"readers, seed {seed}: {exc}\n{logs}") from exc
    return one.reads
