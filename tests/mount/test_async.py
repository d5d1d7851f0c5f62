"""close=async: what close() accepted becomes a File, whatever happens to the daemon."""
import contextlib
import hashlib
import os
import signal

import pytest

from harness import (DEADLINE, MIB, assert_published, data_is_empty, make_file, md5, python, records,
                     run, wait_until, xattr)

FILES = 500
NOT_ALL_PUBLISHED = (1,)  # the daemon's exit code

# argv: directory, how many. Each has a size and content of its own, some of two parts.
WRITE_MANY = """
import os, sys
for i in range(int(sys.argv[2])):
    with open(os.path.join(sys.argv[1], f"f{i:04}.jsonl"), "wb") as f:
        f.write(f'{{"number": {i}}}\\n'.encode() * (100 + 7 * i))
"""


def content(number):
    """What WRITE_MANY writes into file number."""
    return f'{{"number": {number}}}\n'.encode() * (100 + 7 * number)


def assert_all_published(server, mount, count):
    """Each file is exactly one File with its bytes, by the server and by the mount."""
    want = {f"f{i:04}.jsonl": hashlib.md5(content(i)).hexdigest() for i in range(count)}
    files = server.files()
    assert sorted(x["filename"] for x in files) == sorted(want)
    for file in files:
        assert server.content_md5(file["id"])[1] == want[file["filename"]], file
    assert sorted(os.listdir(mount.path("batch"))) == sorted(want)
    wait_until(lambda: pending_parts(server) == [], "no Upload with Parts is left pending")
    for name in want:
        assert xattr(mount.path("batch", name), "status") == "completed", name


def pending_parts(server):
    """
    Parts of pending Uploads. A crash while the reply to a create is under way leaves an
    Upload whose id nobody learnt and the API has no way to ask for: it expires. But
    before a Part is sent the id stands in the record, so none of these has any.
    """
    return [y for x in server.uploads(status="pending") for y in x["parts"]]


def publish_rest(server, count):
    """Waits until all Files are there; has patience while there is progress."""
    done = len(server.files())
    while done < count:
        before = done
        wait_until(lambda: len(server.files()) > before, f"more than {before} Files")
        done = len(server.files())


# 149 completes are answered, 30 are done and not answered, the others wait to be done.
STUCK = [{"op": "complete", "nth": 150, "times": 30, "action": "stall", "when": "after"},
         {"op": "complete", "nth": 180, "times": 0, "action": "stall", "when": "before"}]


def test_500_files_and_a_crash(world, server):
    """
    500 closes, then SIGKILL at once. The mount after it publishes every file once,
    also those whose complete the server had done, or was about to do.
    """
    server.faults(STUCK)
    mount = world.mount(server, close="async", part_size="64K", retry_timeout="20")
    python(WRITE_MANY, mount.path("batch"), FILES)
    mount.kill()
    assert len(server.files()) < 180
    server.faults([])
    mount.remount()
    publish_rest(server, FILES)
    for i in range(FILES):
        path = mount.path("batch", f"f{i:04}.jsonl")
        wait_until(lambda: xattr(path, "status") == "completed", path)
    assert_all_published(server, mount, FILES)
    mount.umount()


def test_crash_with_completes_in_doubt(world, server):
    """The same with 40 files, killed when it is sure that the server has done some unanswered."""
    server.faults([dict(STUCK[0], nth=10, times=10), dict(STUCK[1], nth=20)])
    mount = world.mount(server, close="async", part_size="64K", retry_timeout="20")
    python(WRITE_MANY, mount.path("batch"), 40)
    wait_until(lambda: len(server.files()) == 19, "nine answered, ten unanswered")
    mount.kill()
    server.faults([])
    mount.remount()
    publish_rest(server, 40)
    for i in range(40):
        path = mount.path("batch", f"f{i:04}.jsonl")
        wait_until(lambda: xattr(path, "status") == "completed", path)
    assert_all_published(server, mount, 40)


