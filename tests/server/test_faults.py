"""Fault rules: each action, and when it is whose turn."""
import http.client
import json
import re
import socket
import time

import pytest

from conftest import MIB, multipart, wait_until

BROKEN = (http.client.HTTPException, ConnectionError)
FILE = {"object", "id", "purpose", "filename", "bytes", "created_at", "expires_at", "status",
        "status_details"}
UPLOAD = {"id", "object", "bytes", "created_at", "filename", "purpose", "status", "expires_at"}
OPS = ["create", "part", "complete", "cancel", "list", "get", "delete", "content", "upload_file"]


class World:
    """One of each thing, so that any operation can be asked for."""

    def __init__(self, server):
        self.server = server
        self.file = server.publish(b"data" * 100)["id"]
        self.uploads = server.create(4).json["id"]
        self.part = server.part(self.uploads, b"data").json["id"]

    def ask(self, op):
        server = self.server
        kind, body = multipart([("purpose", None, b"batch"), ("file", "name", b"data")])
        return {
            "create": lambda: server.create(4),
            "part": lambda: server.part(self.uploads, b"data"),
            "complete": lambda: server.complete(self.uploads, [self.part]),
            "cancel": lambda: server.cancel(self.uploads),
            "list": lambda: server.request("GET", "/files"),
            "get": lambda: server.request("GET", f"/files/{self.file}"),
            "delete": lambda: server.request("DELETE", f"/files/{self.file}"),
            "content": lambda: server.content(self.file),
            "upload_file": lambda: server.request("POST", "/files", body, {"Content-Type": kind}),
        }[op]()


@pytest.fixture
def world(server):
    return World(server)


@pytest.mark.parametrize("op", OPS)
def test_status(server, world, op):
    server.faults({"op": op, "action": "status", "status": 429, "code": "rate_limit_exceeded",
                   "message": "Slow down.", "headers": {"Retry-After": "7", "X-Extra": "y"}})
    reply = world.ask(op)
    assert reply.status == 429
    assert reply.headers["Retry-After"] == "7" and reply.headers["X-Extra"] == "y"
    assert reply.error["code"] == "rate_limit_exceeded"
    assert reply.error["message"] == "Slow down."
    assert server.journal(op)[-1]["fault"] == "status"
    again = world.ask(op)
    assert again.status == 200, again.body
    assert server.journal(op)[-1]["fault"] is None


def test_status_with_a_body_of_its_own(server):
    server.faults({"op": "list", "action": "status", "status": 502, "body": "<html>Bad"})
    reply = server.request("GET", "/files")
    assert (reply.status, reply.body) == (502, b"<html>Bad")


def test_status_after_the_work(server, world):
    server.faults({"op": "complete", "action": "status", "status": 500, "when": "after"})
    reply = world.ask("complete")
    assert reply.status == 500 and reply.error["type"] == "server_error"
    assert world.ask("complete").status == 400
    assert len(server.request("GET", "/files").json["data"]) == 2


def test_any_and_default_status(server):
    server.faults({"op": "any", "action": "status"})
    assert server.create(1).status == 503
    assert server.create(1).status == 200


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_reset(server, world, op, when):
    server.faults({"op": op, "action": "reset", "when": when})
    with pytest.raises(ConnectionResetError):
        world.ask(op)
    entry = wait_until(lambda: server.journal(op) and server.journal(op)[-1], "journal")
    wait_until(lambda: server.journal(op)[-1]["fault"] == "reset", "journal")
    assert server.journal(op)[-1]["status"] == 0, entry
    # Done or not done, as the rule said.
    again = world.ask(op).status
    done_once = when == "after" and op in ("complete", "cancel", "delete")
    assert again == (404 if op == "delete" else 400) if done_once else again == 200


@pytest.mark.parametrize("after", [None, 3 * MIB])
def test_reset_in_the_middle_of_a_part(server, world, after):
    rule = {"op": "part", "action": "reset", "when": "during"}
    server.faults({**rule, "after_bytes": after} if after else rule)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        server.part(world.uploads, bytes(16 * MIB))
    entry = wait_until(lambda: [e for e in server.journal("part") if e["fault"]], "journal")[0]
    wanted = after or 8 * MIB
    assert wanted - 1000 <= entry["bytes"] <= wanted + MIB
    assert entry["status"] == 0
    assert not list(server.dir.glob("data/*/*.tmp"))


