"""Servers without Range, that cut downloads, and whose Files are not as long as they say."""
import errno
import os
import signal
import subprocess
import sys

import pytest

from harness import DEADLINE, MIB, arriving_data, cached_data, make_file, md5, run, wait_until
from shelf import downloads, put, served

# The first download stops for ever after 4 MiB.
STUCK = {"op": "content", "action": "stall", "when": "during", "after_bytes": 4 * MIB}
# argv: file. Reads 1 MiB of it, says so, and keeps it open until its input ends; the
# rest when it is told to.
BEGIN = """
import hashlib, sys
f = open(sys.argv[1], "rb")
digest = hashlib.md5(f.read(1 << 20))
print(f.tell(), flush=True)
if sys.stdin.readline():
    while data := f.read(1 << 20):
        digest.update(data)
    print(digest.hexdigest())
"""


@pytest.fixture
def large(world):
    """More than is fetched in one piece."""
    return make_file(world.path("large"), 12 * MIB + 99)


def temporaries(mount):
    return arriving_data(mount)


def begin(path):
    """A process that has read the first MiB of path, and has it open."""
    reader = subprocess.Popen([sys.executable, "-B", "-c", BEGIN, path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert reader.stdout.readline() == f"{MIB}\n"
    except BaseException:
        kill(reader)
        raise
    return reader


def kill(reader):
    reader.kill()
    reader.communicate()


def test_without_range(world, large):
    """What has come is readable while the rest comes; one request, whichever byte is first."""
    server = world.server("--no-range")
    put(server, front=large, back=large)
    server.faults([STUCK])
    mount = world.mount(server)
    with open(mount.path("batch", "front"), "rb") as f, open(large, "rb") as want:
        assert f.read(MIB) == want.read(MIB)
        assert downloads(server) == []
    # Nobody reads it any more: the download ends in the middle, and what came is dropped.
    stuck = wait_until(lambda: downloads(server), "the download ends")
    assert len(stuck) == 1 and stuck[0]["bytes"] < os.path.getsize(large)
    wait_until(lambda: not temporaries(mount), "what came is dropped")
    run(["cmp", large, mount.path("batch", "front")])
    assert len(downloads(server)) == 2
    with open(mount.path("batch", "back"), "rb") as f, open(large, "rb") as want:
        f.seek(-1000, os.SEEK_END)
        want.seek(-1000, os.SEEK_END)
        assert f.read() == want.read()
        run(["cmp", large, mount.path("batch", "back")])
    assert len(downloads(server)) == 3
    assert served(server) == stuck[0]["bytes"] + 2 * os.path.getsize(large)


@pytest.mark.parametrize("ranges", [True, pytest.param(False, marks=pytest.mark.plain)],
                         ids=["ranges", "stream"])
def test_cut(world, large, ranges):
    """Cut again and again, by an early end and by a reset: it goes on from there."""
    server = world.server(*([] if ranges else ["--no-range"]))
    put(server, f=large)
    rules = [{"op": "content", "nth": n, "action": "truncate"} for n in (1, 3)]
    rules += [{"op": "content", "nth": n, "action": "reset", "when": "during"} for n in (2,)]
    server.faults(rules)
    mount = world.mount(server, retry_timeout="30")
    run(["cmp", large, mount.path("batch", "f")])
    assert len([x for x in downloads(server) if x["fault"] in ("truncate", "reset")]) == 3
    if ranges:
        # Nothing of what had come was sent again, but for what was in the air at a reset.
        assert served(server) < 2 * os.path.getsize(large)


@pytest.mark.plain
@pytest.mark.parametrize("size", [5 * MIB, 12 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("off", [-1000, 1000], ids=["longer", "shorter"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])
def test_wrong_length(world, size, off, ranges):
    """Content that is longer or shorter than the list says is EIO, whatever is read first."""
    server = world.server(*([] if ranges else ["--no-range"]))
    source = make_file(world.path("source"), size)
    put(server, f=source)
    server.faults([{"op": "list", "times": 0, "action": "wrong_bytes", "bytes": size + off}])
    mount = world.mount(server)
    path = mount.path("batch", "f")
    assert os.path.getsize(path) == size + off
    for command in (["tail", "-c", "10", path], ["cat", path]):
        result = run(["bash", "-c", '"$@" | wc -c; exit ${PIPESTATUS[0]}', "bash", *command],
                     check=False)
        assert result.returncode == 1 and "Input/output error" in result.stderr
        assert int(result.stdout) < size + off
    assert "bytes expected" in mount.log() or "the content ended at byte" in mount.log()
    assert cached_data(mount.state) == {}


def test_killed_reader(world, large):
    """One of two readers is killed in the middle: the other one goes on with the same download."""
    server = world.server("--no-range")
    put(server, f=large)
    server.faults([dict(STUCK, seconds=0.3)])
    mount = world.mount(server)
    path = mount.path("batch", "f")
    killed, stays = begin(path), begin(path)
    kill(killed)
    assert killed.returncode == -signal.SIGKILL
    try:
        assert stays.communicate("go\n", timeout=DEADLINE)[0].strip() == md5(large)
    finally:
        kill(stays)
    assert [x["bytes"] for x in downloads(server)] == [os.path.getsize(large)]


def test_last_reader_is_killed(world, large):
    """The download ends with its last reader, however that goes; the next one begins anew."""
    server = world.server("--no-range")
    put(server, f=large)
    server.faults([STUCK])
    mount = world.mount(server)
    path = mount.path("batch", "f")
    first, last = begin(path), begin(path)
    kill(first)
    assert len(temporaries(mount)) == 1
    assert downloads(server) == []
    kill(last)
    ended = wait_until(lambda: downloads(server), "the download ends")
    assert len(ended) == 1 and ended[0]["bytes"] < os.path.getsize(large)
    wait_until(lambda: not temporaries(mount), "what came is dropped")
    run(["cmp", large, path])
    assert len(downloads(server)) == 2


def kept(mount, size):
    """Paths of the cached content of that size."""
    return [x for x in cached_data(mount.state).values() if os.path.getsize(x) == size]


@pytest.mark.parametrize("size, advice", [(100, os.POSIX_FADV_RANDOM),
                                          (MIB, os.POSIX_FADV_SEQUENTIAL)],
                         ids=["copied", "spliced"])
def test_cut_in_the_cache(world, large, size, advice):
    """Less than was asked for is an error, never the end; whichever way the bytes go."""
    server = world.server()
    put(server, x=large)
    mount = world.mount(server)
    path = mount.path("batch", "x")
    run(["cmp", large, path])
    # A close does not wait for its RELEASE, here and below.
    copies = wait_until(lambda: kept(mount, os.path.getsize(large)), "the copy")
    with open(path, "rb", buffering=0) as f:
        os.truncate(copies[0], 5 * MIB + 1000)
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what the kernel has of it
        os.posix_fadvise(f.fileno(), 0, 0, advice)
        f.seek(5 * MIB + 1000 - size // 2)
        with pytest.raises(OSError) as failed:
            while f.read(size):
                pass
        assert failed.value.errno == errno.EIO
        assert "its copy in the cache was cut" in mount.log()
    wait_until(lambda: run(["cmp", large, path], check=False).returncode == 0, "fetched anew")
