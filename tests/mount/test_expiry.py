"""Uploads that expire, or that somebody else cancels, while a file is written or closed."""
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import (DEADLINE, KEY, MIB, SLOW, FrozenCopy, assert_nothing_pending,
                     assert_published, make_file, md5, run, wait_until, xattr)

TTL = 3  # seconds that an Upload lives
LASTS = 10  # seconds that a file is written for
SIZE = 3 * MIB + 4321

# argv: how, source, dest, seconds. Writes evenly over that time, then closes.
SLOW_WRITER = """
import os, sys, time
how, source, dest, seconds = sys.argv[1:3] + [sys.argv[3], float(sys.argv[4])]
size = os.path.getsize(source)
f = os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
if how == "observed":
    s = os.open(source, os.O_RDONLY)
    read = lambda n: os.read(s, n)
else:
    with open(source, "rb") as whole:
        data = whole.read()
    at = 0
    def read(n):
        global at
        at += n
        return data[at - n:at]
if how == "declared":
    os.setxattr(dest, "user.upload.size", str(size).encode())
if how == "truncated":
    os.ftruncate(f, size)
start, step, done = time.monotonic(), 65536, 0
while done < size:
    done += os.write(f, read(step))
    time.sleep(max(0, start + seconds * done / size - time.monotonic()))
os.close(f)
"""
HOWS = ["declared", "truncated", "observed", "unknown"]


def test_written_over_three_lifetimes(world):
    """
    Files whose writing takes more than three times as long as an Upload lives,
    by every way to know a size, at the same time: each is one right File.
    """
    server = world.server("--upload-ttl", str(TTL))
    mount = world.mount(server, retry_timeout="20")
    sources = {x: make_file(world.path("source-" + x), SIZE + len(x)) for x in HOWS}
    dests = {x: mount.path("batch", x) for x in HOWS}
    procs = {x: subprocess.Popen([sys.executable, "-c", SLOW_WRITER, x, sources[x], dests[x],
                                  str(LASTS)]) for x in HOWS}
    try:
        assert {x: p.wait(timeout=DEADLINE + 60) for x, p in procs.items()} == dict.fromkeys(HOWS,
                                                                                             0)
    finally:
        for proc in procs.values():
            proc.kill() if proc.poll() is None else None
            proc.wait()
    files = {x["filename"]: x for x in server.files()}
    assert sorted(x["filename"] for x in server.files()) == sorted(HOWS)
    for how in HOWS:
        want = md5(sources[how])
        assert xattr(dests[how], "status") == "completed"
        assert xattr(dests[how], "file_id") == files[how]["id"]
        assert (xattr(dests[how], "parts"), xattr(dests[how], "md5")) == ("4/4", want)
        assert server.content_md5(files[how]["id"]) == (SIZE + len(how), want)
        creates = [x for x in server.uploads() if x["filename"] == how]
        # The test is one only if Uploads did expire under the writers that stream.
        assert len(creates) >= (1 if how == "unknown" else 2), how
    assert_nothing_pending(server)


def test_expired_between_last_byte_and_close(world, source):
    """All is written and parts are there; then the writer waits until the Upload is too old."""
    server = world.server("--upload-ttl", str(2 * SLOW))
    mount = world.mount(server, retry_timeout="20")
    dest = mount.path("batch", "out.jsonl")
    with open(source, "rb") as f:
        data = f.read()
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.setxattr(dest, "user.upload.size", str(len(data)).encode())
        os.write(fd, data)
        wait_until(lambda: server.journal(op="part", status=200), "a part arrives")
        first = server.uploads()[0]["id"]
        wait_until(lambda: is_too_old(server, first), "the Upload expires")
    finally:
        os.close(fd)
    assert_published(server, dest, source)
    assert len(server.uploads()) >= 2


def is_too_old(server, upload_id):
    """By the server's clock, which is this machine's."""
    return server.uploads(id=upload_id)[0]["expires_at"] < time.time()


