"""The program: options, key, addresses, what it prints; and requests that fit nowhere."""
import errno
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import ROOT, command, environment

KEY = "sk-test-0123456789abcdef"


def run(*args, key=None):
    return subprocess.run(command(*args), env=environment(key), capture_output=True, text=True,
                          timeout=20)


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for option in ("--dir", "--listen", "--upload-ttl", "--latency", "--rate", "--no-range", "--faults",
                   "--journal", "--log", "--quiet", "--list", "--flavor", "--sink", "--sink-files",
                   "--version"):
        assert option in done.stdout
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("uploads-server ")


@pytest.mark.parametrize("args", [
    [], ["--dir"], ["--nonsense"], ["--dir", "{}", "more"], ["--dir", "{}", "--rate", "fast"],
    ["--dir", "{}", "--rate", "0"], ["--dir", "{}", "--rate", "1X"],
    ["--dir", "{}", "--latency", "-1"], ["--dir", "{}", "--upload-ttl", "0"],
    ["--dir", "{}", "--upload-ttl", "1K"], ["--dir", "{}", "--listen", "127.0.0.1:99999"],
    ["--dir", "{}", "--listen", "127.0.0.1:x"], ["--dir", "{}", "--listen", "[::1"],
    ["--dir", "{}", "--sink"], ["--sink", "--list"], ["--dir", "{}", "--sink-files", "1:1"],
    ["--sink", "--sink-files", "1"], ["--sink", "--sink-files", ":1"],
    ["--sink", "--sink-files", "1:x"], ["--dir", "{}", "--flavor", "aws"], ["--sink", "--sink-files", "99999999999:1"],
])
def test_bad_arguments(tmp_path, args):
    done = run(*[a.format(tmp_path / "d") for a in args])
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr
    assert not (tmp_path / "d").exists()


def test_what_to_give_instead(tmp_path):
    """The next step for words that people get wrong."""
    assert "--dir is missing; use --dir DIR" in run().stderr
    text = run("--dir", tmp_path / "d", "--flavor", "azur").stderr
    assert "azur; use openai, azure, sequential or files-only\n" in text
    for listen in ("::1:18082", "::1"):
        text = run("--dir", tmp_path / "d", "--listen", listen).stderr
        assert f"{listen}; use ADDR:PORT, with an IPv6 address in brackets: [::1]:8080" in text


@pytest.mark.parametrize("args, said", [
    (["--listen", "example.invalid:0"], "not an IP address"),
    (["--listen", "0.0.0.0:0"], "without a key"),
    (["--listen", "[::]:0"], "without a key"),
    (["--listen", "192.0.2.1:0"], "without a key"),
    (["--faults", "{bad}"], "fault rules"),
    (["--journal", "{dir}/no/such/dir"], "journal"),
    (["--log", "{dir}/no/such/dir"], "log"),
])
def test_cannot_start(tmp_path, args, said):
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    args = [a.replace("{bad}", str(bad)).replace("{dir}", str(tmp_path)) for a in args]
    done = run("--dir", tmp_path / "d", *args)
    assert done.returncode == 1
    assert done.stdout == "" and said in done.stderr


def test_port_in_use(server, tmp_path):
    done = run("--dir", tmp_path / "d", "--listen", f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


def test_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "no" / "such"):
        done = run("--dir", path)
        assert done.returncode == 1 and str(path) in done.stderr


@pytest.mark.parametrize("name", ["lock", "uploads", "files", "data"])
def test_links_below_the_directory(tmp_path, name):
    """Somebody prepared the directory: nothing is made or deleted where a link leads."""
    store, target = tmp_path / "d", tmp_path / "target"
    store.mkdir(mode=0o700)
    if name == "lock":
        (store / name).symlink_to(target)
    else:
        target.mkdir()
        (target / "x.tmp").write_text("keep")
        (store / name).symlink_to(target)
    done = run("--dir", store)
    assert done.returncode == 1 and f"cannot use the directory {store}" in done.stderr
    if name == "lock":
        assert not target.exists()
    else:
        assert [p.name for p in target.iterdir()] == ["x.tmp"]


@pytest.mark.parametrize("name", ["lock", "uploads", "files/file-" + "0" * 32 + ".json",
                                  "uploads/upload_" + "0" * 32 + ".json"])
