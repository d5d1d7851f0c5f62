"""
Accounts that uploads-server would not make: Files with any name, in any number.

Account is a small server of the Files API with everything in memory: lists,
contents and deletions, nothing else. Filler writes Files into the store of an
uploads-server that does not run.
"""
import http.server
import json
import operator
import os
import re
import secrets
import threading
import urllib.parse
import urllib.request

from harness import DEADLINE


def post_file(server, filename, content, purpose="batch"):
    """POST /files, as somebody without a mount would; the File's ID."""
    body = (f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--b\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: text/plain\r\n\r\n").encode() + content + b"\r\n--b--\r\n"
    request = urllib.request.Request(server.url + "/files", body, {
        "Authorization": f"Bearer {server.key}", "Content-Type": "multipart/form-data; boundary=b"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
        return json.load(reply)["id"]


def delete_file(server, file_id):
    """DELETE /files/{id}, likewise."""
    request = urllib.request.Request(f"{server.url}/files/{file_id}", method="DELETE",
                                     headers={"Authorization": f"Bearer {server.key}"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
        assert json.load(reply)["deleted"]


class Filler:
    """
    Adds Files without content to the store of a server that does not run, newest
    first: the first one was made at newest (seconds since 1970), each further one
    a second earlier.
    """

    def __init__(self, server, newest):
        assert not server.alive()
        self.dir = os.open(os.path.join(server.dir, "files"), os.O_RDONLY | os.O_DIRECTORY)
        self.tail = secrets.token_hex(12)
        self.time = newest
        self.count = 0

    def add(self, filename, purpose="batch"):
        """The ID of a File that is older than all that were added before."""
        file_id = f"file-{self.count:08x}{self.tail}"
        text = (f'{{"id":"{file_id}","data":"{file_id}","upload_id":"","filename":"{filename}",'
                f'"purpose":"{purpose}","bytes":0,"created_at":{self.time - self.count},'
                f'"expires_at":0,"seq":{(1 << 30) - self.count},"parts":[]}}')
        fd = os.open(file_id + ".json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600,
                     dir_fd=self.dir)
        os.write(fd, text.encode())
        os.close(fd)
        self.count += 1
        return file_id

    def close(self):
        os.close(self.dir)


CREATED_AT = operator.itemgetter("created_at")


class Account:
    """A server on a thread of the test; close() ends it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.files = []  # oldest first: dicts of id, created_at, purpose, json, content
        self.pages = []  # how many Files each page had that was handed out
        self.deleted = []  # IDs, in the order of their deletion
        self.page_max = 10000  # Files on a page, however many are asked for
        self.asked = 0  # requests for a page that arrived
        self.hold_from = None  # the number of the first one that waits for go
        self.early = False  # whether a page is made before it waits
        self.made = 0  # pages made
        self.lose = 0  # Files to delete from the end of each page, but of the last, once it is made
        self.ranges = False  # whether Range is honoured
        self.totals = {}  # File ID: the size that a 206 says the File has, if not its own
        self.served = []  # (File ID, first byte, bytes) of each content
        self.go = threading.Event()
        self.tail = secrets.token_hex(12)
        handler = type("Handler", (_Handler,), {"account": self})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": .05})
        self.thread.start()

    def add(self, filename, content=b"", purpose="batch", created_at=None, raw=None, file_id=None):
        """
        The ID of a File newer than all before. raw: the name as the JSON of a list
        has it, with its quotes, for names that json.dumps() can't make.
        """
        with self.lock:
            count = len(self.files) + len(self.deleted)
            file_id = f"file-{count:08x}{self.tail}" if file_id is None else file_id
            made = 1700000000 + count if created_at is None else created_at
            name = json.dumps(filename).encode() if raw is None else raw
            text = (b'{"id":%s,"object":"file","purpose":"%s","bytes":%d,"created_at":%d,'
                    b'"expires_at":null,"status":"processed","filename":%s}'
                    % (json.dumps(file_id).encode(), purpose.encode(), len(content), made, name))
            self.files.append({"id": file_id, "created_at": made, "purpose": purpose,
                               "json": text, "content": content})
        return file_id

    def change(self, file_id, old, new):
        """Replaces old by new in the JSON of the File."""
        with self.lock:
            found = next(x for x in self.files if x["id"] == file_id)
            assert old in found["json"]
            found["json"] = found["json"].replace(old, new)

    def close(self):
        self.go.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def arrived(self):
        """Counts a request for a page. Returns what waits until it may be answered."""
        with self.lock:
            self.asked += 1
            held = self.hold_from and self.asked >= self.hold_from
        return (lambda: self.go.wait(DEADLINE)) if held else (lambda: None)

    # ---- what the handler asks, each with the lock ----

    def page(self, query):
        """The body of a list, or None when the File of `after` is not there."""
        with self.lock:
            want = query.get("purpose")
            files = [x for x in self.files if x["purpose"] == want] if want else self.files[:]
            files.sort(key=CREATED_AT)  # stable: the later of two is the newer
            if query.get("order", "desc") == "desc":
                files.reverse()
            if "after" in query:
                at = next((n for n, x in enumerate(files) if x["id"] == query["after"]), None)
                if at is None:
                    return None
                files = files[at + 1:]
            limit = min(int(query.get("limit", 10000)), self.page_max)
            page = files[:limit]
            self.pages.append(len(page))
            last = json.dumps(page[-1]["id"]).encode() if page else b"null"
            if self.lose and len(files) > limit:
                gone = {x["id"] for x in page[-self.lose:]}
                self.files = [x for x in self.files if x["id"] not in gone]
                self.deleted += sorted(gone)
            return (b'{"object":"list","has_more":%s,"last_id":%s,"data":[%s]}'
                    % (b"true" if len(files) > limit else b"false", last,
                       b",".join(x["json"] for x in page)))

    def find(self, file_id):
        with self.lock:
            return next((x for x in self.files if x["id"] == file_id), None)

    def remove(self, file_id):
        with self.lock:
            found = [x for x in self.files if x["id"] == file_id]
            self.files = [x for x in self.files if x["id"] != file_id]
            self.deleted += [x["id"] for x in found]
            return bool(found)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply in one piece: in two, the second waits for an ACK
    account = None

    def log_message(self, format, *args):  # noqa: A002: the name of the base class
        pass

    def answer(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def missing(self):
        self.answer(404, b'{"error":{"message":"No such File object","type":"invalid_request_error",'
                         b'"param":"id","code":null}}')

    def do_GET(self):  # noqa: N802
        path, _, query = self.path.partition("?")
        words = [urllib.parse.unquote(x) for x in path.split("/")[2:]]
        if words == ["files"]:
            wait = self.account.arrived()
            if not self.account.early:
                wait()
            body = self.account.page(dict(urllib.parse.parse_qsl(query)))
            self.account.made += 1
            wait()
            self.missing() if body is None else self.answer(200, body)
            return
        found = self.account.find(words[1]) if words[0] == "files" else None
        if not found:
            self.missing()
        elif len(words) == 3 and words[2] == "content":
            self.content(found)
        else:
            self.answer(200, found["json"])

    def content(self, found):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        data, first, status = found["content"], 0, 200
        if wanted and self.account.ranges:
            first, status = int(wanted.group(1)), 206
            data = data[first:int(wanted.group(2) or len(data)) + 1]
        self.account.served.append((found["id"], first, len(data)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if status == 206:
            total = self.account.totals.get(found["id"], len(found["content"]))
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{total}")
        self.end_headers()
        self.wfile.write(data)

    def do_DELETE(self):  # noqa: N802
        file_id = urllib.parse.unquote(self.path.split("/")[3])
        if self.account.remove(file_id):
            self.answer(200, b'{"object":"file","deleted":true,"id":%s}'
                        % json.dumps(file_id).encode())
        else:
            self.missing()

    def do_POST(self):  # noqa: N802
        """Nothing is made here."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(400, b'{"error":{"message":"read-only","type":"invalid_request_error"}}')
