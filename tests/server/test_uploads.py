"""Uploads and Parts: what the documents promise, and what they refuse."""
import concurrent.futures
import hashlib
import re
import time

import pytest

from conftest import MIB, multipart, wait_until


def md5(data):
    return hashlib.md5(data).hexdigest()


def test_create_answers_as_recorded(server):
    before = int(time.time())
    reply = server.create(8, "a.jsonl")
    assert reply.status == 200
    upload = reply.json
    assert set(upload) == {"id", "object", "bytes", "created_at", "filename", "purpose", "status",
                           "expires_at"}
    assert re.fullmatch("upload_[0-9a-f]{32}", upload["id"])
    assert upload["object"] == "upload" and upload["status"] == "pending"
    assert upload["bytes"] == 8 and upload["filename"] == "a.jsonl"
    assert before <= upload["created_at"] <= time.time()
    assert upload["expires_at"] == upload["created_at"] + 3600
    assert re.fullmatch("req_[0-9a-f]{32}", reply.headers["x-request-id"])
    assert reply.headers["Content-Type"] == "application/json"


def test_request_ids_differ(server):
    assert server.create(1).headers["x-request-id"] != server.create(1).headers["x-request-id"]


@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "user_data",
                                     "evals"])
def test_purposes(server, purpose):
    assert server.create(1, purpose=purpose).json["purpose"] == purpose


@pytest.mark.parametrize("change, param", [
    ({"purpose": "batch_output"}, "purpose"),
    ({"purpose": 3}, "purpose"),
    ({"bytes": -1}, "bytes"),
    ({"bytes": 1.5}, "bytes"),
    ({"bytes": "8"}, "bytes"),
    ({"bytes": (8 << 30) + 1}, "bytes"),
    ({"filename": ""}, "filename"),
    ({"filename": "x" * 20000}, "filename"),
    ({"filename": None}, "filename"),
    ({"mime_type": 7}, "mime_type"),
    ({"colour": "red"}, "colour"),
    ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
    ({"expires_after": {"anchor": "created_at", "seconds": 2592001}}, "expires_after.seconds"),
    ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
    ({"expires_after": {"anchor": "created_at", "seconds": 3600, "x": 1}}, "expires_after.x"),
    ({"expires_after": {"seconds": 3600}}, "expires_after.anchor"),
    ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
    ({"expires_after": {"anchor": "created_at", "seconds": "x"}}, "expires_after.seconds"),
    ({"expires_after": {"anchor": 1, "seconds": 3600}}, "expires_after.anchor"),
    ({"expires_after": 3600}, "expires_after"),
])
def test_create_refused(server, change, param):
    body = {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "text/plain", **change}
    reply = server.request("POST", "/uploads", body)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["param"] == param
    assert server.list()["uploads"] == []


@pytest.mark.parametrize("name", ["filename", "purpose", "bytes", "mime_type"])
def test_create_without_a_property(server, name):
    body = {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "text/plain"}
    del body[name]
    reply = server.request("POST", "/uploads", body)
    assert (reply.status, reply.error["param"]) == (400, name)


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"a":1} x', "\xff"])
def test_create_without_json(server, body):
    reply = server.request("POST", "/uploads", body, {"Content-Type": "application/json"})
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"


def test_create_body_is_bounded(server):
    reply = server.request("POST", "/uploads", b"[" + b" " * (MIB + 10) + b"]")
    assert reply.status == 413
    assert reply.error["type"] == "invalid_request_error"


def test_create_bounds_accepted(server):
    assert server.create(8 << 30).status == 200
    assert server.create(0).status == 200
    expiring = server.create(1, expires_after={"anchor": "created_at", "seconds": 3600}).json
    part = server.part(expiring["id"], b"x").json["id"]
    file = server.complete(expiring["id"], [part]).json["file"]
    assert file["expires_at"] == file["created_at"] + 3600


