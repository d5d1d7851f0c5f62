"""What survives kill -9, and what is tidied up."""
import hashlib
import os
import subprocess
import threading

import pytest

from conftest import MIB, BINARY, command, environment, multipart, wait_until


def restart(server, *args):
    port = server.port
    server.kill()
    server.start(*args, port=port)		# the same port, at once


def test_completed_files_survive(server):
    files = [server.publish(bytes([i]) * (MIB + i), b"tail", filename=str(i)) for i in range(5)]
    gone = files.pop(2)
    assert server.request("DELETE", f"/files/{gone['id']}").status == 200
    before = server.request("GET", "/files").json
    restart(server)
    assert server.request("GET", "/files").json == before
    for file in files:
        i = int(file["filename"])
        assert server.content(file["id"]).body == bytes([i]) * (MIB + i) + b"tail"
    assert server.request("GET", f"/files/{gone['id']}").status == 404
    # New Files come behind the old ones.
    new = server.publish(b"x", filename="new")
    assert server.request("GET", "/files?limit=1").json["data"] == [new]


def test_killed_right_after_each_complete(server):
    """Nothing runs between the reply and the kill."""
    for i in range(8):
        data = os.urandom(100000)
        file = server.publish(data, filename=f"f{i}")
        restart(server)
        assert server.content(file["id"]).body == data
        assert len(server.request("GET", "/files").json["data"]) == i + 1


def test_killed_during_completes(server):
    """Each complete that was answered must be there; none may be there by half."""
    answered, stop = {}, threading.Event()

    def publish(worker):
        try:
            for i in range(1000):
                data = os.urandom(20000)
                file = server.publish(data[:9000], data[9000:], filename=f"{worker}-{i}")
                answered[file["id"]] = data
        except (OSError, AssertionError):
            assert stop.is_set()
        except Exception:	# noqa: BLE001: an http.client error of the killed connection
            assert stop.is_set()

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) >= 20, "some Files")
    stop.set()
    port = server.port
    server.kill()
    for thread in threads:
        thread.join()
    server.start(port=port)
    listed = {f["id"]: f for f in server.request("GET", "/files").json["data"]}
    assert set(answered) <= set(listed)
    assert len(listed) <= len(answered) + 4
    for name, file in listed.items():
        body = server.content(name).body
        assert len(body) == file["bytes"] == 20000
        assert name not in answered or body == answered[name]
    assert not list(server.dir.glob("*/*.tmp")) + list(server.dir.glob("*/*/*.tmp"))


def test_pending_uploads_and_finished_parts_survive(server):
    upload = server.create(8).json
    parts = [server.part(upload["id"], d).json["id"] for d in (b"one\n", b"two\n")]
    kind, body = multipart([("data", "x", bytes(MIB))])
    with server.socket() as sock:	# and one that is still on its way
        sock.sendall((f"POST /v1/uploads/{upload['id']}/parts HTTP/1.1\r\nHost: localhost\r\n"
                      f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n").encode())
        sock.sendall(body[:5000])
        wait_until(lambda: list(server.dir.glob("data/*/*.tmp")), "the third Part")
        restart(server)
    assert not list(server.dir.glob("data/*/*.tmp"))
    listed = server.list()["uploads"][0]
    assert listed["status"] == "pending"
    # Which came first is not kept: complete says the order.
    assert sorted(p["id"] for p in listed["parts"]) == sorted(parts)
    assert [p["bytes"] for p in listed["parts"]] == [4, 4]
    reply = server.complete(upload["id"], parts, hashlib.md5(b"one\ntwo\n").hexdigest())
    assert reply.status == 200
    assert {**reply.json, "file": 0} == {**upload, "status": "completed", "file": 0}
    assert server.content(reply.json["file"]["id"]).body == b"one\ntwo\n"


def test_ended_uploads_stay_ended(server):
    done, gone = server.create(4).json["id"], server.create(4).json["id"]
    part = server.part(done, b"data").json["id"]
    file = server.complete(done, [part]).json["file"]["id"]
    server.cancel(gone)
    restart(server)
    for upload in (done, gone):
        assert server.part(upload, b"data").status == 400
        assert server.complete(upload, [part]).status == 400
    by_id = {u["id"]: u for u in server.list()["uploads"]}
    assert by_id[done]["status"] == "completed" and by_id[done]["file_id"] == file
    assert by_id[gone]["status"] == "cancelled"


def test_expiry_while_it_was_down(make_server):
    server = make_server("--upload-ttl", "1")
    upload = server.create(4).json["id"]
    server.part(upload, b"data")
    restart(server, "--upload-ttl", "1")
    wait_until(lambda: server.list()["uploads"][0]["status"] == "expired", "expiry")
    assert "expired" in server.complete(upload, ["x"]).error["message"]


def test_crash_between_the_two_records(server):
    """The File's record counts; the Upload's follows at the next start."""
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json["id"]
    server.part(upload, b"unlisted")
    record = server.dir / "uploads" / f"{upload}.json"
    pending = record.read_bytes()
    spare = next(p for p in server.dir.glob(f"data/{upload}/*") if p.name != part)
    file = server.complete(upload, [part]).json["file"]["id"]
    assert not spare.exists()
    server.stop()
    record.write_bytes(pending)
    spare.write_bytes(b"unlisted")
    server.start()
    listed = server.list()["uploads"][0]
    assert (listed["status"], listed["file_id"]) == ("completed", file)
    assert not spare.exists()
    assert server.complete(upload, [part]).status == 400
    assert len(server.request("GET", "/files").json["data"]) == 1


def test_orphans_are_swept(server):
    file = server.publish(b"keep")
    server.stop()
    orphans = [server.dir / "data" / name for name in ("upload_" + "a" * 32, "file-" + "b" * 32)]
    for orphan in orphans:
        orphan.mkdir()
        (orphan / ("part_" + "c" * 32)).write_bytes(b"lost")
    stray = server.dir / "files" / ("file-" + "d" * 32 + ".tmp")
    stray.write_bytes(b"{")
    server.start()
    assert not any(o.exists() for o in orphans) and not stray.exists()
    assert server.content(file["id"]).body == b"keep"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id":"file-x"}'])
def test_a_damaged_record_costs_only_its_file(server, text):
    good, bad = server.publish(b"good"), server.publish(b"bad!")
    server.stop()
    (server.dir / "files" / f"{bad['id']}.json").write_text(text)
    server.start()
    assert server.request("GET", "/files").json["data"] == [good]
    assert server.content(good["id"]).body == b"good"
    assert f"record of {bad['id']} is damaged" in server.log_file.read_text()
    assert len(list(server.dir.glob("data/*"))) == 2	# for somebody to look at


def test_a_second_server_is_kept_out(server):
    second = subprocess.run(command("--dir", server.dir), env=environment(), timeout=20,
                            capture_output=True, text=True)
    assert second.returncode == 1 and second.stdout == ""
    assert "another server is using it" in second.stderr
    assert server.create(1).status == 200
    assert BINARY.exists()


def test_modes(server):
    server.publish(b"data")
    server.create(1)
    for path in [server.dir, *server.dir.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert server.journal_file.stat().st_mode & 0o777 == 0o600
