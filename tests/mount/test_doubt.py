"""A complete without a usable reply: whose File is it? Never two, never another's, none deleted."""
import errno
import hashlib
import os
import threading
import urllib.error

import pytest

from accounts import post_file
from harness import records, wait_until, xattr

FAILS = [{"op": "complete", "action": "status", "status": 500, "times": 0}]
EMPTY = '{"object":"list","data":[],"has_more":false,"first_id":null,"last_id":null}'


def put_bytes(path, data):
    with open(path, "wb") as f:
        f.write(data)


def doubtful(world, server, *words, **options):
    """A mount that fails soon, whose background retry comes late."""
    mount = world.mount(server, *words, **{"retry_timeout": "1", "retry_delay": "600",
                                           "list_ttl": "1", **options})
    mount.may_fail = True
    return mount


def contents(server):
    """What each File of the account is called, and holds."""
    files = []
    for x in server.files():
        try:
            with server.get(f"/files/{x['id']}/content") as reply:
                files.append((x["filename"], reply.read()))
        except urllib.error.HTTPError as exc:
            # It was deleted since the list was made.
            if exc.code != 404:
                raise
    return sorted(files)


def fails(path, data):
    with pytest.raises(OSError) as caught:
        put_bytes(path, data)
    assert caught.value.errno == errno.EIO


def test_removed_in_doubt_and_copied_again(world, server):
    """A1: what looks for the removed one, also by the next mount, leaves the new File alone."""
    mount = doubtful(world, server)
    path = mount.path("batch", "f")
    server.faults(FAILS)
    fails(path, b"A" * 1000)
    server.faults([])
    os.unlink(path)
    put_bytes(path, b"B" * 1000)
    assert contents(server) == [("f", b"B" * 1000)]
    mount.remount()
    assert os.listdir(mount.path("batch")) == ["f"]
    # The Upload in doubt is cancelled, and the listing walked ten seconds later.
    wait_until(lambda: all(x["status"] != "pending" for x in server.uploads()), "cancelled")
    wait_until(lambda: not records(mount.state), "the doubt is over")
    assert contents(server) == [("f", b"B" * 1000)]
    with open(path, "rb") as f:
        assert f.read() == b"B" * 1000


def test_written_again_in_doubt(world, server):
    """The close waits until "cancelled" is certain, then publishes the new bytes."""
    mount = doubtful(world, server)
    path = mount.path("batch", "f")
    server.faults(FAILS)
    fails(path, b"A" * 1000)
    server.faults([])
    put_bytes(path, b"B" * 1000)
    assert contents(server) == [("f", b"B" * 1000)]


def test_renamed_in_doubt_and_copied_again(world, server):
    """A2: the retry of g takes f for its own neither to adopt nor to delete it."""
    mount = doubtful(world, server, retry_delay="1")
    one, other = mount.path("batch", "f"), mount.path("batch", "g")
    server.faults(FAILS)
    fails(one, b"A" * 1000)
    server.faults([])
    os.rename(one, other)
    put_bytes(one, b"B" * 1000)
    wait_until(lambda: contents(server) == [("f", b"B" * 1000), ("g", b"A" * 1000)], "both")


def test_another_hosts_file(world, server):
    """A3: their File of our name and size is not ours; close() does not say so."""
    mount = doubtful(world, server, retry_timeout="3")
    path = mount.path("batch", "f")
    server.faults(FAILS)
    writer = threading.Thread(target=fails, args=(path, b"MINE" * 250))
    writer.start()
    wait_until(lambda: server.journal(op="complete"), "complete was asked")
    post_file(server, "f", b"HERS" * 250)
    writer.join()
    assert contents(server) == [("f", b"HERS" * 250)]


def test_listing_lags(world, server):
    """A5: the reply is lost, and for a while no listing has the File: one File, and a close of 0."""
    mount = doubtful(world, server, retry_timeout="20", list_ttl="600")
    path = mount.path("batch", "f")
    os.listdir(mount.path("batch"))
    server.faults([{"op": "complete", "nth": 1, "action": "drop"},
                   {"op": "list", "action": "invalid_json", "body": EMPTY, "times": 5}])
    put_bytes(path, b"A" * 1000)
    assert contents(server) == [("f", b"A" * 1000)]


