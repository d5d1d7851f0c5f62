"""
Rows about what uploadfs, s3fs and rclone cost over a raw upload, each to a server that keeps
the bytes: the ratios can be compared, the times cannot, as the servers differ.
"""
import json
import os
import socket

from harness import GIB, md5, run
from lab import raw_create, raw_parts, took
from table import Row
from writing import Copies


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Own:
    """uploads-server, as users run it."""

    def __init__(self, lab, source):
        self.lab, self.source = lab, source
        self.server = lab.store()
        self.copies = Copies(lab, source, self.server)
        self.md5 = md5(source)
        self.replies = lab.directory("replies")

    def copy(self):
        return self.copies.cp().wall

    def raw(self):
        """The same Parts over as many connections, and complete with an MD5 that is known."""
        upload = raw_create(self.server, self.source)
        parts = raw_parts(self.lab, self.server, self.source, upload=upload, replies=self.replies)
        ids = []
        for nr in range(len(os.listdir(self.replies))):
            with open(os.path.join(self.replies, str(nr)), encoding="ascii") as f:
                ids.append(json.load(f)["id"])
        reply = os.path.join(self.replies, "complete")
        complete = took(["curl", "-sS", "-f", "-o", reply, "-H", "Content-Type: application/json",
                         "-d", json.dumps({"part_ids": ids, "md5": self.md5}),
                         f"{self.server.url}/uploads/{upload}/complete"])
        with open(reply, encoding="ascii") as f:
            file_id = json.load(f)["file"]["id"]
        os.unlink(reply)
        run(["curl", "-sS", "-f", "-o", os.devnull, "-X", "DELETE",
             f"{self.server.url}/files/{file_id}"])
        return (parts + complete).wall


class Other:
    """A server that takes a PUT, and a mount of it."""

    def __init__(self, source, mnt, url):
        self.source, self.mnt, self.url = source, mnt, url
        self.path, self.object = os.path.join(mnt, "copy"), url + "/raw"

    def copy(self):
        wall = took(["cp", self.source, self.path]).wall
        os.unlink(self.path)
        return wall

    def raw(self):
        wall = took(["curl", "-sS", "-f", "-o", os.devnull, "-H", "Expect:", "-T", self.source,
                     self.object]).wall
        run(["curl", "-sS", "-f", "-X", "DELETE", self.object])
        return wall


def s3fs(lab, source):
    port, store, mnt = free_port(), lab.directory("s3"), lab.directory("s3fs")
    script = os.path.join(lab.npm, "node_modules", "s3rver", "bin", "s3rver.js")
    lab.other("s3rver", ["node", script, "-d", store, "-p", str(port), "-a", "127.0.0.1", "-s",
                         "--configure-bucket", "bench"]).await_port(port)
    secret = os.path.join(lab.world.dir, "s3fs.passwd")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("S3RVER:S3RVER")
    lab.other("s3fs", ["s3fs", "bench", mnt, "-f", "-o", f"url=http://127.0.0.1:{port}", "-o",
                       "use_path_request_style", "-o", "passwd_file=" + secret],
              mnt=mnt).await_mount()
    return Other(source, mnt, f"http://127.0.0.1:{port}/bench")


def rclone(lab, source):
    port, store, mnt = free_port(), lab.directory("dav"), lab.directory("rclone")
    none = os.path.join(lab.world.dir, "rclone.conf")
    with open(none, "w", encoding="ascii"):
        pass
    base = ["rclone", "--config", none]
    lab.other("webdav", base + ["serve", "webdav", store, "--addr",
                                f"127.0.0.1:{port}"]).await_port(port)
    url = f"http://127.0.0.1:{port}"
    lab.other("rclone", base + ["mount", f":webdav,url='{url}':", mnt], mnt=mnt).await_mount()
    return Other(source, mnt, url)


def over(lab):
    """All three in each turn."""
    source = lab.source(GIB)
    pairs = [Own(lab, source), s3fs(lab, source), rclone(lab, source)]
    for pair in pairs:  # the first time finds nothing prepared
        pair.copy()
    ours, raw = [[] for _ in pairs], [[] for _ in pairs]
    for _ in lab.turns():
        for pair, copies, puts in zip(pairs, ours, raw):
            copies.append(pair.copy())
            puts.append(pair.raw())
    rows = [Row("over-raw", "cp of 1 GiB with uploadfs",
                "four curl with the same Parts and complete with the MD5 that was known, to the same "
                "uploads-server",
                ours[0], raw[0], aim=lambda: min(x.value() for x in rows[1:])),
            Row("over-s3fs", "cp of 1 GiB with s3fs", "one PUT by curl to the same s3rver",
                ours[1], raw[1]),
            Row("over-rclone", "cp of 1 GiB with `rclone mount`",
                "one PUT by curl to the same `rclone serve webdav`", ours[2], raw[2])]
    return rows


ROWS = {"over": over}
