"""
Odd: a service of Uploads and Files in the test's memory that answers as it is told.

Each request does its work first. Then twist[op], if there is one, gets the reply
(status, object) and the number of the request of its kind, from 0 on, and returns
what is sent: an object, bytes, (status, headers, bytes), or DROP for none at all.
"""
import http.server
import json
import secrets
import threading
import time
import urllib.parse

DROP = object()


class Odd:
    """A server on a thread of the test; close() ends it."""

    def __init__(self, new_id=None):
        self.lock = threading.Lock()
        self.new_id = new_id or (lambda kind: f"{kind}-{secrets.token_hex(8)}")
        self.made, self.uploads, self.parts = [], {}, {}  # made: Files, oldest first, with content
        self.deleted, self.asked = [], []  # ids; (op, path with its query)
        self.twist = {}
        self.raw = {}  # op -> all bytes of the reply
        self.now = time.time
        handler = type("Handler", (_Handler,), {"odd": self})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": .05})
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def count(self, op):
        with self.lock:
            return sum(x == op for x, _ in self.asked)

    def add(self, filename, content, purpose="batch", **more):
        """A File of somebody else; its object."""
        with self.lock:
            made = {"id": self.new_id("file"), "object": "file", "purpose": purpose,
                    "filename": filename, "bytes": len(content), "created_at": int(self.now()),
                    "expires_at": None, "status": "processed", **more}
            self.made.append((made, content))
            return made

    # ---- what each endpoint does; returns status and object ----

    def create(self, body):
        wish = json.loads(body)
        with self.lock:
            up = {"id": self.new_id("upload"), "object": "upload", "bytes": wish["bytes"],
                  "created_at": int(self.now()), "filename": wish["filename"],
                  "purpose": wish["purpose"], "status": "pending",
                  "expires_at": int(self.now()) + 3600}
            self.uploads[up["id"]] = up
        return 200, up

    def part(self, upload_id, body):
        boundary = body[:body.index(b"\r\n")]
        data = body[body.index(b"\r\n\r\n") + 4:body.rindex(b"\r\n" + boundary)]
        with self.lock:
            if upload_id not in self.uploads:
                return missing()
            part = {"id": self.new_id("part"), "object": "upload.part",
                    "created_at": int(self.now()), "upload_id": upload_id}
            self.parts[part["id"]] = data
        return 200, part

    def complete(self, upload_id, body):
        """Not idempotent: a File each time."""
        wish = json.loads(body)
        with self.lock:
            up = self.uploads.get(upload_id)
            if not up or any(x not in self.parts for x in wish["part_ids"]):
                return missing()
            content = b"".join(self.parts[x] for x in wish["part_ids"])
        made = self.add(up["filename"], content, up["purpose"], created_at=up["created_at"])
        return 200, {**up, "status": "completed", "file": made}

    def cancel(self, upload_id):
        with self.lock:
            up = self.uploads.get(upload_id)
            return (200, {**up, "status": "cancelled"}) if up else missing()

    def listing(self, query):
        with self.lock:
            files = [x for x, _ in self.made if query.get("purpose") in (None, x["purpose"])][::-1]
        if "after" in query:
            ids = [x["id"] for x in files]
            if query["after"] not in ids:
                return missing()
            files = files[ids.index(query["after"]) + 1:]
        page = files[:int(query.get("limit", 10000))]
        return 200, {"object": "list", "data": page, "has_more": len(page) < len(files),
                     "last_id": page[-1]["id"] if page else None}

    def get(self, file_id):
        with self.lock:
            return next(((200, x) for x, _ in self.made if x["id"] == file_id), missing())

    def content(self, file_id):
        with self.lock:
            return next(((200, c) for x, c in self.made if x["id"] == file_id), missing())

    def delete(self, file_id):
        with self.lock:
            found = [x for x in self.made if x[0]["id"] == file_id]
            self.made = [x for x in self.made if x[0]["id"] != file_id]
            self.deleted += [file_id for _ in found]
        return (200, {"object": "file", "deleted": True, "id": file_id}) if found else missing()


def missing():
    return 404, {"error": {"message": "No such object", "type": "invalid_request_error",
                           "param": "id", "code": None}}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    odd = None

    def log_message(self, format, *args):  # noqa: A002: the name of the base class
        pass

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def serve(self, op, func, *args):
        odd = self.odd
        with odd.lock:
            nth = sum(x == op for x, _ in odd.asked)
            odd.asked.append((op, self.path))
        if op in odd.raw:
            self.wfile.write(odd.raw[op])
            self.close_connection = True
            return
        status, reply = func(*args)
        if op in odd.twist and status == 200:
            reply = odd.twist[op](reply, nth)
        headers = {}
        if reply is DROP:
            self.close_connection = True
            return
        if isinstance(reply, tuple):
            status, headers, reply = reply
        if not isinstance(reply, bytes):
            reply = json.dumps(reply).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(reply)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply)

    def words(self):
        path, _, query = self.path.partition("?")
        return ([urllib.parse.unquote(x) for x in path.split("/")[2:]],
                dict(urllib.parse.parse_qsl(query)))

    def do_GET(self):  # noqa: N802
        words, query = self.words()
        if len(words) == 1:
            self.serve("list", self.odd.listing, query)
        elif len(words) == 2:
            self.serve("get", self.odd.get, words[1])
        else:
            self.serve("content", self.odd.content, words[1])

    def do_DELETE(self):  # noqa: N802
        self.serve("delete", self.odd.delete, self.words()[0][1])

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        words, _ = self.words()
        if len(words) == 1:
            self.serve("create", self.odd.create, body)
        elif words[2] == "parts":
            self.serve("part", self.odd.part, words[1], body)
        elif words[2] == "complete":
            self.serve("complete", self.odd.complete, words[1], body)
        else:
            self.serve("cancel", self.odd.cancel, words[1])
