"""Rows about https: a sink behind stunnel, ours and curl's over the same TLS."""
import os
import re
import shutil
import subprocess

from harness import GIB, run, wait_until
from lab import raw_parts, took
from peers import free_port
from table import Row
from writing import Copies, md5

CONFIG = """\
foreground = yes
pid =
[sink]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{sink}
cert = {cert}
key = {key}
"""


class Secure:
    """An uploads-server as it is seen through stunnel."""

    def __init__(self, lab, server):
        self.server = server
        folder = lab.directory("tls")
        self.cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
             self.cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost"])
        port, config = free_port(), os.path.join(folder, "stunnel.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write(CONFIG.format(port=port, sink=server.port, cert=self.cert, key=key))
        self.url = f"https://localhost:{port}/v1"
        self.curl = ["--cacert", self.cert]
        # Debian calls it stunnel4.
        name = "stunnel4" if shutil.which("stunnel4") else "stunnel"
        lab.other("stunnel", [name, config])
        wait_until(self.answers, "stunnel answers")

    def answers(self):
        return not subprocess.run(["curl", "-s", *self.curl, "-o", os.devnull, self.url + "/files"],
                                  check=False).returncode

    def environment(self, key):
        return dict(self.server.environment(key), OPENAI_BASE_URL=self.url)


def cipher(server):
    """The cipher that was agreed on, for the row's text."""
    text = subprocess.run(["curl", "-sv", *server.curl, "-o", os.devnull, server.url + "/files"],
                          stderr=subprocess.PIPE, text=True, check=True).stderr
    return re.search(r"SSL connection using \S+ / (\S+)", text).group(1)


def secure(lab):
    """cp and a cold read."""
    source, size = lab.source(GIB), lab.bytes(GIB)
    server = Secure(lab, lab.sink("--sink-files", f"{2 * lab.reps + 1}:{size}"))
    copies = Copies(lab, source, server, ca_file=server.cert)
    names = sorted(os.listdir(copies.mount.path("batch")))
    last = os.getxattr(copies.mount.path("batch", names[-1]), "user.upload.file_id").decode()
    local = os.path.join(lab.directory("local"), "file")
    copies.cp()
    ours, limit, cold, fetched = [], [], [], []
    for i in lab.turns():
        ours.append(copies.cp().wall)
        limit.append(max(md5(source).wall, raw_parts(lab, server, source).wall))
        cold.append(took(["cat", copies.mount.path("batch", names[i])]).wall)
        fetched.append(took(["curl", "-sS", "-f", *server.curl, "-o", local,
                             f"{server.url}/files/{last}/content"]).wall)
        os.unlink(local)
    what = f"over TLS (stunnel, {cipher(server)})"
    return [Row("tls-cp", f"cp of 1 GiB {what}",
                "the slower of `openssl md5` and four curl with the same Parts", ours, limit, aim=1.10),
            Row("tls-cold", f"cold read of 1 GiB {what}", "curl to a file", cold, fetched, aim=1.10)]


ROWS = {"tls": secure}
