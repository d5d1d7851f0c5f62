"""Copies in the cache that the disk changed: what is published again, and what is read."""
import errno
import hashlib
import os
import sqlite3

import pytest

import harness
from crash import CrashMount, close_quietly
from harness import MIB, cached_data, make_file, run, wait_let_go, wait_until, xattr
from shelf import downloads, put

SIZE = 3 * MIB + 77


def content(path):
    with open(path, "rb") as f:
        return f.read()


def flip(path, at=2 * MIB):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def change_rows(mount, sql):
    """Changes the store of a mount that has ended."""
    db = sqlite3.connect(os.path.join(mount.state, "state.db"))
    with db:
        db.execute(sql)
    db.close()


def published(world, server, purpose="batch", how="written", **options):
    """An ended mount that has a File "f" in its cache; the bytes of it."""
    source = make_file(world.path("source"), SIZE)
    mount = world.mount(server, list_ttl="1", **options)
    path = mount.path(purpose, "f")
    if how == "written":
        run(["cp", source, path])
        wait_let_go(mount, path)
    else:
        put(server, f=source)
        wait_until(lambda: os.path.exists(path), "it is listed")
        run(["cmp", source, path])
    wait_until(lambda: cached_data(mount.state), "it is in the cache")
    mount.umount()
    return mount, content(source)


def cached(mount):
    (path,) = cached_data(mount.state).values()
    return path


def files(server):
    return {x["filename"]: server.content_md5(x["id"])[1] for x in server.files()}


def md5_of(data):
    return hashlib.md5(data).hexdigest()


def rename(mount, data, purpose="batch"):
    os.rename(mount.path(purpose, "f"), mount.path(purpose, "g"))
    return {"g": md5_of(data)}


def append(mount, data, purpose="batch"):
    with open(mount.path(purpose, "f"), "ab") as f:
        f.write(b"more")
    return {"f": md5_of(data + b"more")}


def update(mount, data, purpose="batch"):
    with open(mount.path(purpose, "f"), "r+b") as f:
        f.write(b"new")
    return {"f": md5_of(b"new" + data[3:])}


def shorten(mount, data, purpose="batch"):
    with open(mount.path(purpose, "f"), "r+b") as f:
        f.truncate(SIZE - 5)
    return {"f": md5_of(data[:-5])}


CHANGES = [rename, append, update, shorten]