def test_reset_in_the_middle_of_a_content(server):
    data = bytes(range(256)) * 4096 * 8
    file = server.publish(data)["id"]
    server.faults({"op": "content", "action": "reset", "when": "during", "after_bytes": 5 * MIB})
    connection = server.connect()
    try:
        connection.request("GET", f"/v1/files/{file}/content")
        response = connection.getresponse()
        with pytest.raises(BROKEN):
            got = b""
            while True:
                piece = response.read(65536)
                if not piece:
                    raise http.client.IncompleteRead(got)
                got += piece
        assert data.startswith(got) and len(got) < len(data)
    finally:
        connection.close()
    assert server.content(file).body == data


@pytest.mark.parametrize("op", OPS)
def test_stall_for_a_while(server, world, op):
    server.faults({"op": op, "action": "stall", "seconds": 0.3})
    start = time.monotonic()
    assert world.ask(op).status == 200
    assert time.monotonic() - start >= 0.3
    assert server.journal(op)[-1]["fault"] == "stall"


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_stall_for_ever_disturbs_nobody_and_ends_with_the_client(server, world, when):
    server.faults({"op": "part", "action": "stall", "when": when})
    # Small: that a client has gone can be seen only behind all that it sent.
    kind, body = multipart([("data", "x", bytes(1000))])
    with server.socket() as sock:
        sock.sendall((f"POST /v1/uploads/{world.uploads}/parts HTTP/1.1\r\nHost: localhost\r\n"
                      f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n").encode())
        sock.sendall(body)
        for _ in range(20):
            assert server.request("GET", "/files").status == 200
        sock.settimeout(0.2)
        with pytest.raises(socket.timeout):
            sock.recv(1)
        assert not [e for e in server.journal("part") if e["fault"]]
    entry = wait_until(lambda: [e for e in server.journal("part") if e["fault"]], "its end")[0]
    assert (entry["fault"], entry["status"]) == ("stall", 0)


def test_stall_in_the_middle_of_a_content(server):
    data = bytes(range(256)) * 4096 * 8
    file = server.publish(data)["id"]
    server.faults({"op": "content", "action": "stall", "when": "during", "seconds": 0.3})
    start = time.monotonic()
    assert server.content(file).body == data
    assert time.monotonic() - start >= 0.3


def test_stop_does_not_wait_for_stalls(server, world):
    server.faults({"op": "part", "action": "stall", "times": 0},
                  {"op": "content", "action": "stall", "when": "during", "times": 0},
                  {"op": "list", "action": "delay", "ms": 1000000})
    kind, body = multipart([("data", "x", b"data")])
    requests = [
        (f"POST /v1/uploads/{world.uploads}/parts HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
         f"Content-Length: {len(body)}\r\n\r\n").encode() + body,
        f"GET /v1/files/{world.file}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    sockets = [server.socket() for _ in requests]
    try:
        for sock, text in zip(sockets, requests):
            sock.sendall(text)
        wait_until(lambda: server.status("Threads") >= 7, "three threads that wait")
        server.stop()
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("op", OPS)
def test_drop(server, world, op):
    server.faults({"op": op, "action": "drop"})
    with pytest.raises(BROKEN):
        world.ask(op)
    wait_until(lambda: server.journal(op)[-1]["fault"] == "drop", "journal")
    # The work was done.
    again = world.ask(op).status
    assert again == {"complete": 400, "cancel": 400, "delete": 404}.get(op, 200)


@pytest.mark.parametrize("op", OPS)
def test_truncate(server, world, op):
    server.faults({"op": op, "action": "truncate"})
    with pytest.raises(http.client.IncompleteRead) as caught:
        world.ask(op)
    assert caught.value.partial and caught.value.expected
    wait_until(lambda: server.journal(op)[-1]["fault"] == "truncate", "journal")


def test_truncate_content_after(server):
    file = server.publish(bytes(range(200)))["id"]
    server.faults({"op": "content", "action": "truncate", "after_bytes": 150})
    with pytest.raises(http.client.IncompleteRead) as caught:
        server.content(file)
    assert bytes(range(200)).startswith(caught.value.partial)
    assert 150 <= len(caught.value.partial) < 200


@pytest.mark.parametrize("op", [op for op in OPS if op != "content"])
def test_invalid_json(server, world, op):
    server.faults({"op": op, "action": "invalid_json"})
    reply = world.ask(op)
    assert reply.status == 200 and reply.body
    with pytest.raises(ValueError):
        json.loads(reply.body)


@pytest.mark.parametrize("op", [op for op in OPS if op != "content"])
def test_wrong_id(server, world, op):
    server.faults({"op": op, "action": "wrong_id"},
                  {"op": op, "nth": 2, "action": "wrong_id", "value": "../evil"})
    for wanted in ("0" * 32, "../evil"):
        reply = world.ask(op)
        if reply.status != 200:		# the second complete, cancel, delete
            assert op in ("complete", "cancel", "delete")
            continue
        thing = reply.json["data"][0] if op == "list" else reply.json
        assert thing["id"].endswith(wanted)
        if op == "part":
            assert thing["upload_id"] != world.uploads


@pytest.mark.parametrize("op", ["create", "complete", "cancel", "get", "list", "upload_file"])
def test_wrong_bytes(server, world, op):
    server.faults({"op": op, "action": "wrong_bytes", "bytes": 12345})
    reply = world.ask(op).json
    thing = reply["data"][0] if op == "list" else reply
    assert thing["bytes"] == 12345
    if op == "complete":
        assert thing["file"]["bytes"] == 12345


@pytest.mark.parametrize("op, status", [("create", "completed"), ("complete", "pending"),
                                        ("cancel", "pending"), ("get", "error")])
def test_wrong_status(server, world, op, status):
    server.faults({"op": op, "action": "wrong_status"})
    assert world.ask(op).json["status"] == status


def test_wrong_status_of_a_delete(server, world):
    server.faults({"op": "delete", "action": "wrong_status"})
    assert world.ask("delete").json["deleted"] is False


@pytest.mark.parametrize("op", ["get", "list", "upload_file", "complete"])
def test_leave_out_nulls(server, world, op):
    """Without names: a File's members that are null."""
    server.faults({"op": op, "action": "leave_out"})
    if op == "upload_file":
        # A File of batch has an end, which stays.
        assert set(FILE) - set(world.ask(op).json) == {"status_details"}
        return
    file = {"list": lambda x: x["data"][0], "complete": lambda x: x["file"]}.get(
        op, lambda x: x)(world.ask(op).json)
    assert set(file) == set(FILE) - {"expires_at", "status_details"}


@pytest.mark.parametrize("op, names, left", [
    ("create", ["bytes", "object", "created_at", "expires_at", "filename"],
     {"id", "purpose", "status"}),
    ("part", ["upload_id", "created_at"], {"id", "object"}),
    ("delete", ["object", "deleted"], {"id"}),
    ("get", ["bytes", "filename"], FILE - {"bytes", "filename"}),
    ("complete", ["file", "file.id", "mime_type"], UPLOAD),
    ("cancel", ["status"], UPLOAD - {"status"}),
])
def test_leave_out_names(server, world, op, names, left):
    server.faults({"op": op, "action": "leave_out", "names": names})
    assert set(world.ask(op).json) == left


def test_leave_out_of_the_file_in_an_upload(server, world):
    server.faults({"op": "complete", "action": "leave_out", "names": ["file.bytes", "purpose"]})
    upload = world.ask("complete").json
    assert set(upload) == UPLOAD - {"purpose"} | {"file"} and set(upload["file"]) == FILE - {"bytes"}


@pytest.mark.parametrize("names", ["bytes", [1], {"bytes": 1}])
def test_leave_out_wants_a_list(make_server, names):
    server = make_server(start=False)
    server.faults({"op": "get", "action": "leave_out", "names": names})
    with pytest.raises(AssertionError, match="''"):
        server.start()
    assert server.process.wait(20) == 1
    server.process = None


def test_delay(server, world):
    server.faults({"op": "get", "action": "delay", "ms": 300})
    start = time.monotonic()
    assert world.ask("get").status == 200
    assert time.monotonic() - start >= 0.3


def test_no_range(server, world):
    server.faults({"op": "content", "action": "no_range", "times": 0})
    reply = server.content(world.file, {"Range": "bytes=4-7"})
    assert reply.status == 200 and reply.body == b"data" * 100
    assert "Accept-Ranges" not in reply.headers and "Content-Range" not in reply.headers
    server.faults()
    assert server.content(world.file, {"Range": "bytes=4-7"}).status == 206


def test_no_range_beside_a_rule(make_server):
    server = make_server("--no-range")
    file_id = server.publish(b"data" * 100)["id"]
    reply = server.content(file_id, {"Range": "bytes=4-7"})
    assert reply.status == 200 and reply.body == b"data" * 100
    assert "Accept-Ranges" not in reply.headers and "Content-Range" not in reply.headers
    server.faults({"op": "content", "action": "status", "status": 503})
    assert [server.content(file_id, {"Range": "bytes=4-7"}).status for _ in "ab"] == [503, 200]


# ---- whose turn it is ----

def statuses(server, count):
    return [server.request("GET", "/files").status for _ in range(count)]


def test_nth_and_times(server):
    server.faults({"op": "list", "nth": 3, "times": 2, "action": "status", "status": 500})
    server.create(1)
    assert statuses(server, 6) == [200, 200, 500, 500, 200, 200]


def test_for_ever(server):
    server.faults({"op": "list", "nth": 2, "times": 0, "action": "status", "status": 500})
    assert statuses(server, 5) == [200, 500, 500, 500, 500]


def test_first_rule_in_turn_wins_and_all_count(server):
    server.faults({"op": "list", "action": "status", "status": 500},
                  {"op": "any", "nth": 2, "times": 2, "action": "status", "status": 501})
    assert statuses(server, 4) == [500, 501, 501, 200]


def test_counters_start_anew_with_the_content(server):
    rule = {"op": "list", "action": "status", "status": 500}
    server.faults(rule)
    assert statuses(server, 2) == [500, 200]
    server.faults(rule)			# the same content: nothing starts anew
    assert statuses(server, 1) == [200]
    server.faults({**rule, "comment": "again"})
    assert statuses(server, 2) == [500, 200]
    server.faults_file.unlink()
    assert statuses(server, 1) == [200]
    server.faults(rule)
    assert statuses(server, 2) == [500, 200]


def test_match(server):
    fault = {"action": "status", "status": 500, "times": 0}
    a, b = server.publish(b"x", filename="a.txt")["id"], server.publish(b"x", filename="b")["id"]
    upload = server.create(1, "a.txt").json["id"]
    server.faults({"op": "any", "match": "a.txt", **fault}, {"op": "get", "match": b, **fault})
    assert server.create(1, "dir/a.txt.gz").status == 500
    assert server.create(1, "b").status == 200
    assert server.part(upload, b"x").status == 500
    assert server.complete(upload, ["x"]).status == 500
    assert server.content(a).status == 500
    assert server.content(b).status == 200
    assert server.request("GET", f"/files/{b}").status == 500
    assert server.request("GET", "/files").status == 200
    # A part of an id is no match, wherever it stands.
    for part in (b[:-1], b[1:], b[7:10]):
        server.faults({"op": "get", "match": part, **fault})
        assert server.request("GET", f"/files/{b}").status == 200


@pytest.mark.parametrize("rule", [
    {}, {"op": "list"}, {"op": "list", "action": "explode"}, {"op": "lst", "action": "drop"},
    {"op": "list", "action": "drop", "nth": 0}, {"op": "list", "action": "drop", "time": 2},
    {"op": "list", "action": "status", "status": 999}, {"op": "list", "action": "drop", "when": 1},
    {"op": "list", "action": "status", "headers": ["x"]}, [], "x",
])
def test_a_wrong_rule_is_reported_and_leaves_the_former(server, rule):
    server.faults({"op": "list", "times": 0, "action": "status", "status": 500})
    assert statuses(server, 1) == [500]
    server.faults(rule)
    assert statuses(server, 2) == [500, 500]
    assert len(re.findall("fault rules .* stay in force", server.log_file.read_text())) == 1
    server.faults()
    assert statuses(server, 1) == [200]
