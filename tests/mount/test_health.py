"""The service's health: in status, its document, mounts, the metrics, and as an exit status."""
import http.client
import json
import os
import socket

import pytest

from harness import bash, is_mounted, run, wait_until
from test_cli import argv, cli


def look(world, mount, failing, words=""):
    """All places agree; the words of the failure are in each."""
    doc = json.loads(cli(world, "status", "--json", mount.mnt).stdout)["service"]
    assert doc["health"] == ("failing" if failing else "ok")
    assert (doc["failing_since"] is not None) == failing
    check = cli(world, "status", "--check", mount.mnt, code=1 if failing else 0).stdout
    plain = cli(world, "status", mount.mnt).stdout
    mounts = cli(world, "mounts", mount.mnt).stdout
    with open(mount.path(".uploadfs", "metrics")) as f:
        metrics = f.read()
    assert f"uploadfs_service_failing {int(failing)}\n" in metrics
    for text in (check, plain, mounts):
        assert ("the service fails for " in text) == failing
        assert words in text or not failing
    return doc


def ask(world, mount, health):
    """Lists until the service was asked again; a failed list is not repeated at once."""
    def asked():
        run(["ls", mount.path("batch")], check=False)
        doc = json.loads(cli(world, "status", "--json", mount.mnt).stdout)
        return doc["service"]["health"] == health

    wait_until(asked, f"the service is {health}")


def test_unreachable_and_back(world):
    server = world.server()
    mount = world.mount(server, list_ttl="0", retry_timeout="1")
    bash('echo x > "$1"', mount.path("batch", "f"))
    doc = look(world, mount, False)
    assert doc["last_answer"] and doc["last_failure"] is None
    server.stop()
    ask(world, mount, "failing")
    doc = look(world, mount, True, "connection failed")
    assert doc["last_answer"] <= doc["failing_since"] <= doc["last_failure_time"]
    server.restart()
    ask(world, mount, "ok")
    doc = look(world, mount, False)
    assert doc["last_failure"]


@pytest.mark.parametrize("status, code", [(401, "invalid_api_key"), (403, "no"), (503, "busy")])
def test_refused(world, server, status, code):
    mount = world.mount(server, list_ttl="0", retry_timeout="1")
    mount.may_fail = True
    server.faults([{"op": "list", "times": 0, "action": "status", "status": status,
                    "code": code, "message": "not now"}])
    ask(world, mount, "failing")
    look(world, mount, True, f"HTTP {status} {code}: not now")
    server.faults([])
    ask(world, mount, "ok")
    look(world, mount, False)


def test_a_refused_file_is_an_answer(world, server, source):
    """The service works; it is the file that it does not want."""
    mount = world.mount(server)
    mount.may_fail = True
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no"}])
    result = run(["cp", source, mount.path("batch", "f")], check=False)
    assert "Invalid argument" in result.stderr
    look(world, mount, False)
    server.faults([])
    os.unlink(mount.path("batch", "f"))


def fetch(at, path, method="GET"):
    """(status, body) from 127.0.0.1:PORT or a unix socket."""
    if isinstance(at, int):
        connection = http.client.HTTPConnection("127.0.0.1", at, timeout=30)
    else:
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(at)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("kind", ["port", "socket"])
def test_over_http(world, kind):
    """The metrics, and probes; a port is loopback's, a socket the daemon's user's alone."""
    server = world.server()
    at = free_port() if kind == "port" else world.path("probe")
    mount = world.mount(server, f"metrics_listen={at}", list_ttl="0", retry_timeout="1")
    bash('echo x > "$1"', mount.path("batch", "f"))
    assert fetch(at, "/livez") == (200, "ok\n") == fetch(at, "/healthz")
    status, text = fetch(at, "/metrics")
    assert status == 200 and "uploadfs_service_failing 0\n" in text and "batch" not in text
    assert fetch(at, "/")[0] == 404 and fetch(at, "/metrics", "POST")[0] == 405
    if kind == "socket":
        assert os.stat(at).st_mode & 0o777 == 0o600
    server.stop()
    ask(world, mount, "failing")
    assert fetch(at, "/healthz") == (503, "the service fails\n")
    assert fetch(at, "/livez")[0] == 200
    server.restart()
    ask(world, mount, "ok")
    assert fetch(at, "/healthz")[0] == 200
    if kind == "socket":
        mount.kill()
        mount.remount()  # the socket that the dead one left is replaced
        assert fetch(at, "/livez")[0] == 200
        mount.umount()
        assert not os.path.exists(at)
        mount.remount()


def test_a_port_in_use(world, server):
    """Refused at the start, with the option's name; nothing stays mounted."""
    mnt = world.path("m")
    os.mkdir(mnt)
    result = run([*argv(server.url, mnt, "-o"),
                  f"state_dir={world.path('s')},metrics_listen={server.port}"], check=False)
    assert result.returncode == 1 and f"metrics_listen={server.port}: " in result.stderr
    assert not is_mounted(mnt)
    for bad in "here:1", "1:2:3", "127.0.0.1:65536", "[1.2.3.4]:5", ":", "x":
        result = run([*argv(server.url, mnt, "-o"), f"metrics_listen={bad}"], check=False)
        assert result.returncode == 2 and "is no address" in result.stderr, bad


def test_not_asked_yet(world, server):
    mount = world.mount(server)
    assert "not asked yet" in cli(world, "status", "--check", mount.mnt).stdout
    cli(world, "status", "--check", "--json", mount.mnt, code=2)
    assert not server.journal(op="list")
