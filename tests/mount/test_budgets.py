"""What many writers cost the daemon: descriptors, threads and memory, as docs/semantics.md states."""
import os
import re
import subprocess

import pytest

from harness import BUILD, SLOW, Server, assert_nothing_pending, wait_until
from test_false_alarms import totals

WRITERS = 200
PIECE = 64 << 10
PIECES = 5
SMALL = 2000
CONNECTIONS = 80  # to the service, kept for a while, with what waits for them
# One a processor, at most eight, for MD5; eight for FUSE; and what docs/design.md names.
THREADS_MAX = min(os.sysconf("SC_NPROCESSORS_ONLN"), 8) + 8 + 10

# Each thread opens and writes a file; when all are open and half written, and after a line of
# input, each writes the rest and closes.
THREADS = """
import os, sys, threading
count, pieces, piece = map(int, sys.argv[2:])
half, go, failed = threading.Barrier(count + 1), threading.Barrier(count + 1), []
def write(k):
    try:
        fd = os.open(f"{sys.argv[1]}/w{k:03}", os.O_WRONLY | os.O_CREAT, 0o644)
        data = b"%03d" % k * (piece // 3 + 1)
        for n in range(pieces):
            if n == pieces // 2:
                half.wait(); go.wait()
            os.write(fd, data[:piece])
        os.close(fd)
    except OSError as exc:
        failed.append(exc)
threads = [threading.Thread(target=write, args=(k,)) for k in range(count)]
for t in threads: t.start()
half.wait()
print("half", flush=True)
sys.stdin.readline()
go.wait()
for t in threads: t.join()
assert not failed, failed
"""

FILES = """
import os, sys
for k in range(int(sys.argv[2])):
    if k % 1000 == 0:
        os.mkdir(f"{sys.argv[1]}/d{k // 1000}")
    with open(f"{sys.argv[1]}/d{k // 1000}/f{k % 1000:03}", "w") as f:
        f.write(f"file {k}")
"""


class Sink(Server):
    """uploads-server --sink: counts bytes and forgets them, so that the disk measures nothing."""

    def start(self):
        self.spawn([os.path.join(BUILD, "uploads-server"), "--sink", "--listen", "127.0.0.1:0"],
                   {"OPENAI_API_KEY": self.key})
        port, self.base = wait_until(lambda: re.search(r"^listening on http://127.0.0.1:(\d+)(/\S+) ",
                                                       self.log(), re.M),
                                     "the sink listens").groups()
        self.port = int(port)


def cost(mount):
    """(descriptors, threads) of the daemon."""
    return tuple(len(os.listdir(f"/proc/{mount.pid}/{x}")) for x in ("fd", "task"))


@pytest.mark.plain
def test_200_writers_at_once(world):
    """Two descriptors for each that is open, no thread for any, and all are Files."""
    server = world.server()
    mount = world.mount(server, part_size="64K")
    os.stat(mount.mnt)
    files, _ = cost(mount)
    memory = mount.memory("VmHWM")
    proc = subprocess.Popen(["/usr/bin/python3", "-B", "-c", THREADS, mount.path("batch"),
                             str(WRITERS), str(PIECES), str(PIECE)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    peaks = [(files, 0)]
    try:
        assert proc.stdout.readline() == b"half\n"
        peaks.append(cost(mount))
        proc.stdin.write(b"\n")
        proc.stdin.flush()

        def ended():
            peaks.append(cost(mount))
            return proc.poll() is not None

        wait_until(ended, "all are closed", timeout=60 * SLOW)
        assert proc.returncode == 0
    finally:
        proc.kill()
        proc.communicate()
    most, threads = (max(x) for x in zip(*peaks))
    assert 2 * WRITERS <= most - files <= 2 * WRITERS + CONNECTIONS
    assert threads <= THREADS_MAX
    assert mount.memory("VmHWM") - memory < WRITERS * (64 << 10)
    assert len(server.files(bytes=PIECES * PIECE)) == WRITERS
    assert_nothing_pending(server)
    assert cost(mount)[0] <= files + CONNECTIONS


@pytest.mark.plain
def test_many_small_files(world):
    """Through close=async: a bounded number is under way, all become Files, memory is bounded."""
    server = world._add(Sink, ())
    mount = world.mount(server, close="async", list_ttl="3600")
    os.stat(mount.mnt)
    files, _ = cost(mount)
    memory = mount.memory("VmHWM")
    proc = subprocess.Popen(["/usr/bin/python3", "-B", "-c", FILES, mount.path("batch"),
                             str(SMALL)])
    peaks = [(files, 0)]
    try:
        def ended():
            peaks.append(cost(mount))
            return proc.poll() is not None

        wait_until(ended, "all are closed", timeout=110 * SLOW)
        assert proc.returncode == 0
    finally:
        proc.kill()
        proc.wait()
    wait_until(lambda: totals(mount)["completed"] == SMALL, "all are Files", timeout=60 * SLOW)
    most, threads = (max(x) for x in zip(*peaks))
    assert most - files <= CONNECTIONS + 300
    assert threads <= THREADS_MAX
    assert mount.memory("VmHWM") - memory < (8 << 20) + SMALL * (4 << 10)
