"""uploads-server --sink: the API as always, but nothing is kept and no MD5 is checked."""
import subprocess

import pytest

from conftest import MIB, Server, command, environment


class Sink(Server):
    """A server without a directory."""

    def start(self, *args, port=0):
        self.process = subprocess.Popen(command("--sink", "--journal", self.journal_file, *args),
                                        env=environment(), stdout=subprocess.PIPE, text=True,
                                        cwd=self.base)
        self.line = self.process.stdout.readline()
        assert self.line.startswith("listening on http://127.0.0.1:"), repr(self.line)
        self.port = int(self.line.split(":")[2].split("/")[0])
        return self


@pytest.fixture
def sink(tmp_path):
    """Called with arguments: a sink, ended behind the test."""
    started = []

    def start(*args):
        started.append(Sink(tmp_path))
        return started[-1].start(*args)

    yield start
    try:
        for server in started:
            server.stop()
    finally:
        for server in started:
            server.abandon()


def test_says_what_it_is(sink):
    server = sink()
    assert server.line == (f"listening on http://127.0.0.1:{server.port}/v1"
                           " (a sink: nothing is kept, no MD5 is checked)\n")


def test_an_upload_is_counted_and_forgotten(sink, tmp_path):
    server = sink()
    data = b"x" * (3 * MIB)
    file = server.publish(data, data[:5], purpose="batch")
    assert file["bytes"] == 3 * MIB + 5 and file["status"] == "processed"
    assert [e["bytes"] for e in server.journal("part")] == [3 * MIB, 5]
    assert server.request("GET", "/files/" + file["id"]).json == file
    # Nothing but the journal: neither a directory nor a file of its own.
    assert [p.name for p in tmp_path.iterdir()] == ["journal"]


def test_the_md5_is_not_checked_but_the_size_is(sink):
    server = sink()
    upload = server.create(4).json["id"]
    part = server.part(upload, b"data").json["id"]
    assert server.complete(upload, [part], "0" * 32).status == 200
    upload = server.create(5).json["id"]
    part = server.part(upload, b"data").json["id"]
    reply = server.complete(upload, [part])
    assert reply.status == 400 and "4 bytes" in reply.error["message"]
    assert server.cancel(upload).json["status"] == "cancelled"


def test_reads_as_zeros(sink):
    server = sink()
    file = server.publish(b"a" * MIB, b"b" * 77, purpose="batch")["id"]
    assert server.content(file).body == bytes(MIB + 77)
    reply = server.content(file, {"Range": f"bytes={MIB - 2}-{MIB + 1}"})
    assert reply.status == 206 and reply.body == bytes(4)


def test_post_files_and_delete(sink):
    server = sink()
    body = (b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n"
            b"Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" +
            b"z" * 1000 + b"\r\n--b--\r\n")
    reply = server.request("POST", "/files", body,
                           {"Content-Type": "multipart/form-data; boundary=b"})
    assert reply.status == 200 and reply.json["bytes"] == 1000
    assert server.content(reply.json["id"]).body == bytes(1000)
    assert server.request("DELETE", "/files/" + reply.json["id"]).json["deleted"]
    assert server.request("GET", "/files").json["data"] == []


def test_begins_with_files(sink):
    server = sink("--sink-files", "25:3M")
    pages, after = [], ""
    while True:
        page = server.request("GET", "/files?limit=10&order=asc" + after).json
        pages.append(page["data"])
        if not page["has_more"]:
            break
        after = "&after=" + page["last_id"]
    files = sum(pages, [])
    assert [len(p) for p in pages] == [10, 10, 5]
    assert [f["filename"] for f in files] == [f"{i:06}.jsonl" for i in range(25)]
    assert len({f["id"] for f in files}) == 25
    assert {(f["bytes"], f["purpose"]) for f in files} == {(3 * MIB, "batch")}
    assert server.content(files[7]["id"]).body == bytes(3 * MIB)
    # One that comes later is the newest.
    assert server.request("GET", "/files?limit=1").json["data"] == [files[-1]]
    new = server.publish(b"new")
    assert server.request("GET", "/files?limit=1").json["data"] == [new]


@pytest.mark.plain
def test_memory_does_not_grow_with_the_bytes(sink):
    server = sink()
    server.publish(b"warm")
    before = server.status("VmRSS")
    data = b"y" * (16 * MIB)
    server.publish(*[data] * 4)
    assert server.status("VmRSS") - before < 8 * 1024