def test_fifos_below_the_directory(tmp_path, name):
    """Nor does it wait for somebody at the other end."""
    store = tmp_path / "d"
    (store / name).parent.mkdir(mode=0o700, parents=True)
    for folder in (store, (store / name).parent):
        folder.chmod(0o700)
    os.mkfifo(store / name, 0o600)
    process = subprocess.Popen(command("--dir", store), env=environment(None),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if name == "lock":  # locked like any file
            assert "listening" in process.stdout.readline()
            process.terminate()
            assert process.wait(20) == 0
        else:
            assert process.wait(20) == 1
            assert str(store) in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("option,said", [("--faults", "fault rules {}: Invalid argument"),
                                         ("--journal", "cannot open the journal {}: No such device")])
def test_fifos_that_nobody_writes_or_reads(tmp_path, option, said):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = run("--dir", tmp_path / "d", option, fifo)
    assert done.returncode == 1 and said.format(fifo) in done.stderr


def test_journal_into_a_fifo(make_server, tmp_path):
    """Somebody reads it; once it is full, lines are lost, and requests are not held up."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        server = make_server("--journal", fifo)
        for _ in range(500):
            assert server.request("GET", "/files").status == 200
        assert b'"op":"list"' in os.read(reader, 4096)
    finally:
        os.close(reader)


@pytest.mark.parametrize("below", ["", "uploads"])
def test_directory_of_somebody_else(tmp_path, below):
    store = tmp_path / "d"
    (store / below).mkdir(mode=0o700, parents=True)
    (store / below).chmod(0o777)
    done = run("--dir", store)
    assert done.returncode == 1 and "lets others write; chown" in done.stderr
    if os.geteuid() == 0:
        (store / below).chmod(0o755)
        os.chown(store / below, 65534, 65534)
        done = run("--dir", store)
        assert done.returncode == 1 and "belongs to another user" in done.stderr


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_order(server, sig):
    process, server.process = server.process, None
    process.send_signal(sig)
    try:
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.stdout.close()


def test_other_loopback_addresses(tmp_path):
    for listen, shown in (("127.0.0.5:0", "127.0.0.5:"), ("localhost:0", "127.0.0.1:"),
                          ("[::1]:0", "[::1]:"), (":0", "127.0.0.1:")):
        if listen.startswith("[") and not has_ipv6():
            continue
        process = subprocess.Popen(command("--dir", tmp_path / "d", "--listen", listen),
                                   env=environment(), stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline().startswith(f"listening on http://{shown}")
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def has_ipv6():
    """Some containers have none; then there is no such address to listen on."""
    path = pathlib.Path("/proc/net/if_inet6")
    return path.exists() and "00000000000000000000000000000001" in path.read_text()


def test_list_of_nothing(tmp_path):
    done = run("--dir", tmp_path / "none", "--list")
    assert done.returncode == 1 and "cannot list" in done.stderr
    assert not (tmp_path / "none").exists()


def test_list_beside_a_running_server(server):
    file = server.publish(b"one", b"two!", filename="ü")
    pending = server.create(9, "later", "batch").json["id"]
    part = server.part(pending, b"123").json["id"]
    listed = server.list()
    done = next(u for u in listed["uploads"] if u["status"] == "completed")
    open_ = next(u for u in listed["uploads"] if u["status"] == "pending")
    assert done["file_id"] == file["id"] and done["filename"] == "ü"
    assert (open_["id"], open_["filename"], open_["purpose"]) == (pending, "later", "batch")
    assert open_["bytes"] == 9 and open_["file_id"] is None
    assert open_["parts"] == [{"id": part, "bytes": 3}]
    assert [f["id"] for f in listed["files"]] == [file["id"]]
    assert [p["bytes"] for p in listed["files"][0]["parts"]] == [3, 4]
    assert listed["files"][0]["upload_id"] == done["id"]


# ---- the key ----

@pytest.mark.parametrize("auth", [None, "", "Bearer", "Bearer ", "Bearer x", f"Bearer {KEY}x",
                                  f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY])
def test_wrong_key(make_server, auth):
    server = make_server(key=KEY)
    server.key = None
    headers = {} if auth is None else {"Authorization": auth}
    for method, path in (("GET", "/files"), ("POST", "/uploads"), ("GET", "/nowhere")):
        reply = server.request(method, path, headers=headers)
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"
        assert reply.error["type"] == "invalid_request_error"
        assert "sk-" not in reply.body.decode()
    assert "sk-" not in server.journal_file.read_text()
    assert not server.log_file.exists() or "sk-" not in server.log_file.read_text()


def test_right_key(make_server):
    server = make_server(key=KEY)
    assert server.content(server.publish(b"data")["id"]).body == b"data"
    reply = server.request("GET", "/files", headers={"Authorization": f"bearer {KEY}"})
    assert reply.status == 200
    for path in server.base.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_no_key_accepts_any(server):
    assert server.request("GET", "/files", headers={"Authorization": "Bearer x"}).status == 200


def test_a_key_opens_other_addresses(tmp_path):
    process = subprocess.Popen(command("--dir", tmp_path / "d", "--listen", "0.0.0.0:0"),
                               env=environment(KEY), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("listening on http://0.0.0.0:")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---- requests that fit nowhere ----

@pytest.mark.parametrize("path", ["", "/", "/uploads/", "/uploads/x", "/uploads/x/y",
                                  "/uploads/x/parts/y", "/files/", "/files/x/y",
                                  "/files/x/content/", "/models", "/files/../files"])
def test_unknown_path(server, path):
    reply = server.request("GET" if "files" in path else "POST", path)
    assert reply.status == 404
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("method, path, allow", [
    ("GET", "/uploads", "POST"), ("DELETE", "/files", "GET, POST"),
    ("GET", "/uploads/x/parts", "POST"), ("PUT", "/uploads/x/complete", "POST"),
    ("GET", "/uploads/x/cancel", "POST"), ("POST", "/files/x", "GET, DELETE"),
    ("POST", "/files/x/content", "GET"), ("PATCH", "/files", "GET, POST"),
    ("OPTIONS", "/files", "GET, POST"),
])
def test_method_not_allowed(server, method, path, allow):
    reply = server.request(method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allow
    assert reply.error["type"] == "invalid_request_error"


def test_no_conflict_is_ever_answered():
    """Official clients retry a 409."""
    for source in (ROOT / "net" / "server").glob("*.c"):
        assert not re.search(r"\b409\b|HTTP_CONFLICT", source.read_text()), source


def test_unknown_path_with_a_body_keeps_the_connection_sound(server):
    connection = server.connect()
    try:
        for _ in range(3):
            reply = server.request("POST", "/nowhere", b"x" * 300000, connection=connection)
            assert reply.status == 404
        assert server.request("GET", "/files", connection=connection).status == 200
    finally:
        connection.close()
    assert len({e["conn"] for e in server.journal()}) == 1


@pytest.mark.parametrize("garbage", ids=range(5), argvalues=[b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"GET /v1/files\r\n" * 50,
                                     b"POST /v1/uploads HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                                     b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100000])
def test_garbage(server, garbage):
    with server.socket() as sock:
        try:
            sock.sendall(garbage)
            sock.shutdown(1)
            while sock.recv(65536):
                pass
        except OSError as e:
            # The server may have hung up at any moment: the shutdown of a connection that was
            # reset is ENOTCONN, which Python does not count as a ConnectionError.
            if not isinstance(e, ConnectionError) and e.errno != errno.ENOTCONN:
                raise
    assert server.request("GET", "/files").status == 200


def test_replies_are_json_with_an_id(server):
    for reply in (server.request("GET", "/files"), server.request("GET", "/x"),
                  server.request("GET", "/files/x"), server.request("POST", "/files/x"),
                  server.create(1, purpose="x")):
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["x-request-id"].startswith("req_")
        assert json.loads(reply.body)


@pytest.mark.parametrize("headers", [
    {"Origin": "http://example.invalid"}, {"Origin": "null"}, {"Host": "example.invalid"},
    {"Host": "example.invalid:80"}, {"Host": "127.0.0.1.example.invalid"}, {"Host": "[::2]"},
    {"Host": "[::1"}, {"Host": "192.0.2.1"}])
def test_no_browser_without_a_key(make_server, headers):
    """A page, or a name that was made to resolve to this host, makes no File."""
    server = make_server()
    reply = server.request("POST", "/uploads", {"filename": "f", "purpose": "batch", "bytes": 1,
                                                "mime_type": "text/plain"}, headers)
    assert reply.status == 403 and reply.error["message"]
    assert server.list()["uploads"] == []


def test_host_names_without_a_key(server):
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:80"):
        assert server.request("GET", "/files", headers={"Host": host}).status == 200, host


def test_a_key_lets_any_host_in(make_server):
    server = make_server(key=KEY)
    headers = {"Host": "example.invalid", "Origin": "http://example.invalid"}
    assert server.request("GET", "/files", headers=headers).status == 200


def test_no_big_body_without_the_key(make_server):
    """The connection is cut: a body of any size is not read for nothing."""
    server = make_server(key=KEY)
    sent = 0
    with server.socket() as sock:
        sock.sendall(b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: 1000000000\r\n\r\n")
        with pytest.raises(OSError):
            while sent < 500_000_000:
                sent += sock.send(bytes(1 << 20))
    assert 0 < sent < 100_000_000


def test_connections_that_ask_nothing_end(make_server):
    """Whoever does not show the key does not hold a connection for minutes."""
    server = make_server(key=KEY)
    with server.socket() as stranger:
        stranger.sendall(b"GET /v1/fil")
        assert stranger.recv(1) == b""
