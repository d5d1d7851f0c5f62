"""Services that are odd or hostile: a 2xx took effect, whatever its body says."""
import errno
import gzip
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from harness import BUILD, run, wait_until, xattr
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


@pytest.mark.no_tsan  # it waits most of the time
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
    # What the user asks for is done, also while a look is under way; what is listed is found.
    del odd.twist["complete"]
    gate = threading.Event()
    odd.twist["list"] = lambda reply, nth: gate.wait(60) and hide(reply, nth)
    try:
        wait_until(lambda: xattr(paths[0], "status") == "publishing", "a look is under way")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(os.setxattr, paths[0], "user.upload.publish", b"1")
            wait_until(lambda: asked.running() or asked.done(), "it is asked for")
            gate.set()
            asked.result()
    finally:
        gate.set()
    assert xattr(paths[0], "status") == "completed"
    assert odd.count("create") == len(paths) + 1
    assert xattr(paths[0], "file_id") == odd.made[-1][0]["id"]
    del odd.twist["list"]
    ids = {x["filename"]: x["id"] for x, _ in odd.made}
    for path in paths[1:]:
        wait_until(lambda: xattr(path, "status") == "completed", "it is found")
        assert xattr(path, "file_id") == ids[os.path.basename(path)]
    assert odd.count("create") == len(paths) + 1 and not odd.deleted
    mount.may_fail = False


@pytest.mark.no_tsan  # it waits most of the time
def test_written_anew_after_unreadable_success(world, odd):
    """New bytes are a new File; a removed file is looked for and leaves nothing here."""
    odd.twist["complete"] = lambda reply, nth: b"fine" if nth < 2 else reply
    odd.twist["list"] = hide
    mount = doubtful(world, odd, drain_timeout="1")
    one, other = mount.path("batch", "one"), mount.path("batch", "other")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fails, [one, other]))
    put(one, b"B" * 1000)
    assert xattr(one, "file_id") == odd.made[2][0]["id"] and odd.made[2][1] == b"B" * 1000
    os.unlink(other)
    assert not os.path.exists(other) and odd.count("complete") == 3
    # The File of the removed one shows: it is deleted. That of the former bytes is nobody's here.
    del odd.twist["list"]
    gone = [x["id"] for x, _ in odd.made if x["filename"] == "other"]
    wait_until(lambda: odd.deleted == gone, "the File of the removed file is deleted", timeout=90)


def looks_only(odd, count):
    looks = odd.count("list")
    wait_until(lambda: odd.count("list") >= looks + count, "they are looked for")
    assert odd.count("complete") == odd.count("create") == count
    assert len(odd.made) == count + 1


def test_lost_reply(world, odd):
    """Complete is sent once more, then the list is walked: a service that repeats it makes two."""
    odd.twist["complete"] = lambda reply, nth: DROP
    mount = doubtful(world, odd, retry_timeout="1")
    fails(mount.path("batch", "f"))
    ops = [op for op, _ in odd.asked]
    assert ops[ops.index("complete"):][:3] == ["complete", "complete", "list"]
    assert len(odd.made) == 2


def test_found_without_its_time(world, odd):
    """A list that does not tell created_at for a while: the File with our MD5 is ours."""
    odd.twist["complete"] = lambda reply, nth: (400, {}, b"{}") if nth else DROP
    odd.twist["list"] = lambda reply, nth: {
        **reply, "data": [{**x, "created_at": None} for x in reply["data"]]}
    whole, done = odd.complete, []

    def once(upload_id, body):
        done.append(upload_id)
        return whole(upload_id, body) if len(done) == 1 else (400, {"error": {"message": "done"}})

    odd.complete = once
    mount = doubtful(world, odd)
    put(mount.path("batch", "f"))
    assert xattr(mount.path("batch", "f"), "file_id") == odd.made[0][0]["id"]
    assert len(odd.made) == 1 and odd.count("create") == 1


