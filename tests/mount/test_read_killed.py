"""Readers that are killed while content stalls: at once, whichever way they read."""
import os
import re
import signal
import subprocess
import sys

import pytest

from harness import DEADLINE, MIB, make_file, proc_state, run, wait_until
from shelf import put

# argv: file, way. Reads all of it; the main thread's id first.
READ = """
import mmap, os, sys
path, way = sys.argv[1:]
size = os.path.getsize(path)
fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if "direct" in way else 0))
print("reads", flush=True)
if way == "buffered":
    while os.read(fd, 1 << 20):
        pass
elif way == "random":
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    at = 0
    while at < size:
        at += len(os.pread(fd, 4096, at))
elif way in ("direct", "direct-large"):
    block = mmap.mmap(-1, 1 << (20 if way == "direct" else 22))
    while os.readv(fd, [block]) == len(block):
        pass
elif way == "mapped":
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
        m.madvise(mmap.MADV_RANDOM)
        for at in range(0, size, 4096):
            m[at]
elif way == "sendfile":
    out = os.open("/dev/null", os.O_WRONLY)
    r, w = os.pipe()
    at = 0
    while at < size:
        n = os.splice(fd, w, 65536, offset_src=at)
        at += n
        os.read(r, n)
"""
WAYS = ["buffered", "random", "direct", "direct-large", "mapped", "sendfile"]


def start(path, way):
    return subprocess.Popen([sys.executable, "-B", "-c", READ, path, way], stdout=subprocess.PIPE,
                            text=True)


def fetches(mount):
    """How many requests for content are under way."""
    with open(mount.path(".uploadfs", "metrics"), encoding="ascii") as f:
        found = re.search(r'^uploadfs_pending_requests{queue="content",state="running"} (\d+)$',
                          f.read(), re.M)
    return int(found.group(1))


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_once(world, way):
    """SIGKILL ends it while content stalls; others read on, and the next one reads all of it."""
    server = world.server()
    source = make_file(world.path("source"), 12 * MIB + 99)
    put(server, f=source)
    server.faults([{"op": "content", "times": 0, "action": "stall", "when": "during",
                    "after_bytes": 100000}])
    # The stall lasts for ever, and is far from a time-out when the reader is killed.
    mount = world.mount(server, idle_timeout="600", retry_timeout="600")
    path = mount.path("batch", "f")
    os.stat(path)
    reader = start(path, way)
    try:
        assert reader.stdout.readline() == "reads\n"
        wait_until(lambda: fetches(mount) and proc_state(reader.pid) in "SD", "it waits")
        reader.kill()
        assert reader.wait(DEADLINE) == -signal.SIGKILL
        # The kernel's own reading ahead into the page cache keeps the file open.
        if "direct" in way:
            wait_until(lambda: not fetches(mount), "the download ends with its reader")
    finally:
        reader.kill()
        # Ends the stall, also if the reader can't be killed.
        server.faults([])
        server.restart()
        reader.wait()
        reader.stdout.close()
    run(["cmp", source, path])