def test_crash_after_crash(world):
    """Killed again and again while it recovers: every file once, all the same."""
    server = world.server("--latency", "20")
    mount = world.mount(server, close="async", part_size="64K", retry_timeout="20")
    python(WRITE_MANY, mount.path("batch"), 100)
    for goal in (10, 35, 70):
        mount.kill()
        mount.remount()
        wait_until(lambda: len(server.files()) >= goal, f"{goal} Files")
    mount.kill()
    mount.remount()
    publish_rest(server, 100)
    for i in range(100):
        path = mount.path("batch", f"f{i:04}.jsonl")
        wait_until(lambda: xattr(path, "status") == "completed", path)
    assert_all_published(server, mount, 100)


def test_close_does_not_wait(world, server, source):
    """close() returns though the server does not answer; the file is readable meanwhile."""
    mount = world.mount(server, close="async", retry_timeout="20")
    server.faults([{"op": "create", "nth": 1, "times": 0, "action": "stall"}])
    dest = mount.path("batch", "out.jsonl")
    run(["cp", source, dest])
    assert server.journal(op="create") == [] and server.files() == []
    assert xattr(dest, "status") == "publishing"
    run(["cmp", source, dest])
    server.restart()  # ends the stall
    server.faults([])
    wait_until(lambda: xattr(dest, "status") == "completed", "it is published")
    assert_published(server, dest, source)


def test_umount_finishes(world, server):
    """fusermount3 -u right after the closes: the daemon ends when all is published."""
    mount = world.mount(server, close="async", part_size="64K")
    python(WRITE_MANY, mount.path("batch"), 100)
    mount.umount()
    assert len(server.files()) == 100
    mount.remount()
    assert_all_published(server, mount, 100)


@pytest.mark.parametrize("how", ["umount", "SIGTERM", "SIGINT"])
def test_end_with_the_server_gone(world, server, how):
    """In bounded time, with an exit code and a line that say it; nothing is lost."""
    mount = world.mount(server, close="async", part_size="64K", retry_timeout="2",
                        drain_timeout="2")
    mount.may_fail = True
    run(["ls", mount.path("batch")])
    server.kill()
    python(WRITE_MANY, mount.path("batch"), 20)
    if how == "umount":
        mount.umount(codes=NOT_ALL_PUBLISHED)
    else:
        mount.proc.send_signal(getattr(signal, how))
        assert mount.wait() in NOT_ALL_PUBLISHED
    assert "20 file(s) could not be published" in mount.log()
    server.start()
    mount.remount()
    publish_rest(server, 20)
    for i in range(20):
        path = mount.path("batch", f"f{i:04}.jsonl")
        wait_until(lambda: xattr(path, "status") == "completed", path)
    assert_all_published(server, mount, 20)


def test_failure_is_kept(world, server, source):
    """What was refused after close() returned 0 says so where it can be asked."""
    mount = world.mount(server, close="async", retry_timeout="1")
    mount.may_fail = True
    server.faults([{"op": "complete", "nth": 1, "times": 0, "action": "status", "status": 400,
                    "message": "We do not want it"}])
    dest = mount.path("batch", "out.jsonl")
    run(["cp", source, dest])
    wait_until(lambda: xattr(dest, "status") == "failed", "the refusal is known")
    assert "We do not want it" in xattr(dest, "error")
    run(["cmp", source, dest])
    mount.umount(codes=NOT_ALL_PUBLISHED)
    assert "could not be published" in mount.log()
    server.faults([])
    mount.remount()
    assert xattr(dest, "status") == "failed"  # the same mount: it would be refused again
    mount.umount(codes=NOT_ALL_PUBLISHED)
    mount.options["parallel"] = "1"
    mount.remount()
    wait_until(lambda: xattr(dest, "status") == "completed", "other options publish it")
    assert_published(server, dest, source)