def cancel(server, upload_id):
    """What another program with the same key can do. The Upload is cancelled after it."""
    request = urllib.request.Request(f"{server.url}/uploads/{upload_id}/cancel", data=b"",
                                     method="POST", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
        assert json.load(reply)["status"] == "cancelled"


def cancel_pending(server):
    """Cancels the one that is pending; its id."""
    pending = server.uploads(status="pending")
    assert len(pending) == 1
    cancel(server, pending[0]["id"])
    return pending[0]["id"]


def test_cancelled_in_the_middle_of_cp(world, server, mount):
    """cp does not notice: what was sent is sent again to a new Upload."""
    source = make_file(world.path("big.jsonl"), 24 * MIB + 99)
    dest = mount.path("batch", "out.jsonl")
    copy = FrozenCopy(source, dest, at=8 * MIB)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        gone = cancel_pending(server)
        code, err = copy.finish()
    finally:
        copy.close()
    assert (code, err) == (0, "")
    assert_published(server, dest, source, parts=25)
    assert server.uploads(id=gone)[0]["status"] == "cancelled"


def test_cancelled_just_before_close(server, mount, source):
    """All parts of a declared size are there; complete is refused."""
    dest = mount.path("batch", "out.jsonl")
    with open(source, "rb") as f:
        data = f.read()
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.setxattr(dest, "user.upload.size", str(len(data)).encode())
        os.write(fd, data)
        wait_until(lambda: xattr(dest, "parts") == "6/6", "all parts arrive")
        gone = cancel_pending(server)
    finally:
        os.close(fd)
    assert_published(server, dest, source, parts=6)
    assert [x["id"] for x in server.uploads(status="cancelled")] == [gone]


class Spoiler(threading.Thread):
    """Cancels up to `most` Uploads, each as soon as all its parts are there."""

    def __init__(self, server, parts, most):
        super().__init__()
        self.server, self.parts, self.most = server, parts, most
        self.gone, self.stop = [], threading.Event()
        self.start()

    def run(self):
        while len(self.gone) < self.most and not self.stop.wait(0.01):
            for upload in self.server.uploads(status="pending"):
                if len(upload["parts"]) == self.parts:
                    cancel(self.server, upload["id"])
                    self.gone.append(upload["id"])

    def end(self):
        self.stop.set()
        self.join()


# Each complete waits long enough for the spoiler to be first.
SLOW_COMPLETE = [{"op": "complete", "nth": 1, "times": 0, "action": "stall", "ms": 1500 * SLOW}]


def test_cancelled_twice_under_close(server, mount, source):
    """The one that replaces a cancelled one is cancelled, too."""
    dest = mount.path("batch", "out.jsonl")
    server.faults(SLOW_COMPLETE)
    spoiler = Spoiler(server, parts=6, most=2)
    try:
        run(["cp", source, dest])
    finally:
        spoiler.end()
    assert len(spoiler.gone) == 2
    assert_published(server, dest, source, parts=6)
    assert len(server.journal(op="complete", status=200)) == 1


def test_cancelled_again_and_again(server, mount, source):
    """Somebody cancels every Upload: close() fails in the end, the bytes stay."""
    mount.may_fail = True
    dest = mount.path("batch", "out.jsonl")
    server.faults(SLOW_COMPLETE)
    spoiler = Spoiler(server, parts=6, most=99)
    try:
        result = run(["cp", source, dest], check=False)
        assert result.returncode == 1
        assert xattr(dest, "status") == "failed"
        assert xattr(dest, "error")
    finally:
        spoiler.end()
    assert 2 < len(spoiler.gone) < 9
    assert server.files() == []
    run(["cmp", source, dest])
    assert_nothing_pending(server)

    server.faults([])
    os.setxattr(dest, "user.upload.publish", b"1")
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)


def test_cancelled_and_the_writer_killed(server, mount, source):
    """Nothing is left of it but the staged bytes."""
    dest = mount.path("batch", "out.jsonl")
    writer = subprocess.Popen([sys.executable, "-c", """
import os, signal, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.setxattr(sys.argv[2], "user.upload.size", str(len(data)).encode())
os.write(f, data[:-1])
signal.pause()
""", source, dest])
    try:
        wait_until(lambda: [len(x["parts"]) for x in server.uploads(status="pending")] == [5],
                   "all it can send is there")
        cancel_pending(server)
    finally:
        writer.kill()
        writer.wait()
    wait_until(lambda: xattr(dest, "status") == "aborted", "the file is aborted")
    assert server.files() == []
    run(["cmp", "-n", str(os.path.getsize(source) - 1), source, dest])
    assert os.path.getsize(dest) == os.path.getsize(source) - 1
    assert_nothing_pending(server)


def test_cancelled_upload_refuses_parts(server, mount, source):
    """The premise of this file: the server does refuse what comes for a cancelled Upload."""
    dest = mount.path("batch", "out.jsonl")
    fd = os.open(dest, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.setxattr(dest, "user.upload.size", str(os.path.getsize(source)).encode())
        wait_until(lambda: server.uploads(status="pending"), "the Upload is there")
        gone = cancel_pending(server)
        with pytest.raises(urllib.error.HTTPError) as refusal:
            cancel(server, gone)
        assert refusal.value.code in (400, 404)
        with open(source, "rb") as f:
            os.write(fd, f.read())
    finally:
        os.close(fd)
    assert [x for x in server.journal(op="part") if x["status"] == 400], "it took a part"
    assert_published(server, dest, source)
