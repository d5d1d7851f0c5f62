"""A running uploads-server for each test, and a small client that hides nothing."""
import http.client
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import sanitizer  # noqa: E402

BUILD = pathlib.Path(os.environ.get("UPLOADFS_BUILD", ROOT / "build")).resolve()
BINARY = BUILD / "uploads-server"
MIB = 1 << 20


def wait_until(condition, what, timeout=20):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def command(*args):
    """The argv that runs the server, whatever it was built with."""
    san = any(word in BINARY.read_bytes() for word in (b"__asan_init", b"__tsan_init"))
    return sanitizer.wrap(san, [str(BINARY), *map(str, args)])


def environment(key=None):
    env = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    env.update(sanitizer.options(""))
    if key:
        env["OPENAI_API_KEY"] = key
    return env


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object, whose shape is checked."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str) and error["message"]
        return error


def multipart(fields, boundary=None, quote=False):
    """fields: (name, filename or None, bytes). Returns the content type and the body."""
    boundary = boundary or secrets.token_hex(16)
    body = b""
    for name, filename, data in fields:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        body += (f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
                 "Content-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    shown = f'"{boundary}"' if quote else boundary
    return f"multipart/form-data; boundary={shown}", body


class Server:
    def __init__(self, directory, key=None):
        self.base = directory
        self.dir = directory / "store"
        self.faults_file = directory / "faults.json"
        self.journal_file = directory / "journal"
        self.log_file = directory / "log"
        self.key = key
        self.process = None
        self.port = None
        self.prefix = "/v1"

    def start(self, *args, port=0):
        # stderr stays ours: that is where a sanitizer reports.
        self.process = subprocess.Popen(
            command("--dir", self.dir, "--listen", f"127.0.0.1:{port}", "--faults",
                    self.faults_file, "--journal", self.journal_file, "--log", self.log_file,
                    *args),
            env=environment(self.key), stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), repr(line)
        assert line.endswith("/v1\n")
        self.port, self.prefix = re.match(r".*:(\d+)(/\S+)$", line).groups()
        self.port = int(self.port)
        return self

    def stop(self):
        """Ends it in the orderly way, which must work whatever it is doing."""
        if not self.process:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
        assert code == 0

    def kill(self):
        process, self.process = self.process, None
        process.kill()
        process.wait()
        process.stdout.close()

    def abandon(self):
        if self.process:
            self.kill()

    def faults(self, *rules):
        temporary = self.faults_file.with_suffix(".new")
        temporary.write_text(json.dumps(rules))
        temporary.rename(self.faults_file)

    def journal(self, op=None):
        if not self.journal_file.exists():
            return []
        lines = [json.loads(line) for line in self.journal_file.read_text().splitlines()]
        return [line for line in lines if op is None or line["op"] == op]

    def list(self):
        done = subprocess.run(command("--dir", self.dir, "--list"), env=environment(),
                              check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def status(self, field):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(l for l in text.splitlines() if l.startswith(field + ":")).split()[1])

    # ---- requests ----

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def request(self, method, path, body=None, headers=None, connection=None):
        headers = dict(headers or {})
        if self.key and not {"Authorization", "api-key"} & set(headers):
            headers["Authorization"] = f"Bearer {self.key}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own = connection is None
        connection = connection or self.connect()
        try:
            connection.request(method, self.prefix + path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            if own:
                connection.close()

    def create(self, size, filename="f.jsonl", purpose="fine-tune", **more):
        return self.request("POST", "/uploads", {"filename": filename, "purpose": purpose,
                                                 "bytes": size, "mime_type": "text/jsonl", **more})

    def part(self, upload, data, filename="part", connection=None, **options):
        kind, body = multipart([("data", filename, data)], **options)
        return self.request("POST", f"/uploads/{upload}/parts", body, {"Content-Type": kind},
                            connection)

    def complete(self, upload, parts, md5=None):
        body = {"part_ids": parts}
        if md5 is not None:
            body["md5"] = md5
        return self.request("POST", f"/uploads/{upload}/complete", body)

    def cancel(self, upload):
        return self.request("POST", f"/uploads/{upload}/cancel")

    def publish(self, *parts, filename="f.jsonl", purpose="fine-tune", **more):
        """A File made of these Parts; returns the object."""
        upload = self.create(sum(map(len, parts)), filename, purpose, **more).json["id"]
        ids = [self.part(upload, data).json["id"] for data in parts]
        reply = self.complete(upload, ids)
        assert reply.status == 200, reply.body
        return reply.json["file"]

    def content(self, file_id, headers=None):
        return self.request("GET", f"/files/{file_id}/content", headers=headers)


@pytest.fixture
def make_server(tmp_path):
    """Starts servers, each in a directory of its own, and ends them all."""
    servers = []

    def make(*args, key=None, start=True):
        directory = tmp_path / f"server{len(servers)}"
        directory.mkdir()
        server = Server(directory, key)
        servers.append(server)
        return server.start(*args) if start else server

    yield make
    try:
        for server in servers:
            server.stop()
    finally:
        for server in servers:
            server.abandon()


@pytest.fixture
def server(make_server):
    return make_server()
