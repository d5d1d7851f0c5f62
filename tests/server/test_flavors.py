"""--flavor: the services beside OpenAI's that the server can play."""
import hashlib

import pytest

from conftest import MIB, multipart

KEY = "sk-test-0123456789abcdef"


def azure_error(reply):
    error = reply.json["error"]
    assert set(error) == {"code", "message"}
    return error


@pytest.fixture
def azure(make_server):
    return make_server("--flavor", "azure", key=KEY)


def test_azure_paths_and_key(azure):
    """Both forms of path; the key in api-key; no version, no dated path."""
    good = {"api-key": KEY}
    assert azure.prefix == "/openai/v1"
    assert azure.request("GET", "/files", headers=good).status == 200
    assert azure.request("GET", "/files?api-version=preview", headers=good).status == 200
    assert azure.request("GET", "/files", headers={"Authorization": f"Bearer {KEY}"}).status == 200
    for headers in ({"api-key": KEY + "x"}, {"api-key": ""}, {"Authorization": "Bearer x"}):
        reply = azure.request("GET", "/files", headers=headers)
        assert reply.status == 401 and azure_error(reply)["code"] == "401"
    azure.prefix = "/openai"
    dated = "?api-version=2024-10-21"
    assert azure.request("GET", "/files" + dated, headers=good).status == 200
    for path, headers, status in (("/files", good, 404), ("/files?api-version=", good, 404),
                                  ("/nothing" + dated, good, 404),
                                  ("/files" + dated, {"Authorization": f"Bearer {KEY}"}, 401)):
        reply = azure.request("GET", path, headers=headers)
        assert reply.status == status
        azure_error(reply)
    azure.prefix = "/v1"
    assert azure.request("GET", "/files", headers=good).status == 404


def test_azure_makes_with_201(azure):
    """201 for what is made; the File of a complete has no byte count yet."""
    data = b"{}\n" * 1000
    upload = azure.create(len(data))
    assert upload.status == 201
    part = azure.part(upload.json["id"], data)
    assert part.status == 201
    done = azure.complete(upload.json["id"], [part.json["id"]], hashlib.md5(data).hexdigest())
    assert done.status == 201 and done.json["status"] == "completed"
    assert done.json["file"]["bytes"] is None and done.json["file"]["status"] == "pending"
    shown = azure.request("GET", "/files/" + done.json["file"]["id"])
    assert shown.status == 200
    assert shown.json["bytes"] == len(data) and shown.json["status"] == "processed"
    reply = azure.complete(upload.json["id"], [part.json["id"]])
    assert reply.status == 400 and azure_error(reply)["code"] == "400"
    second = azure.create(1)
    assert azure.cancel(second.json["id"]).status == 200
    kind, body = multipart([("purpose", None, b"batch"), ("file", "a.jsonl", data)])
    assert azure.request("POST", "/files", body, {"Content-Type": kind}).status == 201


def test_azure_takes_nine_gigabytes(azure, server):
    assert azure.create(9 * 10**9).status == 201
    assert azure.create(9 * 10**9 + 1).status == 400
    assert server.create(8 << 30).status == 200
    assert server.create((8 << 30) + 1).status == 400


@pytest.fixture
def sequential(make_server):
    return make_server("--flavor", "sequential")


def test_sequential_takes_parts_in_order(sequential):
    one, two, last = bytes(5 * MIB), bytes(5 * MIB), b"end"
    total = len(one) + len(two) + len(last)
    upload = sequential.create(total).json["id"]
    lost = sequential.part(upload, one).json["id"]
    ids = [sequential.part(upload, data).json["id"] for data in (one, two, last)]
    for wrong in ([ids[1], ids[0], ids[2]], [ids[0], lost, ids[2]]):
        reply = sequential.complete(upload, wrong)
        assert reply.status == 400 and "ascending" in reply.error["message"]
    reply = sequential.complete(upload, ids, hashlib.md5(one + two + last).hexdigest())
    assert reply.status == 200 and reply.json["file"]["bytes"] == total


def test_sequential_order_outlives_a_restart(sequential):
    one, last = bytes(5 * MIB), b"end"
    upload = sequential.create(len(one) + len(last)).json["id"]
    first = sequential.part(upload, one).json["id"]
    sequential.stop()
    sequential.start("--flavor", "sequential")
    second = sequential.part(upload, last).json["id"]
    assert sequential.complete(upload, [second, first]).status == 400
    assert sequential.complete(upload, [first, second]).status == 200


def test_sequential_wants_large_parts(sequential):
    upload = sequential.create(5 * MIB).json["id"]
    ids = [sequential.part(upload, data).json["id"] for data in (bytes(5 * MIB - 1), b"x")]
    reply = sequential.complete(upload, ids)
    assert reply.status == 400 and "smaller" in reply.error["message"]


def test_sequential_refuses_an_overtaken_part(sequential):
    """Of two at once the first to begin is refused, the other one is good."""
    upload = sequential.create(3).json["id"]
    kind, body = multipart([("data", "part", b"abc")])
    slow = sequential.connect()
    slow.putrequest("POST", f"/v1/uploads/{upload}/parts")
    slow.putheader("Content-Type", kind)
    slow.putheader("Content-Length", str(len(body)))
    slow.putheader("Expect", "100-continue")
    slow.endheaders(body[:40])
    # It is told to go on once the server has begun with it.
    assert slow.sock.recv(12) == b"HTTP/1.1 100"
    good = sequential.part(upload, b"abc")
    assert good.status == 200
    slow.send(body[40:])
    rest = b""
    while b"overtook" not in rest:
        data = slow.sock.recv(4096)
        assert data, rest
        rest += data
    slow.close()
    assert b" 400 " in rest
    assert sequential.complete(upload, [good.json["id"]]).status == 200


def test_files_only(make_server):
    """No /uploads, whatever is asked of it; POST /files works."""
    server = make_server("--flavor", "files-only")
    assert server.create(1).status == 404
    for path in ("", "/upload_1/parts", "/upload_1/complete", "/upload_1/cancel"):
        reply = server.request("POST", "/uploads" + path, {})
        assert reply.status == 404 and "Invalid URL" in reply.error["message"]
    assert server.request("GET", "/uploads").status == 404
    kind, body = multipart([("purpose", None, b"batch"), ("file", "a.jsonl", b"abc")])
    reply = server.request("POST", "/files", body, {"Content-Type": kind})
    assert reply.status == 200 and reply.json["bytes"] == 3
    assert server.request("GET", "/files").json["data"][0]["id"] == reply.json["id"]
