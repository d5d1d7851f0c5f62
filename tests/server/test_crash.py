"""Killed at each step that a client or the next start can see: nothing by half, nothing answered lost."""
import http.client
import os

import pytest

from conftest import BUILD, multipart

# A preloaded library and a sanitizer's do not go together.
pytestmark = pytest.mark.plain

PRELOAD = BUILD / "tests" / "server_crash.so"
BROKEN = (http.client.HTTPException, OSError)
ONE, TWO = b"one\n" * 1000, b"two\n" * 1000


class Life:
    """What a client asked for, and what it was answered, until the server died."""

    def __init__(self, server):
        self.server = server
        self.files = {}      # of answered completes and POST /files: id -> bytes
        self.deleted = set() # asked for
        self.gone = set()    # and answered
        self.pending = {}    # Uploads whose create was answered: id -> ids of answered Parts
        self.asked = {}      # Uploads whose complete or cancel was asked for: id -> which
        self.ended = {}      # and answered

    def ok(self, reply):
        assert reply.status == 200, reply.body
        return reply.json

    def upload(self, *pieces):
        upload = self.ok(self.server.create(sum(map(len, pieces))))["id"]
        parts = self.pending[upload] = []
        for data in pieces:
            parts.append(self.ok(self.server.part(upload, data))["id"])
        return upload, parts

    def complete(self, upload, parts, data):
        self.asked[upload] = "complete"
        self.files[self.ok(self.server.complete(upload, parts))["file"]["id"]] = data
        self.ended[upload] = "complete"

    def cancel(self, upload):
        self.asked[upload] = "cancel"
        self.ok(self.server.cancel(upload))
        self.ended[upload] = "cancel"

    def delete(self, file):
        self.deleted.add(file)
        self.ok(self.server.request("DELETE", "/files/" + file))
        self.gone.add(file)

    def live(self):
        upload, parts = self.upload(ONE, TWO)
        self.ok(self.server.part(upload, b"not listed"))
        self.complete(upload, parts[::-1], TWO + ONE)
        gone, _ = self.upload(ONE)
        self.cancel(gone)
        kind, body = multipart([("purpose", None, b"fine-tune"), ("file", "whole", ONE)])
        made = self.ok(self.server.request("POST", "/files", body, {"Content-Type": kind}))
        self.files[made["id"]] = ONE
        for file in list(self.files):
            self.delete(file)
        again, parts = self.upload(TWO)
        self.complete(again, parts, TWO)
        self.upload(ONE, TWO)

    def check(self):
        """After another start."""
        listed = {x["id"]: x for x in self.ok(self.server.request("GET", "/files"))["data"]}
        assert set(self.files) - self.deleted <= set(listed)
        assert not self.gone & set(listed)
        for name, file in listed.items():
            body = self.server.content(name).body
            assert body in (ONE, TWO, TWO + ONE) and len(body) == file["bytes"]
            assert self.files.get(name, body) == body
        # One File at most was made without an answer, and none twice.
        assert len(set(listed) - set(self.files)) <= 1
        kept = self.server.list()
        uploads = {x["id"]: x for x in kept["uploads"]}
        assert set(self.pending) <= set(uploads) and len(set(uploads) - set(self.pending)) <= 1
        made = [x["upload_id"] for x in kept["files"] if x["upload_id"]]
        assert len(made) == len(set(made))
        owners = {x["upload_id"] or x["id"] for x in kept["files"]} | \
            {x for x, y in uploads.items() if y["status"] == "pending"}
        assert {x.name for x in self.server.dir.glob("data/*")} == owners
        assert not list(self.server.dir.rglob("*.tmp"))
        for name, upload in uploads.items():
            self.check_upload(name, upload, made)

    def check_upload(self, name, upload, made):
        asked, ended = self.asked.get(name), self.ended.get(name)
        allowed = {None: {"pending"}, "complete": {"completed"}, "cancel": {"cancelled"}}
        assert upload["status"] in (allowed[ended] if ended else allowed[asked] | {"pending"})
        if upload["status"] == "pending":
            assert name not in made
            # What was answered is still there and can be used.
            parts = self.pending.get(name, [])
            assert set(parts) <= {x["id"] for x in upload["parts"]} or asked == "cancel"
            if parts and not asked and upload["bytes"] == len(ONE + TWO) and len(parts) == 2:
                self.ok(self.server.complete(name, parts))
            else:
                self.ok(self.server.cancel(name))
        else:
            assert self.server.cancel(name).status == 400


def start(server, notes, kind, at):
    preload = {"LD_PRELOAD": str(PRELOAD), "UPLOADS_CRASH_AT": str(at), "UPLOADS_CRASH_KIND": kind,
               "UPLOADS_CRASH_NOTES": str(notes)}
    os.environ.update(preload)
    try:
        server.start()
    finally:
        for name in preload:
            del os.environ[name]


def crash(make_server, tmp_path, kind, at):
    """A life that ends at a step; what the notes say, if it went on to its end."""
    server = make_server(start=False)
    notes = tmp_path / f"notes-{kind}-{at}"
    start(server, notes, kind, at)
    life = Life(server)
    try:
        life.live()
        died = False
    except BROKEN:
        died = True
    if not died:
        server.stop()
        return notes.read_text()
    assert server.process.wait(20) == -9
    print("killed at step", notes.read_text())  # shown if what follows fails
    server.kill()
    server.start()
    life.check()
    server.stop()
    return None


def steps(make_server, tmp_path, kind):
    count = int(crash(make_server, tmp_path, kind, 0).split()[1])
    assert count > 50
    return count


@pytest.mark.parametrize("kind, every", [("before", 1), ("after", 5)])
def test_killed_at_each_step(make_server, tmp_path, kind, every):
    """What follows a step is what precedes the next one, but for the replies."""
    count = steps(make_server, tmp_path, kind)
    for at in range(1, count + 1, every):
        assert crash(make_server, tmp_path, kind, at) is None, f"no step {at} of {count}"


class Stubborn(Life):
    """Asks once more after a 500, as clients do."""

    def __init__(self, server):
        super().__init__(server)
        self.real, self.failed = server.request, 0
        server.request = self.request

    def request(self, method, path, body=None, headers=None, connection=None):
        reply = self.real(method, path, body, headers, connection)
        if reply.status != 500:
            return reply
        self.failed += 1
        return self.real(method, path, body, headers, connection)

    def ok(self, reply):
        # A cancel that failed has ended the Upload all the same.
        if reply.status == 400 and self.failed and "is already cancelled" in reply.error["message"]:
            return None
        return super().ok(reply)


def fail(make_server, tmp_path, at):
    """A life in which a step fails with EIO; what the server says must be what it keeps."""
    server = make_server(start=False)
    notes = tmp_path / f"notes-fail-{at}"
    start(server, notes, "fail", at)
    life = Stubborn(server)
    life.live()
    assert life.failed <= 1
    before = life.ok(server.request("GET", "/files"))["data"]
    assert {x["id"] for x in before} == set(life.files) - life.gone
    server.stop()
    print("failed at step", notes.read_text())
    server.start()
    kept = server.list()["files"]
    assert {x["id"] for x in kept} == {x["id"] for x in before}
    assert len({x["upload_id"] or x["id"] for x in kept}) == len(kept)
    assert life.ok(server.request("GET", "/files"))["data"] == before
    for name in {x["id"] for x in kept}:
        assert server.content(name).body == life.files[name]
    server.stop()


def test_each_step_fails(make_server, tmp_path):
    for at in range(1, steps(make_server, tmp_path, "fail") + 1):
        fail(make_server, tmp_path, at)