def test_batch_files_expire(server):
    """30 days unless told otherwise, by either way to a File; those of other purposes stay."""
    month = 30 * 86400
    for purpose, lifetime in (("batch", month), ("fine-tune", None), ("assistants", None)):
        form, body = multipart([("purpose", None, purpose.encode()), ("file", "f", b"x")])
        for file in (server.publish(b"x", purpose=purpose),
                     server.request("POST", "/files", body, {"Content-Type": form}).json):
            assert file["expires_at"] == (lifetime and file["created_at"] + lifetime)
            assert server.request("GET", "/files/" + file["id"]).json == file
    told = server.publish(b"x", purpose="batch",
                          expires_after={"anchor": "created_at", "seconds": 7200})
    assert told["expires_at"] == told["created_at"] + 7200


def test_names_are_kept_exactly(server):
    for name in ["a b", "dir/sub/f", "../../etc/passwd", "ü€😀", "q\"uote\\", "tab\tnl\n", "."]:
        file = server.publish(b"x", filename=name)
        assert file["filename"] == name
        assert server.request("GET", f"/files/{file['id']}").json["filename"] == name


def test_complete_answers_as_recorded(server):
    data = b"one\n", b"two\n"
    upload = server.create(8).json
    replies = [server.part(upload["id"], d) for d in data]
    for reply in replies:
        assert reply.status == 200
        part = reply.json
        assert set(part) == {"id", "object", "created_at", "upload_id"}
        assert re.fullmatch("part_[0-9a-f]{32}", part["id"])
        assert part["object"] == "upload.part" and part["upload_id"] == upload["id"]
    done = server.complete(upload["id"], [r.json["id"] for r in replies], md5(b"".join(data)))
    assert done.status == 200
    file = done.json["file"]
    assert {**done.json, "file": None} == {**upload, "status": "completed", "file": None}
    assert re.fullmatch("file-[0-9a-f]{32}", file["id"])
    assert file == {"object": "file", "id": file["id"], "purpose": "fine-tune",
                    "filename": "f.jsonl", "bytes": 8, "created_at": upload["created_at"],
                    "expires_at": None, "status": "processed", "status_details": None}
    assert server.content(file["id"]).body == b"one\ntwo\n"


def test_order_is_that_of_complete(server):
    upload = server.create(9).json["id"]
    a, b, c = (server.part(upload, d).json["id"] for d in (b"aaa", b"bbb", b"ccc"))
    reply = server.complete(upload, [c, a, b], md5(b"cccaaabbb"))
    assert reply.status == 200
    assert server.content(reply.json["file"]["id"]).body == b"cccaaabbb"


def test_unlisted_parts_are_ignored(server):
    upload = server.create(6).json["id"]
    ids = [server.part(upload, d).json["id"] for d in (b"aaa", b"XXXX", b"bbb", b"YYYYY")]
    reply = server.complete(upload, [ids[0], ids[2]], md5(b"aaabbb"))
    assert reply.status == 200
    assert server.content(reply.json["file"]["id"]).body == b"aaabbb"
    # and their bytes are given back
    assert len(list(server.dir.glob("data/*/part_*"))) == 2


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2], [0, 2], [1, 2, 3]])
def test_md5_is_that_of_the_listed_parts(server, order):
    data = [bytes([65 + i]) * (100000 + i) for i in range(4)]
    whole = b"".join(data[i] for i in order)
    upload = server.create(len(whole)).json["id"]
    ids = [server.part(upload, d).json["id"] for d in data]
    listed = [ids[i] for i in order]
    wrong = server.complete(upload, listed, md5(whole + b"x"))
    assert (wrong.status, wrong.error["param"]) == (400, "md5")
    assert wrong.error["type"] == "invalid_request_error"
    right = server.complete(upload, listed, md5(whole).upper())
    assert right.status == 200
    assert server.content(right.json["file"]["id"]).body == whole


def test_a_refused_complete_leaves_the_upload_pending(server):
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json["id"]
    assert server.complete(upload, [part], md5(b"atad")).status == 400
    assert server.request("GET", "/files").json["data"] == []
    assert server.cancel(upload).json["status"] == "cancelled"


@pytest.mark.parametrize("size", [3, 5])
def test_byte_count_must_match(server, size):
    upload = server.create(size).json["id"]
    part = server.part(upload, b"data").json["id"]
    reply = server.complete(upload, [part])
    assert reply.status == 400
    assert "4" in reply.error["message"] and str(size) in reply.error["message"]


