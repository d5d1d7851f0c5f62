"""The server goes away: for a while, for good, and over a remount."""
import os
import subprocess

import pytest

from harness import (GIB, MIB, FrozenCopy, assert_nothing_pending, assert_published, is_mounted,
                     make_file, md5, run, staged_data, wait_until, xattr)

NOT_ALL_PUBLISHED = (1,)  # the daemon's exit code when something is left for the next mount
PATIENCE = {"retry_timeout": "100"}
SIZE = 24 * MIB + 777


@pytest.fixture
def big(world):
    return make_file(world.path("big.jsonl"), SIZE)


@pytest.fixture
def stalling(world):
    """A server of which a part is under way whenever it is killed: the 4th takes its time."""
    server = world.server()
    server.faults([{"op": "part", "nth": 4, "times": 0, "action": "stall", "when": "after"}])
    return server


def cp(source, dest):
    return subprocess.Popen(["cp", source, dest], stdin=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, env=dict(os.environ, LC_ALL="C"))


def noticed(mount):
    """The daemon had to give up a request, and means to send it again."""
    return "to be tried again" in mount.log()


def outage_under_cp(server, mount, source, dest, at, back):
    """
    cp is stopped when it has read `at` bytes, the server killed, cp continued.
    The server is back, on the same port and data, while cp writes or while its
    close() waits. cp must not notice.
    """
    copy = FrozenCopy(source, dest, at=at)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        server.kill()
        if back == "in the middle":
            wait_until(lambda: noticed(mount), "the daemon notices")
            server.faults([])
            server.start()
        else:
            copy.resume()
            wait_until(lambda: os.path.getsize(dest) == os.path.getsize(source),
                       "cp has written all it has")
            wait_until(lambda: noticed(mount), "the daemon notices")
            assert xattr(dest, "status") in ("streaming", "publishing", "writing")
            assert copy.proc.poll() is None
            server.faults([])
            server.start()
        code, err = copy.finish(timeout=110)
    finally:
        copy.close()
    assert (code, err) == (0, "")
    assert_published(server, dest, source)
    assert len(server.journal(copy.since, op="complete", status=200)) == 1


@pytest.mark.parametrize("back", ["in the middle", "in close"])
def test_away_for_a_while(world, stalling, back):
    # So large that no cp is too quick to be stopped: it would wait for ever for the parts.
    large = make_file(world.path("large.jsonl"), 160 * MIB + 777)
    mount = world.mount(stalling, **PATIENCE)
    outage_under_cp(stalling, mount, large, mount.path("batch", "out.jsonl"), 8 * MIB, back)


@pytest.mark.plain
@pytest.mark.parametrize("back", ["in the middle", "in close"])
def test_away_under_large_parts(world, back):
    """Parts of the real size: 7 of 64 MiB and 4 of 16."""
    server = world.server()
    server.faults([{"op": "part", "nth": 3, "times": 0, "action": "stall", "when": "during"}])
    mount = world.mount(server, part_size=None, **PATIENCE)
    source = make_file(world.path("large.jsonl"), GIB // 2)
    outage_under_cp(server, mount, source, mount.path("batch", "out.jsonl"), GIB // 4, back)
    assert xattr(mount.path("batch", "out.jsonl"), "parts") == "11/11"


def test_away_with_size_unknown(world, stalling, big):
    """By a pipe: all parts go at the close, in the middle of which the server goes."""
    server = stalling
    mount = world.mount(server, **PATIENCE)
    dest = mount.path("batch", "out.jsonl")
    proc = subprocess.Popen(["bash", "-c", 'cat "$1" | cat > "$2"', "bash", big, dest])
    try:
        wait_until(lambda: server.journal(op="part", status=200), "a part arrives")
        server.kill()
        wait_until(lambda: noticed(mount), "the daemon notices")
        assert proc.poll() is None
        server.faults([])
        server.start()
        assert proc.wait(timeout=110) == 0
    finally:
        proc.kill() if proc.poll() is None else None
        proc.wait()
    assert_published(server, dest, big, parts=25)


@pytest.mark.parametrize("when", ["before", "after"])
def test_away_at_complete(world, server, source, when):
    """Killed with the complete in its hands, done or not: one File either way."""
    mount = world.mount(server, **PATIENCE)
    dest = mount.path("batch", "out.jsonl")
    server.faults([{"op": "complete", "action": "stall", "when": when}])
    proc = cp(source, dest)
    try:
        # The journal tells of finished requests only; that File and Upload stand shows the rest.
        if when == "after":
            wait_until(server.files, "the work of complete is done")
        else:
            wait_until(lambda: xattr_or_none(dest, "parts") == "6/6", "all parts are there")
        assert proc.poll() is None
        server.kill()
        server.faults([])
        wait_until(lambda: noticed(mount), "the daemon notices")
        server.start()
        assert proc.wait(timeout=110) == 0, proc.stderr.read()
    finally:
        proc.kill() if proc.poll() is None else None
        proc.communicate()
    assert_published(server, dest, source)


def xattr_or_none(path, name):
    """Also before cp has made the file."""
    try:
        return xattr(path, name)
    except FileNotFoundError:
        return None


def fails_with_server_gone(server, mount, source, dest):
    """cp, during which the server goes for good: EHOSTUNREACH, the bytes and the reason stay."""
    mount.may_fail = True
    copy = FrozenCopy(source, dest, at=8 * MIB)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        server.kill()
        code, err = copy.finish()  # has a deadline of its own
    finally:
        copy.close()
    assert code == 1 and "No route to host" in err
    assert xattr(dest, "status") == "failed"
    assert xattr(dest, "error")
    assert xattr(dest, "file_id") is None
    run(["cmp", source, dest])


@pytest.fixture
def failed(world, server, big):
    """(mount, path): a file the server was gone for; it still is."""
    mount = world.mount(server, retry_timeout="3", retry_delay="1")
    dest = mount.path("batch", "out.jsonl")
    fails_with_server_gone(server, mount, big, dest)
    return mount, dest


def test_published_by_the_next_mount(failed, server, big):
    """Unmounted with the server down, mounted with it up."""
    mount, dest = failed
    mount.umount(codes=NOT_ALL_PUBLISHED)
    assert "could not be published" in mount.log()
    server.start()
    mount.remount()
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, big)
    assert xattr(dest, "error") is None
    mount.umount()


def test_published_after_a_crash(failed, server, big):
    """The same, but the daemon is killed, not unmounted."""
    mount, dest = failed
    mount.kill()
    server.start()
    mount.remount()
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, big)


