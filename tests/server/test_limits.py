"""Memory, many connections, and the slow network that the server can play."""
import concurrent.futures
import hashlib
import resource
import socket
import subprocess
import time

import pytest

from conftest import MIB, command, environment, multipart, wait_until


def send_part(server, upload, size, block):
    """A Part in blocks, so that the test itself holds little."""
    head = (b"--bnd\r\nContent-Disposition: form-data; name=\"data\"; filename=\"p\"\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n")
    tail = b"\r\n--bnd--\r\n"
    connection = server.connect()
    try:
        connection.putrequest("POST", f"/v1/uploads/{upload}/parts")
        connection.putheader("Content-Type", "multipart/form-data; boundary=bnd")
        connection.putheader("Content-Length", str(len(head) + size + len(tail)))
        connection.endheaders()
        connection.send(head)
        for _ in range(size // len(block)):
            connection.send(block)
        connection.send(tail)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
    finally:
        connection.close()


@pytest.mark.plain
def test_memory_stays_flat(server):
    """8 Parts of 64 MiB at once, then a File of them read by 8 at once."""
    block = bytes(range(256)) * 4096
    upload = server.create(512 * MIB).json["id"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: send_part(server, upload, 64 * MIB, block), range(8)))
    parts = [p["id"] for p in server.list()["uploads"][0]["parts"]]
    assert len(parts) == 8
    digest = hashlib.md5()
    for _ in range(512):
        digest.update(block)
    done = server.complete(upload, parts, digest.hexdigest())
    assert done.status == 200, done.body

    def read(_):
        connection = server.connect()
        try:
            connection.request("GET", f"/v1/files/{done.json['file']['id']}/content",
                               headers={"Range": f"bytes={100 * MIB}-{164 * MIB - 1}"})
            response = connection.getresponse()
            total = 0
            while piece := response.read(MIB):
                assert piece == block
                total += len(piece)
            return total
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(8))) == [64 * MIB] * 8
    assert server.status("VmHWM") < 64 * 1024


@pytest.mark.plain
def test_ended_uploads_leave_memory(server):
    """Their records tell of them: also long after, also after a restart."""
    connection = server.connect()

    def one(k):
        made = server.request("POST", "/uploads", {
            "filename": "n" * 2000, "purpose": "batch", "bytes": 1, "mime_type": "text/plain"},
            connection=connection)
        assert made.status == 200
        upload = made.json["id"]
        assert server.request("POST", f"/uploads/{upload}/cancel", connection=connection) \
            .json["status"] == "cancelled"
        return upload

    try:
        first = [one(k) for k in range(200)]
        before = server.status("VmRSS")
        uploads = [one(k) for k in range(2000)]
        assert server.status("VmRSS") - before < 1024
    finally:
        connection.close()
    done = server.create(1).json["id"]
    assert server.complete(done, [server.part(done, b"x").json["id"]]).status == 200
    for _ in range(2):
        for upload in (first[0], uploads[-1]):
            reply = server.cancel(upload)
            assert (reply.status, reply.error["message"]) == \
                (400, f"Upload {upload} is already cancelled.")
            assert server.part(upload, b"x").status == 400
        reply = server.complete(done, ["part_x"])
        assert reply.error["message"] == f"Upload {done} is already completed."
        server.stop()
        server.start()


