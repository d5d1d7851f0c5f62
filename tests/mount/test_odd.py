"""Services that are odd or hostile: a 2xx took effect, whatever its body says."""
import errno
import gzip
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import run, wait_until, xattr
from odd import DROP, Odd


@pytest.fixture
def odd():
    service = Odd()
    yield service
    service.close()


def put(path, data=b"A" * 1000):
    with open(path, "wb") as f:
        f.write(data)


def fails(path, data=b"A" * 1000, code=errno.EIO):
    with pytest.raises(OSError) as caught:
        put(path, data)
    assert caught.value.errno == code


def doubtful(world, odd, **options):
    """A mount whose background retries come at once."""
    mount = world.mount(odd, **{"retry_delay": "1", "list_ttl": "1", **options})
    mount.may_fail = True
    return mount


def strange_id(kind):
    """As gateways make them: long, with what has to be escaped in a URL and in a name."""
    return f"{kind}:gw/A+b=?#&%41 " + secrets.token_hex(8) + "\u00fc" * 100 + "x" * 300


def test_strange_ids(world, odd):
    """Ids of Uploads, Parts and Files are any strings: written, listed, read, replaced, removed."""
    odd.new_id = strange_id
    mount = doubtful(world, odd)
    path = mount.path("batch", "f")
    put(path)
    first = odd.made[0][0]["id"]
    assert xattr(path, "file_id") == first and odd.count("complete") == 1
    put(path, b"B" * 1000)
    assert odd.deleted == [first]
    mount.umount()
    mount.may_fail = False
    mount.remount()
    with open(path, "rb") as f:
        assert f.read() == b"B" * 1000
    # An older one of the same name, and one that only its ID tells.
    older = odd.add("f", b"older", created_at=1)
    odd.made.insert(0, odd.made.pop())
    short = odd.add("g", b"short", id="a/b:c%41")
    wait_until(lambda: len(os.listdir(mount.path("batch"))) == 3, "all are listed")
    aside = [x for x in os.listdir(mount.path("batch")) if x.startswith("f~")]
    assert len(aside) == 1 and "file%3Agw%2FA%2Bb" in aside[0]
    assert xattr(mount.path("batch", aside[0]), "file_id") == older["id"]
    with open(mount.path(".by-id", "a%2Fb%3Ac%2541"), "rb") as f:
        assert f.read() == b"short"
    os.unlink(mount.path("batch", "g"))
    os.unlink(mount.path("batch", aside[0]))
    os.unlink(path)
    assert not odd.made and odd.deleted[-3:-1] == [short["id"], older["id"]]
    cached = os.path.join(mount.state, "cache")
    assert not os.path.isdir(cached) or all("/" not in x and len(x) < 256 for x in os.listdir(cached))


@pytest.mark.parametrize("twist", [
    {"bytes": 1000.0, "created_at": 1700000000.75},
    {"created_at": 1700000000123},
    {"bytes": None},
    {"created_at": None, "expires_at": "never", "purpose": None, "filename": None},
    {"object": 7, "status": ["x"], "more": {"a": []}},
])
def test_numbers_and_missing_members(world, odd, twist):
    """What makes no sense in the reply is unknown; the File is ours all the same."""
    def other(reply, nth):
        made = {k: v for k, v in {**reply["file"], **twist}.items() if v is not None}
        return {"id": reply["id"], "status": "completed", "file": made}

    odd.twist["create"] = lambda reply, nth: (201, {}, b'{"id":"%s"}' % reply["id"].encode())
    odd.twist["part"] = lambda reply, nth: {"id": reply["id"]}
    odd.twist["complete"] = other
    mount = world.mount(odd)
    put(mount.path("batch", "f"))
    assert xattr(mount.path("batch", "f"), "file_id") == odd.made[0][0]["id"]
    assert len(odd.made) == 1 and odd.count("complete") == 1


def hide(reply, nth):
    """A list that names nothing."""
    return {"object": "list", "data": [], "has_more": False}


UNREADABLE = [b"", b"OK", b"<html>fine</html>", b"[]", b"null", b'{"id":""}',
              {"status": "completed", "file": {"id": "file-1"}},
              "bytes 0", "long id", "in a coding", "another name", "another purpose", "a known id",
              "cut off"]


def unreadable(odd, reply):
    """The reply to the complete of the file that is called by its place in UNREADABLE."""
    body, made = UNREADABLE[int(reply["filename"])], reply["file"]
    more = {"bytes 0": {"bytes": 0}, "long id": {"id": "x" * 1025},
            "another name": {"filename": "g"}, "another purpose": {"purpose": "evals"},
            "a known id": {"id": odd.made[0][0]["id"]}}
    if body == "in a coding":
        return 200, {"Content-Encoding": "none-of-yours"}, b"{}"
    if body == "cut off":
        return 200, {"Content-Length": "1000", "Connection": "close"}, b'{"id":'
    return {**reply, "file": {**made, **more[body]}} if isinstance(body, str) else body


