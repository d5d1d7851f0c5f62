"""
The daemon dies by SIGKILL at every step in turn that the disk or the server
can see; the next mount makes good what was closed, and shows what was not.
"""
import concurrent.futures
import itertools
import os
import threading

import pytest

import crash
import harness
from crash import PART, Cp, Held, Life, Open, Shrunk, Unknown

pytestmark = pytest.mark.plain  # the preloaded library and a sanitizer's do not mix

AT_A_TIME = 4
FAILURES_MAX = 40
STEPS_MIN = 30  # fewer steps than that: the library did not count


class Loop(harness.World):
    """A world whose watchdog is that of each run."""

    def __init__(self):
        super().__init__()
        self.watchdog.cancel()
        self.numbers = itertools.count(1)
        self.sources = {}
        self.lock = threading.Lock()

    def next_number(self):
        return next(self.numbers)   # runs of several threads ask

    def source(self, parts, more):
        path = self.path(f"source-{parts}-{more}")
        with self.lock:
            if path not in self.sources:
                harness.make_file(path, parts * PART + more)
                with open(path, "rb") as f:
                    self.sources[path] = f.read()
            return path, self.sources[path]


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def sync_writers(loop, tag):
    """A writer that stays open, one of an observed size, of an unknown one, and a held one."""
    return [Open(tag + "-open", loop.source(3, 77)[1], PART + 5000),
            Cp(tag + "-cp", loop.source(4, 1000)[0]),
            Unknown(tag + "-unknown", loop.source(2, 4321)[1]),
            Held(tag + "-held", loop.source(1, 99)[1])]


def async_writers(loop, tag):
    """closes that do not wait; a prediction that fails; a File that is superseded."""
    first = Unknown(tag + "-over", loop.source(1, 500)[1])
    return [Unknown(tag + "-one", loop.source(2, 4321)[1]),
            first,
            Shrunk(tag + "-shrunk", loop.source(1, 10)[1]),
            Unknown(tag + "-over", loop.source(2, 900)[1], former=first.data),
            Open(tag + "-open", loop.source(3, 77)[1], PART + 5000)]


def run_once(loop, server, make, n, kind, **options):
    """True when the daemon lived: it has fewer steps than n."""
    writers = make(loop, f"{kind[0]}{n}")
    life = Life(loop, server, n, kind, **options)
    try:
        for writer in writers:
            writer.write(life.mount)
        lived = life.unmount(writers) if life.mount.alive() else False
        assert lived or life.mount.crashed(), f"exit code {life.mount.proc.poll()}"
        # Of two writings of one name the later one counts, if it came to that.
        last = {}
        for writer in writers:
            if writer.name not in last or last[writer.name].state == crash.CLOSED:
                last[writer.name] = writer
        life.remount()
        life.check(list(last.values()))
        assert life.umount(), "the last daemon died"
        return lived
    except AssertionError as exc:
        raise AssertionError(f"n = {n} {kind} ({crash.step_of(life.mount)}): {exc}\n"
                             f"--- the daemons\n{life.mount.log()[-6000:]}") from exc
    finally:
        for writer in writers:
            if isinstance(writer, Open) and writer.fd >= 0:
                crash.close_quietly(writer.fd)
        life.end()


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("close", ["sync", "async"])
def test_every_step(loop, close, kind):
    make = sync_writers if close == "sync" else async_writers
    options = {"close_async": True} if close == "async" else {}
    servers = [loop.server() for _ in range(AT_A_TIME)]
    failures, lived, n = [], False, 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        while not lived and len(failures) < FAILURES_MAX:
            turn = [(next_n, server) for next_n, server in
                    zip(itertools.count(n + 1), servers)]
            n += AT_A_TIME
            runs = [pool.submit(run_once, loop, server, make, at, kind, **options)
                    for at, server in turn]
            for done in runs:
                try:
                    lived |= done.result()
                except AssertionError as exc:
                    failures.append(str(exc))
            assert n < 1000, "the daemon's steps have no end"
    assert not failures, f"{len(failures)} of {n} runs failed\n" + "\n\n".join(failures[:6])
    assert n > STEPS_MIN, f"only {n} steps"


@pytest.mark.parametrize("options", [{}, {"cache_size": "0"}], ids=["cache", "no cache"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY], ids=["read", "written"])
def test_removed_stays_removed(loop, flags, options):
    """What was removed while somebody had it open is not published again after a crash."""
    server = loop.server()
    mount = loop._add(harness.Mount, server, **options)
    path = mount.path("batch", "file")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"bytes")
    other = os.open(path, flags)
    os.close(fd)
    os.unlink(path)
    mount.kill()
    crash.close_quietly(other)
    mount.remount()
    harness.wait_until(lambda: harness.records(mount.state) == [], "recovered")
    assert server.files() == [] and len(server.journal(op="create")) == 1
    # With a writer the record may still have said that there is a File: an entry, until a listing.
    if flags == os.O_RDONLY:
        assert os.listdir(mount.path("batch")) == []
    mount.umount()