@pytest.mark.plain
def test_many_connections(server):
    """256 Parts begun, all there at once, then finished; memory for the buffers, no more."""
    count, size = 256, MIB
    kind, body = multipart([("data", "x", bytes(size))])
    upload = server.create(size).json["id"]
    head = (f"POST /v1/uploads/{upload}/parts HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    sockets = []
    try:
        for _ in range(count):
            sockets.append(server.socket())
            sockets[-1].sendall(head + body[:size // 2])
        wait_until(lambda: len(list(server.dir.glob("data/*/*.tmp"))) == count, "all begun")
        assert server.request("GET", "/files").status == 200
        for sock in sockets:
            sock.sendall(body[size // 2:])
        for sock in sockets:
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        for sock in sockets:
            sock.close()
    assert len({e["conn"] for e in server.journal("part")}) == count
    assert server.status("VmHWM") < 96 * 1024


def test_kept_alive(server):
    connection = server.connect()
    try:
        upload = server.create(3).json["id"]
        for data in (b"a", b"b", b"c"):
            assert server.part(upload, data, connection=connection).status == 200
    finally:
        connection.close()
    assert len({e["conn"] for e in server.journal("part")}) == 1


def test_latency_is_added_to_each_and_shared_by_none(make_server):
    server = make_server("--latency", "600")
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: server.request("GET", "/files"), range(32)))
    assert time.monotonic() - start >= 0.6
    assert [r.status for r in replies] == [200] * 32
    entries = server.journal("list")
    assert all(e["t_end_ms"] - e["t_start_ms"] >= 600 for e in entries)
    assert at_one_time(entries) >= 16


def at_one_time(entries):
    """How many of them were under way at the same time, at most."""
    return max(sum(e["t_start_ms"] <= one["t_start_ms"] < e["t_end_ms"] for e in entries)
               for one in entries)


def test_rate_limits_each_connection_both_ways(make_server):
    server = make_server("--rate", "1M")
    upload = server.create(MIB).json["id"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: server.part(upload, bytes(MIB)), range(4)))
    entries = server.journal("part")
    assert all(e["t_end_ms"] - e["t_start_ms"] >= 900 for e in entries)
    assert at_one_time(entries) >= 2
    file = server.complete(upload, [replies[0].json["id"]]).json["file"]["id"]
    start = time.monotonic()
    assert server.content(file).body == bytes(MIB)
    assert time.monotonic() - start >= 0.9


def test_journal_tells_what_happened(server):
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json["id"]
    digest = hashlib.md5(b"data").hexdigest()
    file = server.complete(upload, [part], digest).json["file"]["id"]
    server.content(file)
    server.request("GET", "/nowhere")
    wait_until(lambda: server.journal("content"), "the line of the content")
    entries = server.journal()
    assert [e["op"] for e in entries if e["op"] != "content"] == ["create", "part", "complete",
                                                                  None]
    by_op = {e["op"]: e for e in entries}
    assert by_op["create"]["upload_id"] == upload
    assert (by_op["part"]["upload_id"], by_op["part"]["part_id"]) == (upload, part)
    assert by_op["part"]["bytes"] == 4
    assert by_op["part"]["t_start_ms"] <= by_op["part"]["t_first_ms"] <= by_op["part"]["t_end_ms"]
    assert (by_op["complete"]["file_id"], by_op["complete"]["md5"]) == (file, digest)
    assert (by_op["content"]["file_id"], by_op["content"]["bytes"]) == (file, 4)
    assert by_op[None]["status"] == 404 and by_op[None]["path"] == "/v1/nowhere"
    for entry in entries:
        assert set(entry) - {"t_first_ms"} == {
            "t_start_ms", "t_end_ms", "op", "method", "path", "status", "upload_id", "part_id",
            "file_id", "bytes", "md5", "fault", "conn"}


def test_one_address_does_not_take_all(tmp_path):
    """1024 of one address, when others can come from elsewhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip("the limit of descriptors is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    process = subprocess.Popen(command("--dir", tmp_path / "d", "--listen", "0.0.0.0:0"),
                               env=environment("sk-test-0123456789abcdef"),
                               stdout=subprocess.PIPE, text=True)
    sockets = []
    try:
        port = int(process.stdout.readline().split(":")[2].split("/")[0])
        for _ in range(1024):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as refused:
            try:
                assert refused.recv(1) == b""
            except ConnectionResetError:
                pass
        with socket.create_connection(("127.0.0.1", port), timeout=20,
                                      source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET /v1/files HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(4096).startswith(b"HTTP/1.1 401 ")
    finally:
        for sock in sockets:
            sock.close()
        process.kill()
        process.wait()
        process.stdout.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
