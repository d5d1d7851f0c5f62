"""Rows about what others cost over a raw upload to their own servers."""
import os
import socket

from harness import GIB
from lab import raw_parts, took
from table import Row
from writing import Copies


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def put(source, url):
    return took(["curl", "-sS", "-f", "-o", os.devnull, "-H", "Expect:", "-T", source, url])


def turns(lab, source, mnt, url):
    """cp into a mount, then a raw PUT, in turn."""
    ours, raw = [], []
    for i in lab.turns():
        path = os.path.join(mnt, f"copy{i}")
        ours.append(took(["cp", source, path]).wall)
        os.unlink(path)
        raw.append(put(source, f"{url}/raw{i}").wall)
        took(["curl", "-sS", "-f", "-X", "DELETE", f"{url}/raw{i}"])
    return ours, raw


def own(lab):
    source = lab.source(GIB)
    copies = Copies(lab, source)
    copies.cp()
    ours, raw = [], []
    for _ in lab.turns():
        ours.append(copies.cp().wall)
        raw.append(raw_parts(lab, copies.sink, source).wall)
    return [Row("over-raw", "cp of 1 GiB with uploadfs", "four curl, no MD5, to the same server",
                ours, raw)]


def s3fs(lab):
    source = lab.source(GIB)
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
    ours, raw = turns(lab, source, mnt, f"http://127.0.0.1:{port}/bench")
    return [Row("over-s3fs", "cp of 1 GiB with s3fs", "one PUT by curl to the same s3rver", ours,
                raw)]


def rclone(lab):
    source = lab.source(GIB)
    port, store, mnt = free_port(), lab.directory("dav"), lab.directory("rclone")
    none = os.path.join(lab.world.dir, "rclone.conf")
    with open(none, "w", encoding="ascii"):
        pass
    base = ["rclone", "--config", none]
    lab.other("webdav", base + ["serve", "webdav", store, "--addr",
                                f"127.0.0.1:{port}"]).await_port(port)
    url = f"http://127.0.0.1:{port}"
    lab.other("rclone", base + ["mount", f":webdav,url='{url}':", mnt], mnt=mnt).await_mount()
    ours, raw = turns(lab, source, mnt, url)
    return [Row("over-rclone", "cp of 1 GiB with `rclone mount`",
                "one PUT by curl to the same `rclone serve webdav`", ours, raw)]


ROWS = {"over-raw": own, "over-s3fs": s3fs, "over-rclone": rclone}