@pytest.mark.parametrize("how", ["written", "read"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda x: x.__name__)
def test_changed_copy_is_not_published(world, server, change, how):
    """The bytes of the File are fetched; the new File has them, and the old one was not lost."""
    mount, data = published(world, server, how=how)
    flip(cached(mount))
    mount.remount()
    assert files(server) == {"f": md5_of(data)}
    (old,) = [x["id"] for x in server.files()]
    before = len(downloads(server, file_id=old))
    want = change(mount, data)
    assert len(downloads(server, file_id=old)) > before
    wait_until(lambda: files(server) == want, "it is published")
    assert "in the cache" in mount.log() and "was damaged on disk" in mount.log()


@pytest.mark.parametrize("change", [rename, append], ids=lambda x: x.__name__)
def test_whole_copy_is_used(world, server, change):
    mount, data = published(world, server)
    (old,) = [x["id"] for x in server.files()]
    mount.remount()
    want = change(mount, data)
    assert downloads(server, file_id=old) == []
    wait_until(lambda: files(server) == want, "it is published")
    assert "damaged" not in mount.log()


def test_changed_while_it_is_open(world, server):
    """A reader holds the copy: a rename checks it all the same, and the reader is told."""
    mount, data = published(world, server)
    mount.remount()
    with open(mount.path("batch", "f"), "rb", buffering=0) as f:
        assert f.read(10) == data[:10]
        flip(cached(mount))
        assert rename(mount, data) == files(server)
    assert content(mount.path("batch", "g")) == data


def test_pages_of_a_changed_copy(world, server):
    """A refused update finds the damage: the kernel's pages of it are not read again."""
    mount, data = published(world, server)
    mount.may_fail = True
    flip(cached(mount))
    mount.remount()
    path = mount.path("batch", "f")
    assert content(path) != data  # as it is, until somebody looks
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no"}])
    with pytest.raises(OSError):
        rename(mount, data)
    server.faults([])
    assert content(path) == data


@pytest.mark.parametrize("change", CHANGES, ids=lambda x: x.__name__)
def test_no_content_from_the_service(world, server, change):
    """EACCES with the reason; the File, which is good, stays."""
    mount, data = published(world, server, purpose="user_data")
    mount.may_fail = True
    flip(cached(mount))
    mount.remount()
    (before,) = server.files()
    with pytest.raises(OSError) as failed:
        change(mount, data, "user_data")
    assert failed.value.errno == errno.EACCES
    assert "Not allowed to download files of purpose: user_data" in mount.log()
    assert "was damaged on disk" in mount.log()
    assert server.files() == [before]
    assert os.listdir(mount.path("user_data")) == ["f"]
    assert xattr(mount.path("user_data", "f"), "file_id") == before["id"]


@pytest.mark.parametrize("purpose", ["batch", "user_data"])
def test_after_a_power_cut(world, server, purpose):
    """What was not synced under another boot is compared before it is read; once."""
    mount, data = published(world, server, purpose=purpose)
    mount.may_fail = True
    path = mount.path(purpose, "f")
    change_rows(mount, "UPDATE cached SET synced = 0, era = 'another boot'")
    before = len(downloads(server))
    mount.remount()
    assert content(path) == data and len(downloads(server)) == before
    mount.umount()
    change_rows(mount, "UPDATE cached SET synced = 0, era = 'another boot'")
    flip(cached(mount))
    mount.remount()
    if purpose == "batch":
        assert content(path) == data and len(downloads(server)) > before
    else:
        with pytest.raises(PermissionError):
            content(path)
    assert "was damaged on disk" in mount.log()


@pytest.mark.parametrize("sql", ["DELETE FROM cached", "UPDATE cached SET data = '00000000000000ff'",
                                 "UPDATE cached SET bytes = 5"])
def test_rows_that_are_wrong(world, server, sql):
    """Whatever the table says: a File is read as it is."""
    mount, data = published(world, server)
    change_rows(mount, sql)
    mount.remount()
    assert content(mount.path("batch", "f")) == data

    def renamed():
        """The close of a reader does not wait until its content is cached: EXDEV before."""
        try:
            return rename(mount, data)
        except OSError as exc:
            assert exc.errno == errno.EXDEV
            return None

    assert wait_until(renamed, "the content is cached") == files(server)


def test_names_never_change(world, server):
    """The data file of a staged file is that of its cached content."""
    mount = world.mount(server, close="async")
    path = mount.path("batch", "f")
    server.faults([{"op": "complete", "action": "delay", "ms": 1000, "times": 1}])
    run(["cp", make_file(world.path("source"), SIZE), path])
    (staged,) = harness.staged_data(mount.state)
    wait_let_go(mount, path)
    assert cached_data(mount.state) == {xattr(path, "file_id"): staged}


def test_killed_while_it_is_fetched(world, server):
    """What came so far is unlinked by the next mount, not taken for a lost file."""
    source = make_file(world.path("source"), 12 * MIB)
    put(server, f=source)
    server.faults([{"op": "content", "action": "stall", "when": "during", "after_bytes": 2 * MIB}])
    mount = world.mount(server)
    fd = os.open(mount.path("batch", "f"), os.O_RDONLY)
    assert os.read(fd, MIB)
    assert len(harness.arriving_data(mount)) == 1
    mount.kill()
    close_quietly(fd)
    mount.remount()
    assert harness.data_is_empty(mount.state)
    assert not os.path.exists(os.path.join(harness.data_dir(mount.state), "damaged"))
    run(["cmp", source, mount.path("batch", "f")])


def data_without_a_row(state):
    rows = harness.query(state, "SELECT id FROM file UNION ALL SELECT data FROM cached"
                                " UNION ALL SELECT id FROM doomed")
    known = {x["id"] + ".data" for x in rows}
    return [x for x in os.listdir(harness.data_dir(state)) if x.endswith(".data")
            and x not in known]


def killed_at(world, server, at, when, sources):
    """
    A file becomes cached content, other content is fetched and evicts it, while the daemon dies
    at that step. True if it lived.
    """
    mount = world._add(CrashMount, server, at=at, when=when, cache_size="300K", list_ttl="1")
    new = f"new-{when}-{at}"
    try:
        run(["cp", sources["new"], mount.path("batch", new)], check=False)
        for name in ("one", "two", "one"):
            run(["cmp", sources[name], mount.path("batch", name)], check=False)
        if mount.alive():
            run(["fusermount3", "-u", mount.mnt], check=False)
            mount.wait()
        lived = not mount.crashed()
        mount.detach()
        mount.at = None
        mount.start()
        for name in ("one", "two"):
            run(["cmp", sources[name], mount.path("batch", name)])
        path = mount.path("batch", new)
        if os.path.exists(path):
            wait_until(lambda: xattr(path, "status") in ("completed", "aborted", "empty"),
                       "it is published")
        if os.path.exists(path) and xattr(path, "status") == "completed":
            run(["cmp", sources["new"], path])
        assert not os.path.exists(os.path.join(harness.data_dir(mount.state), "damaged"))
        assert "set aside in" not in mount.log() and "was damaged" not in mount.log()
        assert data_without_a_row(mount.state) == []
        run(["fusermount3", "-u", mount.mnt])
        assert mount.wait() == 0
        return lived
    except AssertionError as exc:
        raise AssertionError(f"step {at} {when} {mount.notes('step')}: {exc}") from exc
    finally:
        mount.kill()
        mount.detach()
        world.processes.remove(mount)


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_step(world, server, when):
    """Whatever step the daemon dies at: no data is taken for damaged, and none is left over."""
    sizes = {"new": 100_000, "one": 200_000, "two": 150_000}
    sources = {x: make_file(world.path(x), n) for x, n in sizes.items()}
    put(server, one=sources["one"], two=sources["two"])
    at, lived = 0, False
    while not lived:
        at += 1
        lived = killed_at(world, server, at, when, sources)
        assert at < 200, "the daemon's steps have no end"
    assert at > 15, "the library did not count"
