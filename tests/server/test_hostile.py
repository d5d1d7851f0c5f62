"""Requests made up at random, as another user of the host could send: an answer of the API, or none."""
import json
import random
import re
import socket

import jsonschema
import pytest

from conftest import wait_until
from test_schemas import SCHEMAS

REQUESTS = 1500
WORDS = [b"%00", b"..", b"%2e%2e%2f", b"/", b"//", b"\xff", b"%", b"?", b"limit=1", b"after=", b"A" * 200,
         b"A" * 3000, b"upload_", b"file-", b"{", b"}", b"[", b"null", b'"', b"1e999", b"-1", b"9" * 30,
         b"\r\n", b"\0", b"expires_after[seconds]", b"%zz", b"Content-Length: 5\r\n", b"--b", b"--b--",
         b"\r\n--b\r\n", "ü".encode()]
RANGES = ["0-1", "-0", "-5", "1-", "9999-", "0-0,1-1", "3-1", "18446744073709551615-18446744073709551615",
          "0-18446744073709551616", "-18446744073709551616", " 1-2", "1--2", "", "x"]
ENDS = [{"anchor": "created_at", "seconds": 3600}, {"anchor": "created_at", "seconds": 2**60},
        {"anchor": 1, "seconds": []}, [], "x", None, {"a" * 300: 1}]


