"""Every endpoint's replies, good and bad, against schemas of what the published descriptions say."""
import copy
import json
import pathlib

import jsonschema
import pytest

from conftest import MIB, multipart, wait_until

SCHEMAS = {path.stem: json.loads(path.read_text())
           for path in (pathlib.Path(__file__).parent / "schemas").glob("*.json")}
KEY = "sk-test-0123456789abcdef"
OPS = {"create": "upload", "part": "part", "complete": "upload", "cancel": "upload", "list": "list",
       "get": "file", "delete": "deleted", "content": None, "upload_file": "file"}
# The server's flavor, the path, the query, and the schema.
SERVICES = {
    "openai": ("openai", "/v1", "", "openai"),
    "azure": ("azure", "/openai/v1", "", "azure"),
    "azure-dated": ("azure", "/openai", "api-version=2024-10-21", "azure"),
    "sequential": ("sequential", "/v1", "", "openai"),
}


def check(schema, kind, value):
    rules = SCHEMAS[schema]
    jsonschema.Draft7Validator({"definitions": rules["definitions"],
                                "$ref": f"#/definitions/{kind}"}).validate(value)


class Service:
    """Asks a server by the paths of one service; every reply is held against the schema."""

    def __init__(self, make_server, name):
        flavor, prefix, self.query, self.schema = SERVICES[name]
        self.server = make_server("--flavor", flavor, key=KEY)
        self.server.prefix, self.name = prefix, name
        self.azure = self.schema == "azure"

    def ask(self, op, method, path, body=None, headers=None, status=None):
        """status None: the documented one of success. Returns the reply's JSON or bytes."""
        auth = {"api-key": KEY} if self.azure else {"Authorization": "Bearer " + KEY}
        if self.query:
            path += ("&" if "?" in path else "?") + self.query
        reply = self.server.request(method, path, body, {**auth, **(headers or {})})
        made = self.name == "azure-dated" and op == "upload_file"
        if status is None:
            assert reply.status in ((201,) if made else (200, 206)), reply.body
        else:
            assert reply.status == status, reply.body
        kind = "error" if status else OPS[op]
        if kind:
            assert reply.headers["Content-Type"] == "application/json"
            check(self.schema, kind, reply.json)
        assert reply.headers["x-request-id"]
        return reply.json if kind else reply.body

    def create(self, size=4, status=None, **more):
        spec = {"filename": "f.jsonl", "purpose": "fine-tune", "bytes": size,
                "mime_type": "text/jsonl", **more}
        return self.ask("create", "POST", "/uploads", {k: v for k, v in spec.items() if v is not None},
                        status=status)

    def form(self, op, path, *fields, status=None):
        kind, body = multipart(fields)
        return self.ask(op, "POST", path, body, {"Content-Type": kind}, status)

    def part(self, upload, data=b"data", status=None):
        return self.form("part", f"/uploads/{upload}/parts", ("data", "part", data), status=status)

    def complete(self, upload, parts, status=None, **more):
        return self.ask("complete", "POST", f"/uploads/{upload}/complete", {"part_ids": parts, **more},
                        status=status)

    def cancel(self, upload, status=None):
        return self.ask("cancel", "POST", f"/uploads/{upload}/cancel", status=status)

    def upload_file(self, *more, purpose=b"fine-tune", status=None):
        return self.form("upload_file", "/files", ("purpose", None, purpose),
                         ("file", "g.jsonl", b"{}\n"), *more, status=status)

    def get(self, path, op="get", **more):
        return self.ask(op, "GET", path, **more)

    def publish(self, data=b"data", **more):
        upload = self.create(len(data), **more)["id"]
        return self.complete(upload, [self.part(upload, data)["id"]])["file"]


@pytest.fixture(params=SERVICES)
def service(make_server, request):
    return Service(make_server, request.param)


