"""
Networks that a mount has to get through: certificates of an authority of the
test's own, a relay in front of a server (with TLS or without), a proxy.

A Listener is a server on threads of the test; close() ends its connections and
waits for its threads.
"""
import base64
import os
import re
import select
import socket
import ssl
import threading

from harness import DEADLINE, run

BLOCK = 1 << 16
HEAD_MAX = 1 << 16


class Authority:
    """A CA in a directory: ca (the path of its certificate), and certificates made by it."""

    def __init__(self, folder):
        os.mkdir(folder)
        self.dir = folder
        self.ca = self.path("ca.pem")
        self.number = 0
        with open(self.path("ca.cnf"), "w", encoding="ascii") as f:
            f.write(f"[ca]\ndefault_ca=it\n[it]\ndir={folder}\ndatabase=$dir/index\n"
                    "new_certs_dir=$dir\nserial=$dir/serial\ncertificate=$dir/ca.pem\n"
                    "private_key=$dir/ca.key\ndefault_md=sha256\npolicy=any\n"
                    "copy_extensions=copy\nunique_subject=no\n[any]\ncommonName=supplied\n")
        for name, text in (("index", ""), ("serial", "01\n")):
            with open(self.path(name), "w", encoding="ascii") as f:
                f.write(text)
        self._request(["-x509", "-days", "2", "-out", self.ca], "ca.key", "uploadfs test CA")

    def path(self, name):
        return os.path.join(self.dir, name)

    def _request(self, words, key, name):
        run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={name}", "-keyout", self.path(key), *words])

    def context(self, host, expired=False):
        """A server's TLS context with a certificate for host, a name or an address."""
        self.number += 1
        cert, key = self.path(f"{self.number}.crt"), f"{self.number}.key"
        kind = "IP" if re.fullmatch(r"[\d.]+|.*:.*", host) else "DNS"
        self._request(["-addext", f"subjectAltName={kind}:{host}", "-out", cert + ".req"], key,
                      "uploadfs test")
        end = "20200102000000Z" if expired else "20991231000000Z"
        run(["openssl", "ca", "-batch", "-notext", "-config", self.path("ca.cnf"), "-startdate",
             "20200101000000Z", "-enddate", end, "-in", cert + ".req", "-out", cert])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, self.path(key))
        return context

    def client(self, name, both=False):
        """Paths of a client's certificate and key; both: the key stands in the first, too."""
        self.number += 1
        cert, key = self.path(f"{self.number}.crt"), f"{self.number}.key"
        self._request(["-out", cert + ".req"], key, name)
        run(["openssl", "ca", "-batch", "-notext", "-config", self.path("ca.cnf"), "-startdate",
             "20200101000000Z", "-enddate", "20991231000000Z", "-in", cert + ".req", "-out",
             cert])
        if both:
            with open(cert, "a", encoding="ascii") as f, \
                    open(self.path(key), encoding="ascii") as k:
                f.write(k.read())
            os.chmod(cert, 0o600)
        return cert, self.path(key)