def test_unclosed_beside_closed(world, server):
    """A crash with one file closed and one still open: one File, one aborted."""
    mount = world.mount(server, close="async", retry_timeout="20")
    source = make_file(world.path("s"), 2 * MIB + 1)
    fd = os.open(mount.path("batch", "open"), os.O_WRONLY | os.O_CREAT)
    try:
        with open(source, "rb") as f:
            os.write(fd, f.read(MIB))
        os.fsync(fd)
        server.faults([{"op": "complete", "action": "status", "status": 503, "times": 0}])
        run(["cp", source, mount.path("batch", "closed")])
        mount.kill()
        server.faults([])
    finally:
        try:
            os.close(fd)
        except OSError:
            pass  # its daemon is dead
    mount.remount()
    closed, unclosed = mount.path("batch", "closed"), mount.path("batch", "open")
    wait_until(lambda: xattr(closed, "status") == "completed", "the closed one is published")
    assert xattr(unclosed, "status") == "aborted"
    run(["cmp", "-n", str(MIB), source, unclosed])
    assert os.path.getsize(unclosed) == MIB
    assert xattr(closed, "md5") == md5(source)
    assert [(x["filename"], x["bytes"]) for x in server.files()] == [("closed", 2 * MIB + 1)]
    os.setxattr(unclosed, "user.upload.publish", b"1")
    wait_until(lambda: xattr(unclosed, "status") == "completed", "it can be published", DEADLINE)
    assert sorted((x["filename"], x["bytes"]) for x in server.files()) == [
        ("closed", 2 * MIB + 1), ("open", MIB)]
    wait_until(lambda: pending_parts(server) == [], "no Upload with Parts is left pending")


def removal_is_noted(mount):
    return "removed" in [x["state"] for x in records(mount.state)]


def close_dead(fd):
    """Of a file whose daemon is gone."""
    try:
        os.close(fd)
    except OSError:
        pass


def test_removed_then_killed(world, server):
    """rm of a file that streams; the daemon dies before its cancel is answered: the next asks."""
    mount = world.mount(server)
    with contextlib.ExitStack() as stack:
        fd = os.open(mount.path("batch", "gone"), os.O_WRONLY | os.O_CREAT)
        stack.callback(close_dead, fd)
        os.ftruncate(fd, 3 * MIB)
        os.write(fd, b"x" * MIB)
        wait_until(lambda: pending_parts(server), "a Part is there")
        server.faults([{"op": "cancel", "times": 0, "action": "stall", "when": "before"}])
        os.unlink(mount.path("batch", "gone"))
        wait_until(lambda: removal_is_noted(mount), "the record says that it was removed")
        mount.kill()
    assert len(server.uploads(status="pending")) == 1
    server.faults([])
    mount.remount()
    wait_until(lambda: not server.uploads(status="pending"), "the Upload is cancelled")
    wait_until(lambda: data_is_empty(mount.state), "nothing is left of it")
    assert os.listdir(mount.path("batch")) == [] and server.files() == []


def test_removed_in_doubt_then_killed(world, server):
    """rm while complete is under way, which is done, but unanswered: the File goes as well."""
    server.faults([{"op": "complete", "times": 0, "action": "stall", "when": "after"}])
    mount = world.mount(server, close="async")
    path = mount.path("batch", "gone")
    with open(path, "wb") as f:
        f.write(b"x" * 1000)
    wait_until(server.files, "the File is there, and nobody knows")
    os.unlink(path)
    wait_until(lambda: removal_is_noted(mount), "the record says that it was removed")
    mount.kill()
    server.faults([])
    mount.remount()
    wait_until(lambda: not server.files(), "the File is deleted")
    wait_until(lambda: data_is_empty(mount.state), "nothing is left of it")
    assert os.listdir(mount.path("batch")) == []


def test_removed_while_it_becomes_a_file(world, server):
    """What a listing finds of it before the reply to complete came does not show."""
    mount = world.mount(server, close="async", list_ttl="0")
    server.faults([{"op": "complete", "action": "delay", "seconds": 2}])
    path = mount.path("batch", "f")
    with open(path, "wb") as out:
        out.write(b"content")
    wait_until(server.files, "the service has it")
    os.unlink(path)
    assert os.listdir(mount.path("batch")) == [] and not os.path.exists(path)
    wait_until(lambda: not server.files(), "it is deleted")
    assert os.listdir(mount.path("batch")) == []