def test_a_part_listed_twice_is_refused(server):
    upload = server.create(8).json["id"]
    part = server.part(upload, b"data").json["id"]
    reply = server.complete(upload, [part, part])
    assert (reply.status, reply.error["param"]) == (400, "part_ids")


def test_an_unknown_part_is_refused(server):
    upload, other = server.create(4).json["id"], server.create(4).json["id"]
    foreign = server.part(other, b"data").json["id"]
    for part in (foreign, "part_" + "0" * 32, "../../lock", ""):
        reply = server.complete(upload, [part])
        assert (reply.status, reply.error["param"]) == (400, "part_ids")


@pytest.mark.parametrize("body", [{}, {"part_ids": "x"}, {"part_ids": [1]}, {"part_ids": []},
                                  {"part_ids": ["part_x"], "md5": 1}, {"part_ids": [], "x": 1},
                                  {"part_ids": ["part_x"], "md5": "abc"},
                                  {"part_ids": [f"part_{i}" for i in range(20000)]}])
def test_complete_body_refused(server, body):
    upload = server.create(0).json["id"]
    reply = server.request("POST", f"/uploads/{upload}/complete", body)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert server.cancel(upload).status == 200


@pytest.mark.parametrize("form", [
    "part_ids={0}&part_ids={1}&md5={md5}",
    "part_ids[]={0}&part_ids[]={1}&md5={md5}",
    "part_ids%5B%5D={0}&part_ids%5B%5D={1}",
    "md5={md5}&part_ids={0},{1}",
    "part_ids={0}%2C{1}",
])
def test_form_encoded_complete(server, form):
    upload = server.create(8).json["id"]
    a, b = (server.part(upload, d).json["id"] for d in (b"one\n", b"two\n"))
    body = form.format(a, b, md5=md5(b"one\ntwo\n"))
    reply = server.request("POST", f"/uploads/{upload}/complete", body,
                           {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    assert reply.status == 200, reply.body
    assert server.content(reply.json["file"]["id"]).body == b"one\ntwo\n"


@pytest.mark.parametrize("form", ["", "part_ids=%", "part_ids=%00", "md5=x", "x=1",
                                  "part_ids=a&md5=" + "0" * 31])
def test_form_encoded_complete_refused(server, form):
    upload = server.create(8).json["id"]
    reply = server.request("POST", f"/uploads/{upload}/complete", form,
                           {"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"


def test_complete_names_the_bad_id(server):
    upload = server.create(0).json["id"]
    body = {"part_ids": ["part_x", "part_y", 7]}
    reply = server.request("POST", f"/uploads/{upload}/complete", body)
    assert (reply.status, reply.error["param"]) == (400, "part_ids[2]")


def test_complete_as_json_under_the_type_of_a_form(server):
    """What `curl -d` sends without a header, as in the service's own examples."""
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json["id"]
    reply = server.request("POST", f"/uploads/{upload}/complete",
                           f' {{"part_ids": ["{part}"]}}\n',
                           {"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status == 200, reply.body


def test_after_the_end_everything_is_refused(server):
    done, gone = server.create(4).json["id"], server.create(4).json["id"]
    part = server.part(done, b"data").json["id"]
    assert server.complete(done, [part]).status == 200
    assert server.cancel(gone).status == 200
    for upload in (done, gone):
        for reply in (server.part(upload, b"data"), server.complete(upload, [part]),
                      server.cancel(upload)):
            assert reply.status == 400
            assert reply.error["type"] == "invalid_request_error"
    assert len(server.request("GET", "/files").json["data"]) == 1
    assert server.cancel(done).status == 400
    assert len(list(server.dir.glob("data/*"))) == 1


def test_unknown_upload(server):
    for name in ("upload_" + "0" * 32, "x", "..%2f..%2flock", "a" * 300):
        for reply in (server.part(name, b"x"), server.complete(name, ["a"]), server.cancel(name)):
            assert reply.status == 404
            assert reply.error["type"] == "invalid_request_error"


def test_expiry(make_server):
    server = make_server("--upload-ttl", "1")
    upload = server.create(4).json
    assert upload["expires_at"] == upload["created_at"] + 1
    part = server.part(upload["id"], b"data")
    wait_until(lambda: server.list()["uploads"][0]["status"] == "expired", "expiry on disk")
    for reply in (server.part(upload["id"], b"data"), server.cancel(upload["id"]),
                  server.complete(upload["id"], [part.json["id"] if part.status == 200 else "x"])):
        assert reply.status == 400
        assert "expired" in reply.error["message"]
    wait_until(lambda: not list(server.dir.glob("data/*")), "the Parts' bytes given back")


def test_expiry_while_a_part_arrives(make_server):
    server = make_server("--upload-ttl", "1")
    upload = server.create(4).json["id"]
    kind, body = multipart([("data", "x", b"data")])
    with server.socket() as sock:
        sock.sendall((f"POST /v1/uploads/{upload}/parts HTTP/1.1\r\nHost: localhost\r\n"
                      f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n").encode())
        sock.sendall(body[:-20])
        wait_until(lambda: server.list()["uploads"][0]["status"] == "expired", "expiry")
        sock.sendall(body[-20:])
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"expired" in answer


# ---- the body of a part ----

@pytest.mark.parametrize("filename", ["part", None, "a;b", ""])
@pytest.mark.parametrize("quote", [False, True])
def test_data_field(server, filename, quote):
    upload = server.create(4).json["id"]
    reply = server.part(upload, b"data", filename, quote=quote)
    assert reply.status == 200, reply.body
    assert server.complete(upload, [reply.json["id"]], md5(b"data")).status == 200


def test_quoted_boundary_with_special_characters(server):
    upload = server.create(4).json["id"]
    kind, body = multipart([("data", "x", b"data")], boundary="a:b;c=d e/f?'()+_,-.", quote=True)
    reply = server.request("POST", f"/uploads/{upload}/parts", body,
                           {"Content-Type": kind + "; charset=utf-8"})
    assert reply.status == 200, reply.body
    assert server.complete(upload, [reply.json["id"]], md5(b"data")).status == 200


def tricky(boundary):
    """Data that looks like the delimiter, almost."""
    delimiter = b"\r\n--" + boundary.encode()
    yield b"\r\n"
    yield b"\r" * 1000
    yield delimiter[:-1]
    yield delimiter[:-1] + b"\r\n"
    yield delimiter[1:]
    yield b"".join(delimiter[:i] for i in range(len(delimiter))) * 50
    yield b"\r\n\r\n--" + b"\r\n-" * 4000
    yield bytes(range(256)) * 2000


@pytest.mark.parametrize("number", range(8))
def test_data_that_looks_like_the_boundary(server, number):
    boundary = "bound7"
    data = list(tricky(boundary))[number]
    upload = server.create(len(data)).json["id"]
    reply = server.part(upload, data, boundary=boundary)
    assert reply.status == 200, reply.body
    done = server.complete(upload, [reply.json["id"]], md5(data))
    assert done.status == 200, done.body
    assert server.content(done.json["file"]["id"]).body == data


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50])
def test_body_in_small_pieces(server, step):
    boundary = "bnd"
    data = b"a\r\n--bn\r\n--b\r\r\n\r\n--bnX"[:-1].replace(b"--bn\0", b"") + b"\r\n-"
    data = data.replace(b"\r\n--bnd", b"")
    kind, body = multipart([("data", "x", data)], boundary=boundary)
    body = b"preamble\r\n" + body + b"epilogue"
    upload = server.create(len(data)).json["id"]
    with server.socket() as sock:
        sock.sendall((f"POST /v1/uploads/{upload}/parts HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                      f"{kind}\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        for i in range(0, len(body), step):
            piece = body[i:i + step]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        answer = b""
        while b"}" not in answer:
            answer += sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    part = re.search(rb"part_[0-9a-f]{32}", answer).group().decode()
    assert server.complete(upload, [part], md5(data)).status == 200


def bad_bodies():
    kind, body = multipart([("data", "x", b"data")], boundary="bnd")
    yield "application/json", b"{}", 400
    yield "multipart/form-data", body, 400
    yield "multipart/form-data; boundary=", body, 400
    yield "multipart/form-data; boundary=\"bnd", body, 400
    yield "multipart/form-data; boundary=" + "x" * 300, body, 400
    yield kind, b"", 400
    yield kind, body[:-8], 400
    yield kind, body.replace(b"--bnd--", b"--bnd-x"), 400
    yield kind, body.replace(b'name="data"', b'name="date"'), 400
    yield kind, body.replace(b'name="data"; ', b""), 400
    yield kind, body.replace(b'name="data"', b'name="data'), 400
    yield kind, body.replace(b"\r\n\r\ndata", b"\r\n" + b"X: y\r\n" * 9000 + b"\r\ndata"), 400
    yield multipart([("data", "x", b"")]) + (400,)
    yield multipart([("data", "x", b"a"), ("data", "x", b"b")]) + (400,)
    yield multipart([("other", None, b"x"), ("data", "x", b"data")]) + (400,)
    yield multipart([("data", "x", b"data"), ("other", "y", b"x")]) + (400,)


@pytest.mark.parametrize("number", range(16))
def test_part_body_refused(server, number):
    kind, body, status = list(bad_bodies())[number]
    upload = server.create(4).json["id"]
    reply = server.request("POST", f"/uploads/{upload}/parts", body, {"Content-Type": kind})
    assert reply.status == status
    assert reply.error["type"] == "invalid_request_error"
    wait_until(lambda: not list(server.dir.glob("data/*/*")), "its bytes removed")
    assert server.part(upload, b"data").status == 200


def test_largest_part_and_one_byte_more(server):
    upload = server.create(64 * MIB).json["id"]
    block = bytes(64 * MIB)
    reply = server.part(upload, block)
    assert reply.status == 200
    over = server.part(upload, block + b"x")
    assert over.status == 413
    assert over.error["type"] == "invalid_request_error"
    assert server.complete(upload, [reply.json["id"]], md5(block)).status == 200


def test_refused_before_the_body_is_sent(server):
    """A client that sends Expect: 100-continue is spared a body nobody wants."""
    with server.socket() as sock:
        sock.sendall(b"POST /v1/uploads/upload_x/parts HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Type: multipart/form-data; boundary=b\r\n"
                     b"Expect: 100-continue\r\nContent-Length: 60000000\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_an_abandoned_part_leaves_nothing(server):
    upload = server.create(4).json["id"]
    with server.socket() as sock:
        sock.sendall(f"POST /v1/uploads/{upload}/parts HTTP/1.1\r\nHost: localhost\r\n"
                     "Content-Type: multipart/form-data; boundary=b\r\n"
                     "Content-Length: 60000\r\n\r\n--b\r\nContent-Disposition: form-data; "
                     "name=data\r\n\r\nsome".encode())
        wait_until(lambda: list(server.dir.glob("data/*/*.tmp")), "the Part on its way")
    wait_until(lambda: not list(server.dir.glob("data/*/*")), "the rest of it removed")
    wait_until(lambda: [e for e in server.journal("part") if e["status"] == 0], "journal")


# ---- at the same time ----

def test_parts_in_parallel(server):
    data = [bytes([i]) * MIB for i in range(16)]
    whole = b"".join(data)
    upload = server.create(len(whole)).json["id"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda d: server.part(upload, d).json["id"], data))
    assert len(set(ids)) == 16
    reply = server.complete(upload, ids, md5(whole))
    assert reply.status == 200
    assert server.content(reply.json["file"]["id"]).body == whole


def test_only_one_of_many_completes_wins(server):
    upload = server.create(4 * MIB).json["id"]
    part = server.part(upload, bytes(4 * MIB)).json["id"]
    digest = md5(bytes(4 * MIB))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.complete(upload, [part], digest).status,
                                range(8)))
    assert sorted(replies) == [200] + [400] * 7
    assert len(server.request("GET", "/files").json["data"]) == 1


def test_complete_against_cancel(server):
    for _ in range(10):
        upload = server.create(4).json["id"]
        part = server.part(upload, b"data").json["id"]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            done = pool.submit(server.complete, upload, [part], md5(b"data"))
            gone = pool.submit(server.cancel, upload)
            assert sorted([done.result().status, gone.result().status]) == [200, 400]
    completed = [u for u in server.list()["uploads"] if u["status"] == "completed"]
    assert len(server.request("GET", "/files").json["data"]) == len(completed)
