"""--flavor: the services beside OpenAI's that the server can play."""
import base64
import hashlib
import json

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
        assert reply.status == 401 and azure_error(reply)["code"] == "unauthorized"
    azure.prefix = "/openai"
    dated = "?api-version=2024-10-21"
    assert azure.request("GET", "/files" + dated, headers=good).status == 200
    for path, headers, status in (("/files", good, 404), ("/files?api-version=", good, 404),
                                  ("/nothing" + dated, good, 404),
                                  ("/files" + dated, {"Authorization": f"Bearer {KEY}"}, 401)):
        reply = azure.request("GET", path, headers=headers)
        assert reply.status == status
        assert azure_error(reply)["code"] == {404: "notFound", 401: "unauthorized"}[status]
    azure.prefix = "/v1"
    assert azure.request("GET", "/files", headers=good).status == 404


def post_file(server, query="", purpose="batch", key=KEY):
    kind, body = multipart([("purpose", None, purpose.encode()), ("file", "a.jsonl", b"{}\n")])
    return server.request("POST", "/files" + query, body, {"Content-Type": kind, "api-key": key})


def dated_publish(azure, data, purpose="fine-tune"):
    """An Upload by the dated version's paths; the replies of create, part and complete."""
    def ask(path, body, kind):
        return azure.request("POST", path + "?api-version=2024-10-21", body,
                             {"api-key": KEY, "Content-Type": kind})

    azure.prefix = "/openai"
    spec = {"purpose": purpose, "filename": "a.jsonl", "bytes": len(data), "mime_type": "text/jsonl"}
    upload = ask("/uploads", json.dumps(spec), "application/json")
    where = "/uploads/" + upload.json["id"]
    kind, body = multipart([("data", "part", data)])
    part = ask(where + "/parts", body, kind)
    done = ask(where + "/complete", json.dumps({"part_ids": [part.json["id"]]}),
               "application/json")
    return upload, part, done


def test_azure_makes_with_200(azure):
    """200 below /openai/v1; the File of a complete has no byte count yet."""
    data = b"{}\n" * 1000
    upload = azure.create(len(data))
    part = azure.part(upload.json["id"], data)
    done = azure.complete(upload.json["id"], [part.json["id"]], hashlib.md5(data).hexdigest())
    assert [x.status for x in (upload, part, done)] == [200] * 3
    assert done.json["status"] == "completed"
    assert done.json["file"]["bytes"] is None and done.json["file"]["status"] == "pending"
    shown = azure.request("GET", "/files/" + done.json["file"]["id"])
    assert shown.status == 200
    assert shown.json["bytes"] == len(data) and shown.json["status"] == "processed"
    second = azure.create(1)
    assert azure.cancel(second.json["id"]).status == 200
    whole = post_file(azure)
    assert whole.status == 200 and "Location" not in whole.headers


def test_azure_dated_makes_a_file_with_201(azure):
    """And says where it is; everything else is 200."""
    assert [x.status for x in dated_publish(azure, b"data")] == [200] * 3
    azure.prefix = "/openai"
    whole = post_file(azure, "?api-version=2024-10-21")
    assert whole.status == 201
    assert whole.headers["Location"] == \
        f"http://127.0.0.1:{azure.port}/openai/files/{whole.json['id']}"
    assert post_file(azure, "?api-version=2024-10-21", purpose="nonsense").headers["Location"] is None


def test_azure_upload_lives_two_hours(azure, make_server):
    assert azure.create(1).json["expires_at"] == azure.create(1).json["created_at"] + 7200
    told = make_server("--flavor", "azure", "--upload-ttl", "60", key=KEY).create(1).json
    assert told["expires_at"] == told["created_at"] + 60


def test_azure_block_ids(azure):
    """A second id of a Part; complete takes either, once."""
    upload = azure.create(8).json["id"]
    parts = [azure.part(upload, data).json for data in (b"one\n", b"two\n")]
    for part in parts:
        assert base64.b64decode(part["azure_block_id"]).hex() == part["id"].split("_")[1]
    blocks = [x["azure_block_id"] for x in parts]
    for wrong in ([blocks[0], parts[0]["id"]], [blocks[0], blocks[1][:-3] + "/=="],
                  [blocks[0][:-2], blocks[1]], [blocks[0], "A" * 22 + "=="]):
        assert azure.complete(upload, wrong).status == 400
    done = azure.complete(upload, [blocks[1], parts[0]["id"]])
    assert done.status == 200
    assert azure.content(done.json["file"]["id"]).body == b"two\none\n"


def test_only_azure_has_block_ids(server):
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json
    assert "azure_block_id" not in part
    block = base64.b64encode(bytes.fromhex(part["id"].split("_")[1])).decode()
    assert server.complete(upload, [block]).status == 400


def test_azure_purposes(azure):
    """Its own list, which differs a little from path to path."""
    common = ["fine-tune", "fine-tune-results", "assistants", "assistants_output", "batch"]
    for purpose in [*common, "batch_output"]:
        assert azure.create(1, purpose=purpose).status == 200
    for purpose in ("user_data", "vision", "evals", "Batch"):
        reply = azure.create(1, purpose=purpose)
        assert reply.status == 400 and azure_error(reply)["code"] == "invalidPayload"
        assert "'assistants_output'" in azure_error(reply)["message"]
    assert [post_file(azure, purpose=x).status for x in [*common, "evals"]] == [200] * 6
    assert [post_file(azure, purpose=x).status
            for x in ("user_data", "vision", "batch_output")] == [400] * 3
    azure.prefix, dated = "/openai", "?api-version=2024-10-21"
    assert [post_file(azure, dated, purpose=x).status for x in common] == [201] * 5
    assert [post_file(azure, dated, purpose=x).status
            for x in ("user_data", "vision", "batch_output", "evals")] == [400] * 4


def test_azure_files_do_not_expire(azure):
    """Its description has no such rule for batch, and nothing that is null."""
    for file in (post_file(azure).json, dated_publish(azure, b"data", "batch")[2].json["file"]):
        assert "expires_at" not in file and "status_details" not in file


def test_azure_error_codes(azure):
    """Those of its description, or what a fault rule says."""
    def code(reply, status):
        assert reply.status == status
        return azure_error(reply)["code"]

    upload = azure.create(4).json["id"]
    assert code(azure.complete(upload, ["part_x"]), 400) == "invalidPayload"
    assert code(azure.request("POST", "/uploads", "{"), 400) == "invalidPayload"
    assert code(azure.create(1, colour="red"), 400) == "invalidPayload"
    assert code(azure.request("PUT", "/files"), 405) == "invalidPayload"
    assert code(azure.request("GET", "/files/file-x"), 404) == "notFound"
    assert code(azure.part("upload_x", b"x"), 404) == "notFound"
    assert azure.cancel(upload).status == 200
    assert code(azure.cancel(upload), 400) == "unexpectedEntityState"
    assert code(azure.part(upload, b"data"), 400) == "unexpectedEntityState"
    for status, wanted in ((403, "forbidden"), (429, "tooManyRequests"),
                           (500, "internalFailure"), (502, "internalFailure"),
                           (503, "serviceUnavailable"), (507, "quotaExceeded")):
        azure.faults({"op": "list", "action": "status", "status": status})
        assert code(azure.request("GET", "/files"), status) == wanted
    azure.faults({"op": "list", "action": "status", "status": 400, "code": "contentFilter"})
    assert code(azure.request("GET", "/files"), 400) == "contentFilter"


def test_azure_takes_nine_gigabytes(azure, server):
    assert azure.create(9 * 10**9).status == 200
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