def succeed(service):
    """Each operation, in each form that gives a reply of its own."""
    service.get("/files", "list")
    upload = service.create()
    assert upload["status"] == "pending"
    assert service.cancel(upload["id"])["status"] == "cancelled"
    service.create(0, expires_after={"anchor": "created_at", "seconds": 3600})
    file = service.publish()
    expiring = service.publish(purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert expiring["expires_at"] == expiring["created_at"] + 3600
    service.publish(purpose="batch")
    whole = service.upload_file()
    service.upload_file(("expires_after", None, b'{"anchor": "created_at", "seconds": 3600}'))
    service.upload_file(purpose=b"batch")
    for thing in (file, expiring, whole):
        service.get("/files/" + thing["id"])
    for query, count in (("", 6), ("?limit=2", 2), ("?limit=2&order=asc", 2), ("?purpose=batch", 3),
                         ("?purpose=evals", 0), ("?after=" + whole["id"], 3)):
        page = service.get("/files" + query, "list")
        assert len(page["data"]) == count
    assert service.get(f"/files/{file['id']}/content", "content") == b"data"
    assert service.get(f"/files/{file['id']}/content", "content",
                       headers={"Range": "bytes=1-2"}) == b"at"
    assert service.ask("delete", "DELETE", "/files/" + whole["id"])["id"] == whole["id"]


def refuse_bodies(service):
    upload = service.create()["id"]
    for change in ({"purpose": "x"}, {"bytes": None}, {"colour": 1}, {"bytes": 10**10},
                   {"expires_after": {"anchor": "created_at", "seconds": 1}}):
        service.create(status=400, **change)
    for body in ("{", "[]", ""):
        service.ask("create", "POST", "/uploads", body, status=400)
    service.ask("create", "POST", "/uploads", b"[" + b" " * MIB + b"]", status=413)
    parts = f"/uploads/{upload}/parts"
    service.ask("part", "POST", parts, "x", {"Content-Type": "text/plain"}, 400)
    service.form("part", parts, ("date", "p", b"data"), status=400)
    service.form("part", parts, ("data", "p", b""), status=400)
    service.form("part", parts, ("data", "p", b"x"), ("data", "p", b"y"), status=400)
    part = service.part(upload)["id"]
    for parts, more in (([], {}), (["part_x"], {}), ([part, part], {}), ([7], {}), ([part], {"x": 1}),
                        ([part], {"md5": "0" * 32}), ([part], {"md5": "x"})):
        service.complete(upload, parts, status=400, **more)
    service.complete(service.create(5)["id"], [part], status=400)
    service.upload_file(purpose=b"x", status=400)
    service.upload_file(("colour", None, b"red"), status=400)
    service.form("upload_file", "/files", ("purpose", None, b"batch"), status=400)
    for query in ("?limit=0", "?limit=x", "?order=up"):
        service.get("/files" + query, "list", status=400)


def refuse_objects(service):
    """Those that are not there, or not in the state that is needed."""
    done, gone = service.create()["id"], service.create()["id"]
    part = service.part(done)["id"]
    file = service.complete(done, [part])["file"]["id"]
    service.cancel(gone)
    for upload, status in ((done, 400), (gone, 400), ("upload_x", 404)):
        service.part(upload, status=status)
        service.complete(upload, [part], status=status)
        service.cancel(upload, status=status)
    service.get("/files/file-x", status=404)
    service.get("/files/file-x/content", "content", status=404)
    service.get("/files?after=file-x", "list", status=404)
    service.ask("delete", "DELETE", "/files/file-x", status=404)
    service.get(f"/files/{file}/content", "content", headers={"Range": "bytes=9-"}, status=416)
    service.get(f"/files/{service.publish(purpose='assistants')['id']}/content", "content",
                status=400)


def refuse_requests(service):
    """By any rule or key, at each endpoint; and paths and methods that there are not."""
    upload, file = service.create()["id"], service.publish()["id"]
    kind, body = multipart([("data", "p", b"data")])
    requests = {
        "create": ("POST", "/uploads"), "part": ("POST", f"/uploads/{upload}/parts"),
        "complete": ("POST", f"/uploads/{upload}/complete"),
        "cancel": ("POST", f"/uploads/{upload}/cancel"), "list": ("GET", "/files"),
        "get": ("GET", f"/files/{file}"), "delete": ("DELETE", f"/files/{file}"),
        "content": ("GET", f"/files/{file}/content"), "upload_file": ("POST", "/files"),
    }
    assert set(requests) == set(OPS)
    for op, (method, path) in requests.items():
        headers = {"Content-Type": kind} if op == "part" else {}
        sent = body if op == "part" else None
        for status in (429, 500, 503, 507):
            service.server.faults({"op": op, "action": "status", "status": status})
            service.ask(op, method, path, sent, headers, status)
        service.server.faults()
        wrong = {"api-key": "x"} if service.azure else {"Authorization": "Bearer x"}
        service.ask(op, method, path, sent, {**headers, **wrong}, 401)
        service.ask(op, "PUT", path, status=405)
    service.get("/nothing", status=404)
    service.get("/uploads/" + upload, status=404)


def test_replies(service):
    for part in (succeed, refuse_bodies, refuse_objects, refuse_requests):
        part(service)
    # The test is one only if each endpoint answered both ways.
    seen = {(x["op"], x["status"] < 300) for x in service.server.journal()}
    assert {(op, good) for op in OPS for good in (True, False)} <= seen


def test_expired_upload(make_server):
    server = make_server("--upload-ttl", "1")
    upload = server.create(4).json
    check("openai", "upload", upload)
    wait_until(lambda: server.list()["uploads"][0]["status"] == "expired", "it has expired")
    for reply in (server.cancel(upload["id"]), server.part(upload["id"], b"data"),
                  server.complete(upload["id"], ["part_x"])):
        assert reply.status == 400 and "expired" in reply.json["error"]["message"]
        check("openai", "error", reply.json)


def test_foreign_origin(server):
    reply = server.request("GET", "/files", headers={"Origin": "https://example.com"})
    assert reply.status == 403
    check("openai", "error", reply.json)


def test_without_nulls(server):
    """A File without the members that the description does not require is one, too."""
    file = server.publish(b"data")
    server.faults({"op": "get", "action": "leave_out"})
    bare = server.request("GET", "/files/" + file["id"]).json
    assert "expires_at" not in bare and "status_details" not in bare
    check("openai", "file", bare)


@pytest.mark.parametrize("service", ["openai", "azure"], indirect=True)
def test_schemas_refuse(service):
    """They say no to a reply that lacks a member, or has one of another type or one too many."""
    upload = service.create()
    part = service.part(upload["id"])
    done = service.complete(upload["id"], [part["id"]])
    file = service.get("/files/" + done["file"]["id"])
    error = service.get("/files/file-x", status=404)
    page = service.get("/files", "list")
    for kind, value in (("upload", upload), ("part", part), ("upload", done), ("file", file),
                        ("list", page), ("error", error), ("error", error["error"])):
        inner = kind == "error" and "error" not in value
        wrap = (lambda x: {"error": x}) if inner else (lambda x: x)
        check(service.schema, kind, wrap(value))
        required = SCHEMAS[service.schema]["definitions"][kind]
        required = (required["properties"]["error"] if inner else required)["required"]
        for name in required:
            for change in ("gone", "typed"):
                bad = copy.deepcopy(value)
                if change == "gone":
                    del bad[name]
                else:
                    bad[name] = ["of another type"]
                with pytest.raises(jsonschema.ValidationError):
                    check(service.schema, kind, wrap(bad))
        if kind != "list":
            with pytest.raises(jsonschema.ValidationError):
                check(service.schema, kind, wrap({**value, "extra": 1}))
    with pytest.raises(jsonschema.ValidationError):
        check(service.schema, "upload", {k: v for k, v in done.items() if k != "file"})