def test_remounted_with_the_server_still_down(failed, server, big):
    """The mount comes up without a server, and publishes by itself when there is one."""
    mount, dest = failed
    mount.umount(codes=NOT_ALL_PUBLISHED)
    mark = len(mount.log())
    mount.remount()
    wait_until(lambda: "next try in" in mount.log()[mark:], "a background try fails")
    assert xattr(dest, "status") in ("failed", "publishing")
    run(["cmp", big, dest])
    server.start()
    wait_until(lambda: xattr(dest, "status") == "completed", "the background retry publishes it")
    assert_published(server, dest, big)


def test_background_retry(failed, server, big):
    """No remount, nobody asks: it is published once the server is back."""
    mount, dest = failed
    wait_until(lambda: mount.log().count("next try in") >= 2, "a background try fails, too")
    server.start()
    wait_until(lambda: server.files(), "the File appears")
    wait_until(lambda: xattr(dest, "status") == "completed", "and is known")
    assert_published(server, dest, big)
    mount.umount()


def test_removed_while_it_is_retried(failed, server):
    """rm ends the retries: nothing comes when the server does."""
    mount, dest = failed
    run(["rm", dest])
    assert os.listdir(mount.path("batch")) == []
    server.start()
    other = mount.path("batch", "other")
    run(["cp", "/etc/services", other])
    assert [x["filename"] for x in server.files()] == ["other"]
    assert_nothing_pending(server)
    mount.umount()
    assert staged_data(mount.state) == []


def test_overwritten_while_it_is_retried(failed, server, source):
    """The new version is what is published; the old one never is."""
    _, dest = failed
    server.start()
    run(["cp", source, dest])
    assert_published(server, dest, source)
    assert [x["bytes"] for x in server.files()] == [os.path.getsize(source)]


def test_many_files_over_an_outage(world, server):
    """Ten copies at once: each has its File when the server is back."""
    mount = world.mount(server, **PATIENCE)
    source = make_file(world.path("s"), 3 * MIB + 5)
    server.faults([{"op": "complete", "nth": 3, "times": 0, "action": "stall", "when": "after"}])
    names = [f"f{i}" for i in range(10)]
    procs = [cp(source, mount.path("batch", x)) for x in names]
    try:
        wait_until(lambda: len(server.files()) >= 4, "some are complete")
        server.kill()
        server.faults([])
        wait_until(lambda: noticed(mount), "the daemon notices")
        server.start()
        assert [p.wait(timeout=110) for p in procs] == [0] * len(names)
    finally:
        for proc in procs:
            proc.kill() if proc.poll() is None else None
            proc.communicate()
    assert sorted(x["filename"] for x in server.files()) == names
    want = md5(source)
    for found in server.files():
        assert server.content_md5(found["id"]) == (3 * MIB + 5, want)
    assert {xattr(mount.path("batch", x), "md5") for x in names} == {want}
    assert_nothing_pending(server)
    assert is_mounted(mount.mnt)