@pytest.mark.parametrize("status, cancel", [(400, 200), (404, 404), (410, 400)])
def test_refused_success(world, odd, status, cancel):
    """Complete is done, and answered by a refusal: the list is looked at before anything is sent."""
    odd.twist["complete"] = lambda reply, nth: (status, {}, b'{"error":{"message":"done before"}}')
    odd.twist["cancel"] = lambda reply, nth: reply if cancel == 200 else (
        cancel, {}, b'{"error":{"message":"not pending"}}')
    mount = doubtful(world, odd)
    put(mount.path("batch", "f"))
    assert xattr(mount.path("batch", "f"), "file_id") == odd.made[0][0]["id"]
    assert len(odd.made) == 1 and odd.count("create") == 1 and not odd.deleted


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
        **reply, "file": {**reply["file"], "status": "error",
                          "status_details": f"line 3: no JSON\n{mount.key}"}}
    fails(path, b"B" * 1000)
    assert xattr(path, "file_id") == odd.made[1][0]["id"]
    assert xattr(path, "status") == "failed" and "line 3: no JSON" in xattr(path, "error")
    assert mount.key not in xattr(path, "error") and "\n" not in xattr(path, "error")
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
    before = sorted(os.listdir(mount.path("batch")))
    mount.umount()
    mount.may_fail = False
    mount.remount()
    wait_until(lambda: sorted(os.listdir(mount.path("batch"))) == ["f", "f~" + former, "g", "h"],
               "each File shows by its name")
    with open(mount.path("batch", "g"), "rb") as f:
        assert f.read() == b"G" * 1000
    assert xattr(mount.path("batch", "g"), "file_id") == odd.made[2][0]["id"], before
    assert not odd.deleted and len(odd.made) == 4


def test_unusable_file_of_a_recovered_rename(world, odd):
    """The next mount completes it: both names stay, and each File shows."""
    mount = doubtful(world, odd)
    put(mount.path("batch", "g"), b"G" * 1000)
    asked = threading.Event()
    odd.twist["complete"] = lambda reply, nth: asked.set() or asked.wait(1) and DROP
    with ThreadPoolExecutor(1) as pool:
        moved = pool.submit(os.rename, mount.path("batch", "g"), mount.path("batch", "h"))
        assert asked.wait(60)
        mount.kill()
        assert moved.exception()
    made = [x["id"] for x, _ in odd.made]
    odd.twist["complete"] = lambda reply, nth: {
        **reply, "file": {**reply["file"], "status": "error", "status_details": {"message": "no"}}}
    mount.remount()
    wait_until(lambda: odd.count("complete") > len(made), "complete is repeated")
    wait_until(lambda: len(os.listdir(mount.path("batch"))) == len(odd.made) == 3, "all show")
    assert xattr(mount.path("batch", "g"), "file_id") == made[0] and not odd.deleted


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


def test_list_in_circles(world, odd):
    """A list without an end ends with a warning; entries without an ID are counted in one."""
    for n in range(5):
        odd.add(f"f{n}", b"x")

    def around(reply, nth):
        """Whatever is asked for, the first three, and an entry that nobody can use."""
        files = [x for x, _ in odd.made][:3]
        return {"data": files + [{"filename": "lost"}, 7], "has_more": True,
                "last_id": files[nth % 3]["id"]}

    odd.twist["list"] = around
    mount = world.mount(odd)
    assert sorted(os.listdir(mount.path("batch"))) == ["f0", "f1", "f2"]
    wait_until(lambda: "brings nothing new" in mount.log(), "the warning")
    assert "entries without a usable id: not shown" in mount.log()
    # As far as the same place again, and not for ever.
    assert odd.count("list") < 10
    # An entry shows with what is known of it.
    odd.twist["list"] = lambda reply, nth: {"data": [
        {"id": "a/b", "bytes": 3, "purpose": "batch"}, {"id": "c", "filename": "d", "bytes": 1.5}]}
    odd.add("unnamed", b"abc", id="a/b")
    wait_until(lambda: os.path.exists(mount.path("batch", "a%2Fb")), "it shows", timeout=60)
    assert os.listdir(mount.path("unknown")) == ["d"]
    with open(mount.path("batch", "a%2Fb"), "rb") as f:
        assert f.read() == b"abc"
    assert os.stat(mount.path("unknown", "d")).st_size == 1
    os.unlink(mount.path("batch", "a%2Fb"))
    assert odd.deleted == ["a/b"]


def test_refused_limit(world, odd):
    """A service that takes small pages only."""
    made = [odd.add(f"f{n}", b"x") for n in range(250)]

    def refuse(reply, nth):
        _, path = [x for x in odd.asked if x[0] == "list"][nth]
        if int(path.split("limit=")[1].split("&")[0]) <= 100:
            return reply
        return 400, {}, b'{"error":{"message":"limit: at most 100"}}'

    odd.twist["list"] = refuse
    mount = world.mount(odd)
    assert len(os.listdir(mount.path("batch"))) == len(made)
    # A look for a File in doubt does as well.
    odd.twist["complete"] = lambda reply, nth: b"done"
    put(mount.path("batch", "g"))
    assert odd.count("complete") == 1