def test_removed_while_listing_lags(world, server):
    """A6: a removed file in doubt is looked for until it is seen, and then deleted."""
    mount = doubtful(world, server, list_ttl="600")
    path = mount.path("batch", "f")
    os.listdir(mount.path("batch"))
    server.faults([{"op": "complete", "action": "drop", "times": 1},
                   {"op": "complete", "nth": 2, "action": "status", "status": 500, "times": 0},
                   {"op": "list", "action": "invalid_json", "body": EMPTY, "times": 8}])
    fails(path, b"A" * 1000)
    assert len(server.files()) == 1
    os.unlink(path)
    wait_until(lambda: server.files() == [], "the File of what was removed is gone", timeout=110)


@pytest.mark.parametrize("purpose", ["batch", "user_data"])
def test_own_overwrites_with_keep_old(world, server, purpose):
    """A4: a version in doubt never takes an earlier one, which stays, for its own."""
    mount = doubtful(world, server, "keep_old")
    path = mount.path(purpose, "f")
    put_bytes(path, b"A" * 1000)
    first = xattr(path, "file_id")
    # Within the same second: nothing but its id tells the first File from the second one.
    server.faults(FAILS)
    fails(path, b"B" * 1000)
    assert [x["id"] for x in server.files()] == [first]
    # The next mount has to know it as well.
    mount.kill()
    server.faults([])
    mount.remount()
    wait_until(lambda: xattr(path, "status") == "completed", "the second is a File", timeout=110)
    second = xattr(path, "file_id")
    put_bytes(path, b"C" * 1000)
    third = xattr(path, "file_id")
    assert len({first, second, third}) == 3
    assert sorted(x["id"] for x in server.files()) == sorted([first, second, third])
    assert xattr(path, "md5") == hashlib.md5(b"C" * 1000, usedforsecurity=False).hexdigest()
    if purpose == "batch":
        assert contents(server) == [("f", x * 1000) for x in (b"A", b"B", b"C")]


def test_another_hosts_file_unreadable(world, server):
    """A3 where no content is handed out: our Upload lived at its cancel, so that theirs is theirs."""
    mount = doubtful(world, server, retry_timeout="3")
    path = mount.path("user_data", "f")
    server.faults(FAILS)
    writer = threading.Thread(target=fails, args=(path, b"MINE" * 250))
    writer.start()
    wait_until(lambda: server.journal(op="complete"), "complete was asked")
    theirs = post_file(server, "f", b"HERS" * 250, purpose="user_data")
    writer.join()
    assert [x["id"] for x in server.files()] == [theirs]
    assert xattr(path, "status") == "failed"
    os.unlink(path)
    wait_until(lambda: not records(mount.state), "the doubt is over", timeout=110)
    assert [x["id"] for x in server.files()] == [theirs]


def test_inferred_bytes_stay(world, server):
    """A File that nobody could compare: its bytes stay here until it is overwritten or removed."""
    mount = doubtful(world, server, retry_timeout="20", cache_size="0")
    path = mount.path("user_data", "f")
    server.faults([{"op": "complete", "nth": 1, "action": "drop"}])
    put_bytes(path, b"A" * 1000)
    first = xattr(path, "file_id")
    assert [x["id"] for x in server.files()] == [first]
    for _ in range(2):
        with open(path, "rb") as f:
            assert f.read() == b"A" * 1000
        assert os.listdir(mount.path("user_data")) == ["f"]
        mount.kill()
        mount.remount()
        wait_until(lambda: xattr(path, "file_id") == first, "it is back")
    put_bytes(path, b"B" * 1000)
    assert [x["id"] for x in server.files()] == [xattr(path, "file_id")] != [first]
    wait_until(lambda: not records(mount.state), "its bytes are not kept any more")
    os.unlink(path)
    assert server.files() == []