class Attacker:
    def __init__(self, server, base, schema, seed):
        self.server, self.base, self.chance = server, base, random.Random(seed)
        self.errors = jsonschema.Draft7Validator({**SCHEMAS[schema], "$ref": "#/definitions/error"})
        self.ids = {"upload": [], "upload.part": [], "file": []}

    def id(self, kind):
        known = self.ids[kind][-40:]
        if known and self.chance.random() < 0.8:
            return self.chance.choice(known)
        return self.chance.choice(["upload_" + "0" * 32, "file-x", "..", "x" * 127, "x" * 128])

    def mutate(self, data, share):
        data, chance = bytearray(data), self.chance
        while chance.random() < share:
            at = chance.randrange(len(data) + 1)
            data[at:at + chance.randrange(6)] = chance.choice(
                [b"", chance.choice(WORDS), bytes(chance.randrange(256) for _ in range(9))])
        return bytes(data)

    def form(self, *fields):
        body = b""
        for name, filename, data in fields:
            shown = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
            body += f"--b\r\nContent-Disposition: {shown}\r\n\r\n".encode() + data + b"\r\n"
        kind = self.chance.choice(["b", "b", "b", '"b"', "x", "", "b" * 300])
        return body + b"--b--\r\n", f"multipart/form-data; boundary={kind}"

    def create(self):
        pick = self.chance.choice
        spec = {"filename": pick(["a", "b/c", "ü", "\0", "x" * 17000]), "mime_type": "text/plain",
                "purpose": pick(["fine-tune", "fine-tune", "batch", "none"]),
                "bytes": pick([4, 4, 4, 0, 8, 10**10, 2**53, -1, 1.5, "4"])}
        if self.chance.random() < 0.3:
            spec["expires_after"] = pick(ENDS)
        return "POST", "/uploads", json.dumps(spec).encode(), "application/json"

    def part(self):
        fields = self.chance.choice([[("data", "p", b"data")], [("data", None, b"data" * 100)],
                                     [("data", "p", b"")], [("dat", "p", b"x")],
                                     [("data", "p", b"data"), ("data", "q", b"more")]])
        return ("POST", f"/uploads/{self.id('upload')}/parts", *self.form(*fields))

    def complete(self):
        ids = [self.id("upload.part") for _ in range(self.chance.choice([1, 1, 1, 2, 3]))]
        path = f"/uploads/{self.id('upload')}/complete"
        if self.chance.random() < 0.3:
            body = "&".join("part_ids=" + x for x in ids) + self.chance.choice(["", "&md5=%zz", "&&&="])
            return "POST", path, body.encode(), "application/x-www-form-urlencoded"
        ids = self.chance.choice([ids, ids, ids, "x", [1], [[]], None])
        return "POST", path, json.dumps({"part_ids": ids}).encode(), "application/json"

    def cancel(self):
        return "POST", f"/uploads/{self.id('upload')}/cancel", b"", ""

    def upload_file(self):
        pick = self.chance.choice
        fields = [("purpose", None, pick([b"fine-tune"] * 4 + [b"x", b"y" * 2000])),
                  ("file", pick(["a", "b", "", None, "x" * 17000, "..", 'a\\"b']), b"bytes" * 50),
                  ("expires_after", None, pick([b'{"anchor":"created_at","seconds":3600}', b"[" * 99])),
                  ("expires_after[seconds]", None, b"3600"), ("zzz", None, b"")]
        fields = fields[pick([0] * 9 + [1]):2] + self.chance.sample(fields[2:], pick([0, 0, 0, 1, 3]))
        return ("POST", "/files", *self.form(*fields))

    def look(self):
        path = self.chance.choice([f"/files/{self.id('file')}", f"/files/{self.id('file')}/content",
                                   "/files?limit=2&order=asc", "/files?limit=99999999999999999999",
                                   f"/files?after={self.id('file')}", "/files?purpose=%00&limit&="])
        return self.chance.choice(["GET", "GET", "GET", "GET", "DELETE", "PUT", "X" * 50]), path, b"", ""

    def request(self):
        method, path, body, kind = self.chance.choice(
            [self.create, self.part, self.part, self.complete, self.cancel, self.upload_file,
             self.look, self.look])()
        base = self.base
        if base != "/v1" and self.chance.random() < 0.5:
            base, path = "/openai", path + ("&" if "?" in path else "?") + "api-version=2024-10-21"
        body = self.mutate(body, 0.15)
        heads = ["Host: localhost", "api-key: x", "Connection: close"]
        heads += [f"Content-Type: {kind}"] if kind else []
        if self.chance.random() < 0.2:
            heads.append("Range: bytes=" + self.chance.choice(RANGES))
        if self.chance.random() < 0.2:
            heads.append("Transfer-Encoding: chunked")
            half = len(body) // 2
            body = b"".join(b"%x\r\n%s\r\n" % (len(x), x) for x in (body[:half], body[half:]) if x)
            body += b"0\r\n\r\n"
        else:
            heads.append("Content-Length: " + self.chance.choice([str(len(body))] * 20 + ["-1", "9" * 20]))
        start = f"{method} ".encode() + self.mutate((base + path).encode(), 0.05) + b" HTTP/1.1\r\n"
        head = "\r\n".join(self.chance.sample(heads, len(heads))).encode()
        return self.mutate(start + head, 0.03) + b"\r\n\r\n" + body

    def send(self, data):
        """All that comes back."""
        answer = b""
        with self.server.socket() as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while piece := sock.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
        return answer

    def attack(self):
        """Sends one; returns the status, or 0 if there was no whole answer of the API."""
        answer = self.send(self.request())
        while answer.startswith(b"HTTP/1.1 100"):
            answer = answer.partition(b"\r\n\r\n")[2]
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int((re.match(rb"HTTP/1\.[01] (\d+)", head) or [0, 0])[1])
        # Bytes behind the request are another one, which libmicrohttpd answers itself.
        if b"application/json" not in head or b"HTTP/1." in body:
            return 0
        assert status < 500, answer
        value = json.loads(body)
        if status >= 400:
            self.errors.validate(value)
        elif value.get("object") in self.ids and "deleted" not in value:
            self.ids[value["object"]].append(value["id"])
            self.ids["file"] += [value["file"]["id"]] if "file" in value else []
        return status


@pytest.mark.parametrize("flavor, base, schema", [("openai", "/v1", "openai"),
                                                  ("azure", "/openai/v1", "azure")])
def test_made_up_requests(make_server, flavor, base, schema):
    server = make_server("--flavor", flavor)
    attacker = Attacker(server, base, schema, seed=flavor)
    seen = [attacker.attack() for _ in range(REQUESTS)]
    # It is a test only if some got through.
    assert {200, 400, 404} <= set(seen) and attacker.ids["file"]
    headers = {"api-key": "x"}
    known = server.request("GET", "/files", headers=headers).json["data"]
    for file in known:
        assert len(server.content(file["id"], headers).body) == file["bytes"]
    # What was begun and not finished is gone, and everything kept has an owner.
    wait_until(lambda: not list(server.dir.rglob("*.tmp")), "no half Part")
    kept = server.list()
    owners = {x["upload_id"] or x["id"] for x in kept["files"]} | \
        {x["id"] for x in kept["uploads"] if x["status"] == "pending"}
    wait_until(lambda: {x.name for x in server.dir.glob("data/*")} == owners, "only owned data")
    assert {x.name for x in server.dir.iterdir()} == {"data", "files", "lock", "uploads"}