class Listener:
    """Calls serve(sock, peer) on a thread for each connection; what it raises ends just that."""

    def __init__(self, host="127.0.0.1"):
        self.lock = threading.Lock()
        self.closing = False
        self.socks, self.threads = set(), []
        self.peers = []  # the address of each client, in the order of connecting
        self.sock = socket.create_server((host, 0))
        self.port = self.sock.getsockname()[1]
        self._thread(self._accept)

    def _thread(self, func, *args):
        thread = threading.Thread(target=func, args=args)
        # As one step: close() joins what it finds there.
        with self.lock:
            thread.start()
            self.threads.append(thread)

    def _accept(self):
        while True:
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.peers.append(peer[0])
            self._thread(self._run, sock, peer)

    def keep(self, sock):
        """close() ends this one, too."""
        with self.lock:
            self.socks.add(sock)
            closing = self.closing
        if closing:
            cut(sock)
        return sock

    def _run(self, sock, peer):
        self.keep(sock)
        try:
            self.serve(sock, peer)
        except (OSError, ValueError):
            pass  # the peer left, or was refused
        finally:
            cut(sock)

    def serve(self, sock, peer):
        raise NotImplementedError

    def connect(self, address):
        return self.keep(socket.create_connection(address, timeout=DEADLINE))

    def count(self, one, source, size):
        """Called for each block of a relay, from one of its two sockets."""

    def relay(self, one, other):
        """Copies both ways until one side ends; on one thread, as a TLS socket is for one only."""
        other.settimeout(None)
        while True:
            waiting = isinstance(one, ssl.SSLSocket) and one.pending()
            ready = [one] if waiting else select.select([one, other], [], [])[0]
            for source in ready:
                block = source.recv(BLOCK)
                if not block:
                    cut(one)
                    cut(other)
                    return
                self.count(one, source, len(block))
                (other if source is one else one).sendall(block)

    def close(self):
        with self.lock:
            self.closing = True
            socks = list(self.socks)
        cut(self.sock)
        for sock in socks:
            cut(sock)
        while self.threads:
            with self.lock:
                thread = self.threads.pop()
            thread.join()
        for sock in [*self.socks, self.sock]:
            sock.close()


def cut(sock):
    """Ends both directions, whoever waits on them; the number stays ours until close()."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass


class Relay(Listener):
    """
    Hands connections on to the server at target (host, port); with TLS when it has a context.
    replies: for each block that came from the server, what each connection had sent by then.
    """

    def __init__(self, target, context=None, host="127.0.0.1"):
        self.target, self.context = target, context
        self.sent, self.replies = {}, []
        super().__init__(host)

    def count(self, one, source, size):
        with self.lock:
            if source is one:
                self.sent[one] = self.sent.get(one, 0) + size
            else:
                self.replies.append(list(self.sent.values()))

    def serve(self, sock, peer):
        if self.context:
            sock.settimeout(DEADLINE)
            sock = self.keep(self.context.wrap_socket(sock, server_side=True))
            sock.settimeout(None)
        self.relay(sock, self.connect(self.target))


class Proxy(Listener):
    """
    An HTTP proxy. CONNECT to a name in routes leads to that (host, port), whatever the port
    asked for; to any other name it is 404. answer: a status for everybody, "hangup" or
    "silence" (until the end). login: "USER:PASSWORD", else 407.
    """

    def __init__(self, routes, login=None, answer=None):
        self.routes, self.login, self.answer = routes, login, answer
        self.heads = []  # what each request began with, up to the empty line
        super().__init__()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def serve(self, sock, peer):
        head = b""
        while b"\r\n\r\n" not in head:
            block = sock.recv(BLOCK)
            if not block or len(head) > HEAD_MAX:
                return
            head += block
        text = head.decode("latin-1")
        with self.lock:
            self.heads.append(text)
        if self.answer == "silence":
            sock.recv(1)
        elif self.answer != "hangup":
            self._answer(sock, text)

    def _answer(self, sock, head):
        want = "Basic " + base64.b64encode((self.login or "").encode()).decode()
        target = re.match(r"CONNECT \[?([^\s\]]+?)\]?:\d+ ", head)
        status = self.answer or 0
        if self.login and f"\r\nproxy-authorization: {want}\r\n".lower() not in head.lower():
            status = 407
        elif not status:
            status = 200 if target and target.group(1) in self.routes else 404
        if status != 200:
            sock.sendall(f"HTTP/1.1 {status} As told\r\nProxy-Authenticate: Basic realm=x\r\n"
                         "Content-Length: 0\r\n\r\n".encode())
            return
        other = self.connect(self.routes[target.group(1)])
        sock.sendall(b"HTTP/1.1 200 Connection established\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT"
                     b"\r\n\r\n")
        self.relay(sock, other)
