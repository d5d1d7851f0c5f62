"""No message and no failure where nothing is wrong: files removed or cut while they are sent."""
import json
import os
import subprocess

from harness import assert_nothing_pending, python, wait_until

# create, fallocate, map, close, unlink: as databases and browsers do with their scratch files.
SCRATCH = """
import mmap, os, sys
for k in range(300):
    path = f"{sys.argv[1]}/scratch{k}"
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.posix_fallocate(fd, 0, 65536)
    with mmap.mmap(fd, 65536) as m:
        m[:5] = b"bytes"
        if k % 2:
            os.unlink(path)
            os.close(fd)
    if not k % 2:
        os.close(fd)
        os.unlink(path)
"""

CUT = """
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR, 0o600)
os.setxattr(fd, "user.upload.size", b"2097152")
os.write(fd, b"a" * 1100000)
print("written", flush=True)
sys.stdin.readline()
os.ftruncate(fd, 100)
print("cut", flush=True)
sys.stdin.readline()
for k in range(2):
    os.pwrite(fd, bytes([98 + k]) * (1 << 20), k << 20)
os.close(fd)
"""


def totals(mount):
    """The counts of the status document."""
    with open(mount.path(".uploadfs", "status"), encoding="utf-8") as f:
        return json.load(f)["totals"]


def alarms(mount):
    """The lines of the log that tell of trouble."""
    return [x for x in mount.log().splitlines()
            if any(w in x for w in ("not published", "failed", "check the disk", "ERROR", "WARN"))]


def test_files_removed_at_once(server, world):
    """None of them is an error, neither in the log nor in the counts; no Upload stays."""
    mount = world.mount(server, close="async")
    python(SCRATCH, mount.path("batch"))
    wait_until(lambda: not totals(mount)["publishing"], "nothing is under way")
    assert alarms(mount) == []
    assert totals(mount)["failed"] == 0
    assert os.listdir(mount.path("batch")) == []


def test_a_file_cut_while_it_is_sent(server, world):
    """The Part on its way ends early; the Upload goes on, and the bytes that stand are the File."""
    mount = world.mount(server, rate_limit="400K")
    path = mount.path("batch", "cut")
    proc = subprocess.Popen(["/usr/bin/python3", "-B", "-c", CUT, path], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    try:
        assert proc.stdout.readline() == b"written\n"
        wait_until(lambda: totals(mount)["sent"] > 0, "bytes leave")
        proc.stdin.write(b"\n")
        proc.stdin.flush()
        assert proc.stdout.readline() == b"cut\n"
        wait_until(lambda: server.journal(op="part"), "a Part has met the end of the file")
        proc.stdin.write(b"\n")
        proc.stdin.flush()
        assert proc.wait(60) == 0
    finally:
        proc.kill()
        proc.communicate()
    assert alarms(mount) == []
    assert_nothing_pending(server)
