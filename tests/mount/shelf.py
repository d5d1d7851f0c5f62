"""Files put into the store of an uploads-server without sending them."""
import json
import os
import secrets
import time

from harness import MIB


def put(server, **files):
    """
    name=source (purpose batch) or name=(source, purpose): each becomes a File with
    the bytes of source, a path; a hard link, so source must stay as it is. The
    server is started anew. Returns {name: File ID}.
    """
    server.kill()
    ids = {}
    for name, source in files.items():
        path, purpose = (source, "batch") if isinstance(source, str) else source
        ids[name] = _put_one(server, name, path, purpose)
    server.restart()
    return ids


def _put_one(server, name, path, purpose):
    file_id, part_id = "file-" + secrets.token_hex(16), "part_" + secrets.token_hex(16)
    size = os.path.getsize(path)
    os.mkdir(os.path.join(server.dir, "data", file_id))
    os.link(path, os.path.join(server.dir, "data", file_id, part_id))
    record = {"id": file_id, "data": file_id, "upload_id": "", "filename": name,
              "purpose": purpose, "bytes": size, "created_at": int(time.time()), "expires_at": 0,
              "seq": time.time_ns() // 1000, "parts": [{"id": part_id, "bytes": size}]}
    with open(os.path.join(server.dir, "files", file_id + ".json"), "x", encoding="utf-8") as f:
        json.dump(record, f)
    return file_id


def sparse(path, size):
    """A file of size bytes that takes little disk: some bytes of their own in each MiB."""
    with open(path, "wb") as f:
        f.truncate(size)
        for at in range(0, size, MIB):
            f.seek(at + at // MIB % 1000)
            f.write(b"<%d>" % at)
        f.seek(size - 4)
        f.write(b"last")
    return path


def downloads(server, **match):
    """The downloads that have ended, as the journal has them."""
    return server.journal(op="content", **match)


def served(server, **match):
    """Bytes of content that the server has handed out in downloads that have ended."""
    return sum(x["bytes"] for x in downloads(server, **match))