@pytest.mark.no_tsan  # it waits most of the time
def test_list_trickles(world, odd):
    """Ten seconds, then what is known: for ls and a new name. status tells how far the first is."""
    for n in range(4):
        odd.add(f"f{n}", b"x")
    gate = threading.Semaphore(0)
    whole = odd.listing

    def page_by_page(query):
        gate.acquire(timeout=120)
        return whole({**query, "limit": "1"})

    odd.listing = page_by_page
    mount = world.mount(odd, list_ttl="1")

    def progress():
        with open(mount.path(".uploadfs", "status"), encoding="utf-8") as f:
            return json.load(f).get("listing")

    with ThreadPoolExecutor(1) as pool:
        names = pool.submit(os.listdir, mount.path("batch"))
        gate.release()
        gate.release()
        wait_until(lambda: (progress() or {}).get("pages") == 2, "two pages came")
        assert progress()["first"] and progress()["files"] == 2
        out = run([os.path.join(BUILD, "uploadfs"), "status", mount.mnt])
        assert "listing the account: 2 Files so far" in out.stdout
        for _ in range(2):
            gate.release()
        assert len(names.result()) == 4
    wait_until(lambda: progress() is None, "the list is whole")
    # From here on a page comes now and then, but never the last.
    stop = threading.Event()

    def trickle():
        while not stop.wait(1):
            odd.add(secrets.token_hex(4), b"x", created_at=1)
            gate.release()

    feeder = threading.Thread(target=trickle)
    feeder.start()
    try:
        # Once the list is old, a fetch is under way that does not end.
        wait_until(lambda: "f0" in os.listdir(mount.path("batch")) and progress() is not None,
                   "the list is old", timeout=60)
        with open(mount.path("batch", "new"), "wb") as f:
            f.write(b"new")
        assert xattr(mount.path("batch", "new"), "file_id")
    finally:
        stop.set()
        feeder.join()
        for _ in range(10000):
            gate.release()


class Flood:
    """A proxy that answers every request for a tunnel with 407, and a body without end."""

    def __init__(self):
        self.stop = threading.Event()
        self.asked = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.flood, args=(peer,), daemon=True).start()

    def flood(self, peer):
        with peer:
            try:
                peer.recv(4096)
                self.asked.set()
                peer.sendall(b"HTTP/1.1 407 Login\r\nTransfer-Encoding: chunked\r\n\r\n")
                while not self.stop.is_set():
                    peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:
                pass

    def close(self):
        self.stop.set()
        self.listener.close()


def test_proxy_floods(world):
    """The network thread is not held: the call fails with the proxy's refusal, SIGTERM ends."""
    flood = Flood()
    try:
        mount = world.mount(SimpleNamespace(url="https://service.invalid/v1"), proxy=flood.url)
        with pytest.raises(OSError) as caught:
            os.listdir(mount.path("batch"))
        assert caught.value.errno == errno.EACCES and flood.asked.is_set()
        os.kill(mount.pid, signal.SIGTERM)
        assert mount.wait() == 0
    finally:
        flood.close()


NO_HTTP = {
    "long header": "HTTP/1.1 200 OK\r\nX-A: " + "x" * 200000,
    "length": "HTTP/1.1 200 OK\r\nContent-Length: what",
    "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
    "version": "HTTP/7.1 200 OK",
}


@pytest.mark.parametrize("kind", NO_HTTP)
def test_no_http(world, odd, kind):
    """A reply that is no HTTP is EIO, and the words are not about the disk."""
    odd.raw["list"] = (NO_HTTP[kind] + "\r\n\r\n{}").encode()
    mount = world.mount(odd, retry_timeout="1")
    with pytest.raises(OSError) as caught:
        os.listdir(mount.path("batch"))
    assert caught.value.errno == errno.EIO
    assert "check the disk" not in mount.log()


def test_removed_while_an_open_waits_for_a_doubt(world, odd):
    """An open that truncates waits for the doubt; a removal ends that wait, not the doubt's hour."""
    odd.twist["list"] = hide
    odd.twist["complete"] = lambda reply, nth: b"OK" if nth == 0 else reply
    mount = doubtful(world, odd)
    path = mount.path("batch", "f")
    with ThreadPoolExecutor(2) as pool:
        writer = pool.submit(run, ["bash", "-c", 'echo x > "$1"', "-", path], check=False)
        wait_until(lambda: odd.count("complete") == 1, "complete is asked")
        opener = subprocess.Popen(["bash", "-c", 'exec 3> "$1"; echo opened; read -r', "-", path],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            wait_until(lambda: "request_wait" in open(f"/proc/{opener.pid}/wchan").read(),
                       "the open waits")
            os.unlink(path)
            assert opener.stdout.readline() == b"opened\n"
        finally:
            opener.kill()
            opener.communicate()
            assert writer.result().returncode == 0
