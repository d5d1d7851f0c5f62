"""Files: listing, get, delete, content, and POST /files."""
import contextlib
import hashlib
import time

import pytest

from conftest import MIB, multipart, wait_until


def names(reply):
    return [f["filename"] for f in reply.json["data"]]


def listing(server, **query):
    text = "&".join(f"{k}={v}" for k, v in query.items())
    return server.request("GET", "/files" + ("?" + text if text else ""))


def post(server, *fields):
    kind, body = multipart(fields)
    return server.request("POST", "/files", body, {"Content-Type": kind})


def test_empty_list(server):
    assert listing(server).json == {"object": "list", "data": [], "first_id": None,
                                    "last_id": None, "has_more": False}


def test_list_order_and_filter(server):
    for i in range(5):
        server.publish(b"x", filename=str(i), purpose="batch" if i % 2 else "fine-tune")
    assert names(listing(server)) == ["4", "3", "2", "1", "0"]
    assert names(listing(server, order="desc")) == ["4", "3", "2", "1", "0"]
    assert names(listing(server, order="asc")) == ["0", "1", "2", "3", "4"]
    assert names(listing(server, purpose="batch")) == ["3", "1"]
    assert names(listing(server, purpose="vision")) == []
    reply = listing(server).json
    assert reply["first_id"] == reply["data"][0]["id"]
    assert reply["last_id"] == reply["data"][-1]["id"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("purpose", [None, "batch"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_paging(server, order, purpose, limit):
    for i in range(7):
        server.publish(b"x", filename="same", purpose="batch" if i % 3 else "fine-tune")
    query = {"order": order, **({"purpose": purpose} if purpose else {})}
    want = [f["id"] for f in listing(server, **query).json["data"]]
    got, after = [], {}
    while True:
        page = listing(server, limit=limit, **query, **after).json
        got += [f["id"] for f in page["data"]]
        assert len(page["data"]) <= limit
        if not page["has_more"]:
            break
        assert len(page["data"]) == limit
        after = {"after": page["last_id"]}
    assert got == want


def test_paging_survives_changes(server):
    files = [server.publish(b"x", filename=str(i)) for i in range(9)]
    page = listing(server, limit=4).json
    server.publish(b"x", filename="new")
    server.request("DELETE", f"/files/{files[8]['id']}")
    server.request("DELETE", f"/files/{files[2]['id']}")
    rest = listing(server, after=page["last_id"]).json
    assert [f["filename"] for f in page["data"]] == ["8", "7", "6", "5"]
    assert [f["filename"] for f in rest["data"]] == ["4", "3", "1", "0"]


@pytest.mark.parametrize("query, param", [
    ({"limit": 0}, "limit"), ({"limit": 10001}, "limit"), ({"limit": "x"}, "limit"),
    ({"limit": ""}, "limit"), ({"limit": "-1"}, "limit"), ({"order": "up"}, "order"),
])
def test_list_refused(server, query, param):
    reply = listing(server, **query)
    assert (reply.status, reply.error["param"]) == (400, param)


def test_list_after_an_unknown_file(server):
    reply = listing(server, after="file-nope")
    assert (reply.status, reply.error["param"]) == (404, "after")


@pytest.mark.plain
def test_a_hundred_thousand_files(make_server):
    """Made on disk, so that the test is about the listing."""
    server = make_server(start=False)
    total = 100000
    for name in ("", "uploads", "files", "data"):
        (server.dir / name).mkdir(parents=True, exist_ok=True)
    for i in range(total):
        name = f"file-{i:032x}"
        with open(f"{server.dir}/files/{name}.json", "w", encoding="ascii") as out:
            out.write(f'{{"id":"{name}","data":"{name}","upload_id":"","filename":"n{i}",'
                      f'"purpose":"batch","bytes":0,"created_at":{1700000000 + i // 1000},'
                      f'"expires_at":0,"seq":{i},"parts":[]}}')
    server.start()
    seen, after, pages = [], "", 0
    with contextlib.closing(server.connect()) as connection:
        while True:
            path = "/files" + (f"?after={after}" if after else "")
            page = server.request("GET", path, connection=connection).json
            seen += [f["filename"] for f in page["data"]]
            pages += 1
            if not page["has_more"]:
                break
            after = page["last_id"]
        assert pages == 10
        assert seen == [f"n{i}" for i in reversed(range(total))]
        # A short page costs little, wherever it begins: 200 of them in a row.
        for i in range(200):
            at = total - 1 - i * 499
            page = server.request("GET", f"/files?limit=1&after=file-{at:032x}",
                                  connection=connection).json
            assert page["data"][0]["filename"] == f"n{at - 1}"


def test_get(server):
    file = server.publish(b"data")
    assert server.request("GET", f"/files/{file['id']}").json == file


def test_unknown_file(server):
    for name in ("file-" + "0" * 32, "x", "..%2f..%2flock", "a" * 300):
        for reply in (server.request("GET", f"/files/{name}"), server.content(name),
                      server.request("DELETE", f"/files/{name}")):
            assert reply.status == 404
            assert reply.error["type"] == "invalid_request_error"


def test_delete(server):
    keep, gone = server.publish(b"keep"), server.publish(b"gone", b"gone")
    reply = server.request("DELETE", f"/files/{gone['id']}")
    assert reply.status == 200
    assert reply.json == {"object": "file", "deleted": True, "id": gone["id"]}
    assert server.request("GET", f"/files/{gone['id']}").status == 404
    assert server.request("DELETE", f"/files/{gone['id']}").status == 404
    assert [f["id"] for f in listing(server).json["data"]] == [keep["id"]]
    assert len(list(server.dir.glob("data/*"))) == 1
    assert server.content(keep["id"]).body == b"keep"


def test_delete_during_a_download(server):
    data = bytes(range(256)) * 4096 * 24
    third = len(data) // 3
    file = server.publish(data[:third], data[third:2 * third], data[2 * third:])
    connection = server.connect()
    try:
        connection.request("GET", f"/v1/files/{file['id']}/content")
        response = connection.getresponse()
        start = response.read(1000)
        assert server.request("DELETE", f"/files/{file['id']}").status == 200
        assert server.request("GET", f"/files/{file['id']}").status == 404
        assert start + response.read() == data
    finally:
        connection.close()
    wait_until(lambda: not list(server.dir.glob("data/*")), "the data removed at its end")


# ---- content ----

DATA = bytes(range(256)) * 40


@pytest.fixture
def file(server):
    return server.publish(DATA[:1000], DATA[1000:1001], DATA[1001:])["id"]


def test_content(server, file):
    reply = server.content(file)
    assert reply.status == 200 and reply.body == DATA
    assert reply.headers["Content-Length"] == str(len(DATA))
    assert reply.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("text, start, end", [
    ("0-0", 0, 1), ("0-", 0, None), ("999-1001", 999, 1002), ("1000-1000", 1000, 1001),
    ("5-99999999999", 5, None), ("-1", -1, None), ("-3000", -3000, None),
    ("-99999999", 0, None), ("10239-", 10239, None), ("1-99999999999999999999", 1, None),
])
def test_range(server, file, text, start, end):
    reply = server.content(file, {"Range": f"bytes={text}"})
    assert reply.status == 206
    assert reply.body == DATA[start:end]
    first = start if start >= 0 else len(DATA) + start
    assert reply.headers["Content-Range"] == \
        f"bytes {first}-{first + len(reply.body) - 1}/{len(DATA)}"


@pytest.mark.parametrize("text", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_range_outside(server, file, text):
    reply = server.content(file, {"Range": text})
    assert reply.status == 416
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("text", ["bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "lines=0-1",
                                  "bytes=0-1,5-6", "0-1", "bytes= 0-1", "bytes=0-1x"])
def test_range_ignored(server, file, text):
    reply = server.content(file, {"Range": text})
    assert reply.status == 200 and reply.body == DATA


@pytest.mark.parametrize("purpose", ["assistants", "user_data", "evals"])
def test_content_refused(server, purpose):
    file = server.publish(b"data", purpose=purpose)
    reply = server.content(file["id"])
    assert reply.status == 400
    assert reply.error["message"] == f"Not allowed to download files of purpose: {purpose}"


@pytest.mark.parametrize("purpose", ["batch", "fine-tune", "vision"])
def test_content_allowed(server, purpose):
    assert server.content(server.publish(b"data", purpose=purpose)["id"]).body == b"data"


# ---- POST /files ----

def test_post_file(server):
    before = int(time.time())
    reply = post(server, ("purpose", None, b"batch"), ("file", "dir/ü.jsonl", b"content\r\n"))
    assert reply.status == 200, reply.body
    file = reply.json
    assert file["filename"] == "dir/ü.jsonl" and file["bytes"] == 9
    assert file["purpose"] == "batch" and before <= file["created_at"] <= time.time()
    assert listing(server).json["data"] == [file]
    assert server.content(file["id"]).body == b"content\r\n"
    assert server.request("DELETE", f"/files/{file['id']}").status == 200
    assert not list(server.dir.glob("data/*"))


def test_post_file_fields_in_any_order_and_expiry(server):
    reply = post(server, ("file", "a", b"x"), ("expires_after[seconds]", None, b"7200"),
                 ("purpose", None, b"vision"), ("expires_after[anchor]", None, b"created_at"))
    assert reply.status == 200, reply.body
    assert reply.json["expires_at"] == reply.json["created_at"] + 7200


def test_post_file_with_expiry_as_json(server):
    reply = post(server, ("expires_after", None, b'{"seconds": 7200, "anchor": "created_at"}'),
                 ("purpose", None, b"batch"), ("file", "a", b"x"))
    assert reply.status == 200, reply.body
    assert reply.json["expires_at"] == reply.json["created_at"] + 7200


@pytest.mark.parametrize("fields, param", [
    ([("expires_after", b'{"anchor": "created_at", "seconds": 3599}')], "expires_after.seconds"),
    ([("expires_after", b'{"anchor": "created_at", "seconds": "7200"}')], "expires_after.seconds"),
    ([("expires_after", b'{"anchor": "created_at"}')], "expires_after.seconds"),
    ([("expires_after", b'{"seconds": 7200}')], "expires_after.anchor"),
    ([("expires_after", b'{"anchor": "now", "seconds": 7200}')], "expires_after.anchor"),
    ([("expires_after", b'{"anchor": "created_at", "seconds": 7200, "a": 1}')], "expires_after.a"),
    ([("expires_after", b"7200")], "expires_after"),
    ([("expires_after", b"{")], "expires_after"),
    ([("expires_after", b"")], "expires_after"),
    ([("expires_after", b'{"anchor": "created_at", "seconds": 7200}'),
      ("expires_after[seconds]", b"7200")], "expires_after"),
    ([("expires_after[seconds]", b"7200")], "expires_after.anchor"),
    ([("expires_after[anchor]", b"created_at")], "expires_after.seconds"),
    ([("expires_after[anchor]", b"created_at"), ("expires_after[seconds]", b"2592001")],
     "expires_after.seconds"),
    ([("expires_after[anchor]", b"created_at"), ("expires_after[seconds]", b"1e4")],
     "expires_after.seconds"),
    ([("expires_after[color]", b"red")], "expires_after[color]"),
])
def test_post_file_expiry_refused(server, fields, param):
    """The parameter is named by its whole path, whatever form it came in."""
    reply = post(server, ("purpose", None, b"batch"), ("file", "a", b"x"),
                 *[(name, None, value) for name, value in fields])
    assert (reply.status, reply.error["param"]) == (400, param)
    assert listing(server).json["data"] == []


@pytest.mark.parametrize("fields", [
    [("file", "a", b"x")],
    [("purpose", None, b"batch")],
    [("purpose", None, b"nonsense"), ("file", "a", b"x")],
    [("purpose", None, b"batch"), ("file", None, b"x")],
    [("purpose", None, b"batch"), ("file", "", b"x")],
    [("purpose", None, b"batch"), ("file", "a", b"x"), ("file", "b", b"y")],
    [("purpose", None, b"batch"), ("file", "a", b"x"), ("colour", None, b"red")],
    [("purpose", None, b"x" * 5000), ("file", "a", b"x")],
    [("purpose", None, b"batch"), ("file", "a", b"x"), ("expires_after[seconds]", None, b"7200")],
])
def test_post_file_refused(server, fields):
    reply = post(server, *fields)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert listing(server).json["data"] == []
    wait_until(lambda: not list(server.dir.glob("data/*")), "its bytes removed")


def test_post_file_larger_than_allowed(server):
    """Sent in pieces, so that the test needs no 512 MiB itself."""
    boundary = b"bnd"
    head = (b"--bnd\r\nContent-Disposition: form-data; name=purpose\r\n\r\nbatch\r\n--bnd\r\n"
            b'Content-Disposition: form-data; name="file"; filename="big"\r\n\r\n')
    tail = b"\r\n--" + boundary + b"--\r\n"
    block = bytes(4 * MIB)
    length = len(head) + 512 * MIB + 1 + len(tail)
    connection = server.connect()
    try:
        connection.putrequest("POST", "/v1/files")
        connection.putheader("Content-Type", "multipart/form-data; boundary=bnd")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        connection.send(head)
        for _ in range(128):
            connection.send(block)
        connection.send(b"x" + tail)
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    wait_until(lambda: not list(server.dir.glob("data/*")), "its bytes removed")


def test_md5_of_a_download(server):
    """Larger than any buffer on the way."""
    data = hashlib.shake_128(b"seed").digest(9 * MIB)
    file = server.publish(data[:4 * MIB], data[4 * MIB:])
    assert server.content(file["id"]).body == data