def test_unreadable_success(world, odd):
    """After a 2xx nothing is sent again by itself: no second complete, Upload or File."""
    theirs = odd.add("theirs", b"T" * 1000)
    mount = doubtful(world, odd)
    assert os.listdir(mount.path("batch")) == ["theirs"]
    odd.twist["complete"] = lambda reply, nth: unreadable(odd, reply)
    odd.twist["list"] = hide
    paths = [mount.path("batch", str(n)) for n in range(len(UNREADABLE))]
    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(fails, paths))
    for path in paths:
        wait_until(lambda: xattr(path, "status") == "failed", "the look is over")
        assert "exists perhaps" in xattr(path, "error"), path
        assert xattr(path, "file_id") is None
    looks_only(odd, len(paths))
    mount.kill()
    mount.remount()
    looks_only(odd, len(paths))
    assert not odd.deleted and odd.made[0][0] == theirs
    # What the user asks for is done, and what is listed is found.
    del odd.twist["complete"]
    os.setxattr(paths[0], "user.upload.publish", b"1")
    assert odd.count("create") == len(paths) + 1
    assert xattr(paths[0], "file_id") == odd.made[-1][0]["id"]
    del odd.twist["list"]
    ids = {x["filename"]: x["id"] for x, _ in odd.made}
    for path in paths[1:]:
        wait_until(lambda: xattr(path, "status") == "completed", "it is found")
        assert xattr(path, "file_id") == ids[os.path.basename(path)]
    assert odd.count("create") == len(paths) + 1 and not odd.deleted
    mount.may_fail = False


def looks_only(odd, count):
    looks = odd.count("list")
    wait_until(lambda: odd.count("list") >= looks + count, "they are looked for")
    assert odd.count("complete") == odd.count("create") == count
    assert len(odd.made) == count + 1


def test_lost_reply(world, odd):
    """Complete is sent once more, then the list is walked: a service that repeats it makes two."""
    odd.twist["complete"] = lambda reply, nth: DROP
    mount = doubtful(world, odd, retry_timeout="1")
    fails(mount.path("batch", "f"), code=errno.EHOSTUNREACH)
    ops = [op for op, _ in odd.asked]
    assert ops[ops.index("complete"):][:3] == ["complete", "complete", "list"]
    assert len(odd.made) == 2


def test_lost_reply_once(world, odd):
    """The repeated complete is answered: close() is 0."""
    odd.twist["complete"] = lambda reply, nth: DROP if not nth else reply
    mount = world.mount(odd)
    put(mount.path("batch", "f"))
    assert xattr(mount.path("batch", "f"), "file_id") == odd.made[-1][0]["id"]


def test_unusable_file(world, odd):
    """A File whose status is error: close() is EIO, the File is kept and named, the former too."""
    mount = doubtful(world, odd)
    path = mount.path("batch", "f")
    put(path)
    odd.twist["complete"] = lambda reply, nth: {
        **reply, "file": {**reply["file"], "status": "error", "status_details": "line 3: no JSON"}}
    fails(path, b"B" * 1000)
    assert xattr(path, "file_id") == odd.made[1][0]["id"]
    assert xattr(path, "status") == "failed" and "line 3: no JSON" in xattr(path, "error")
    assert odd.count("create") == odd.count("complete") == 2 and not odd.deleted
    former = odd.made[0][0]["id"]
    wait_until(lambda: sorted(os.listdir(mount.path("batch"))) == ["f", "f~" + former],
               "the former File shows")
    # A rename whose new File can't be used fails, and both names stay.
    del odd.twist["complete"]
    put(mount.path("batch", "g"), b"G" * 1000)
    odd.twist["complete"] = lambda reply, nth: {
        **reply, "file": {**reply["file"], "status": "error", "status_details": {"message": "no"}}}
    with pytest.raises(OSError) as caught:
        os.rename(mount.path("batch", "g"), mount.path("batch", "h"))
    assert caught.value.errno == errno.EIO
    assert xattr(mount.path("batch", "g"), "file_id") == odd.made[2][0]["id"]
    with open(mount.path("batch", "g"), "rb") as f:
        assert f.read() == b"G" * 1000
    assert not odd.deleted


@pytest.mark.parametrize("status", [200, 201])
def test_created_everywhere(world, odd, status):
    """200 and 201 are one, for each call."""
    for op in ("create", "part", "complete", "cancel", "list", "get", "content", "delete"):
        odd.twist[op] = lambda reply, nth: (
            status, {}, reply if isinstance(reply, bytes) else json.dumps(reply).encode())
    mount = world.mount(odd, cache_size="0")
    path = mount.path("batch", "f")
    put(path)
    with open(path, "rb") as f:
        assert f.read() == b"A" * 1000
    os.unlink(path)
    assert not odd.made


def test_codings(world, odd):
    """JSON in a coding is read; content in one is refused at its first byte."""
    odd.add("f", b"A" * 5000)
    coded = {"Content-Encoding": "gzip"}
    odd.twist["list"] = lambda reply, nth: (200, coded, gzip.compress(json.dumps(reply).encode()))
    odd.twist["content"] = lambda reply, nth: (200, coded, gzip.compress(reply))
    mount = world.mount(odd)
    assert os.listdir(mount.path("batch")) == ["f"]
    out = run(["head", "-c", "2", mount.path("batch", "f")], check=False)
    assert out.returncode != 0 and not out.stdout
    del odd.twist["content"]
    with open(mount.path("batch", "f"), "rb") as f:
        assert f.read() == b"A" * 5000
