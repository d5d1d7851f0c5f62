"""
Networks as they are: certificates, proxies, a local address, IPv6. What fails says what to do,
and no password and no key goes where it should not.
"""
import concurrent.futures
import errno
import json
import os
import ssl
import time
import types

import pytest

import sanitizer
from harness import (BUILD, KEY, MIB, SAN, assert_nothing_pending, make_file, md5, run, wait_until,
                     xattr)
from networks import Authority, Listener, Proxy, Relay
from test_troubleshooting import Coverage

HOST = "service.test"  # known to the proxies of these tests alone
PASSWORD = "proxy-pass-71c04e"
LOGIN = "me:" + PASSWORD


@pytest.fixture
def ends():
    """What has a close(), ended in the reverse order of its being appended."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def authority(world):
    return Authority(world.path("ca"))


def at(url):
    """What stands for a server: just its URL."""
    return types.SimpleNamespace(url=url)


@pytest.fixture
def tls(server, authority, ends):
    """The server behind TLS, with a certificate for HOST."""
    ends.append(Relay(("127.0.0.1", server.port), authority.context(HOST)))
    return ends[-1]


def private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write(text)
    return path


def assert_sent(server, mount, source):
    """A copy of source is the one File of the server."""
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    assert [(x["filename"], x["bytes"]) for x in server.files()] == [("f", os.path.getsize(source))]
    assert server.content_md5(xattr(dest, "file_id")) == (os.path.getsize(source), md5(source))
    assert_nothing_pending(server)


def close_fails(mount):
    """(errno, the text of user.upload.error) of a file that can't be published."""
    mount.may_fail = True
    path = mount.path("batch", "fails")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 1000)
    with pytest.raises(OSError) as caught:
        os.close(fd)
    return caught.value.errno, xattr(path, "error")


def doctor(world, url, options, code=1, **env):
    """The lines of what is not in order, and those of what is."""
    os.makedirs(world.path("free"), exist_ok=True)
    argv = [os.path.join(BUILD, "uploadfs"), "doctor", "-o",
            ",".join([f"state_dir={world.path('state')}", *options]), url, world.path("free")]
    out = run(sanitizer.wrap(SAN, argv), check=False,
              env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY, **env})
    assert out.returncode == code and KEY not in out.stdout + out.stderr
    assert PASSWORD not in out.stdout + out.stderr
    lines = out.stdout.splitlines()
    return ([x[7:] for x in lines if x.startswith("WRONG")],
            [x[7:] for x in lines if x.startswith("ok")])


# ---- certificates


@pytest.mark.parametrize("how", ["ca_file", "SSL_CERT_FILE"])
def test_own_authority(world, server, authority, ends, source, how):
    """The certificate of an authority that is named is good, for a name and for an address."""
    host = "localhost" if how == "ca_file" else "127.0.0.1"
    ends.append(Relay(("127.0.0.1", server.port), authority.context(host)))
    url = f"https://{host}:{ends[-1].port}/v1"
    options = {"ca_file": authority.ca} if how == "ca_file" else {"env": {how: authority.ca}}
    mount = world.mount(at(url), **options)
    assert_sent(server, mount, source)
    if how == "ca_file":
        bad, good = doctor(world, url, [f"ca_file={authority.ca}"], code=0)
        assert not bad and "TLS: the certificate is good" in good
        assert f"certificates are checked with {authority.ca}" in good


@pytest.mark.plain
@pytest.mark.parametrize("kind, words, hint", [
    ("unknown", "SSL certificate problem", "name it with -o ca_file"),
    ("other", "SSL certificate problem", "name it with -o ca_file"),
    ("host", "localhost", "the certificate is for another host: check the base URL"),
    ("expired", "certificate has expired", "check this host's clock"),
    ("gone", "certificate", "check the file of -o ca_file, else SSL_CERT_FILE"),
])
def test_bad_certificates(world, server, authority, ends, kind, words, hint):
    """EHOSTUNREACH, and what to do; nothing was sent."""
    context = authority.context("other.test" if kind == "host" else "localhost", kind == "expired")
    ends.append(Relay(("127.0.0.1", server.port), context))
    url = f"https://localhost:{ends[-1].port}/v1"
    ca = Authority(world.path("ca2")).ca if kind == "other" else authority.ca
    options = {} if kind == "unknown" else {"ca_file": ca}
    mount = world.mount(at(url), **options)
    if kind == "gone":
        os.unlink(ca)
    code, text = close_fails(mount)
    assert (code, words in text, hint in text) == (errno.EHOSTUNREACH, True, True), text
    assert text.startswith("TLS: ") and "tried" not in text + mount.log()
    assert server.journal() == []


# ---- our own certificate


@pytest.mark.parametrize("both", [False, True])
def test_client_certificate(world, server, authority, ends, source, both):
    """A service that wants one gets it, from one file or two."""
    context = authority.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    ends.append(Relay(("127.0.0.1", server.port), context))
    url = f"https://localhost:{ends[-1].port}/v1"
    cert, key = authority.client("a host of ours", both)
    options = {"client_cert": cert} if both else {"client_cert": cert, "client_key": key}
    mount = world.mount(at(url), ca_file=authority.ca, **options)
    assert_sent(server, mount, source)
    other = world.mount(at(url), ca_file=authority.ca, retry_timeout="1")
    code, _ = close_fails(other)
    assert code == errno.EHOSTUNREACH
    other.may_fail = True


class Redirecting(Listener):
    """A service with one File, whose content is elsewhere. Notes the clients' certificates."""

    def __init__(self, context, target=None):
        self.context, self.target, self.seen = context, target, []
        super().__init__()

    def serve(self, sock, peer):
        sock = self.keep(self.context.wrap_socket(sock, server_side=True))
        self.seen.append(sock.getpeercert())
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096) or b"\r\n\r\n"
        if not self.target:
            reply = "200 OK\r\nContent-Length: 3\r\n\r\nabc"
        elif b"/content" in head:
            reply = f"302 Found\r\nLocation: {self.target}\r\nContent-Length: 0\r\n\r\n"
        else:
            text = json.dumps({"object": "list", "has_more": False, "data": [
                {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "f",
                 "purpose": "batch", "status": "processed"}]})
            reply = f"200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        sock.sendall(b"HTTP/1.1 " + reply.encode().replace(
            b"\r\nContent-Length", b"\r\nConnection: close\r\nContent-Length"))


def test_client_certificate_stays_home(world, authority, ends):
    """Content from another host, which asks for a certificate: it learns none of ours."""
    contexts = [authority.context("localhost"), authority.context("127.0.0.1")]
    for context in contexts:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.ca)
    ends.append(Redirecting(contexts[1]))
    ends.append(Redirecting(contexts[0], f"https://127.0.0.1:{ends[0].port}/elsewhere"))
    cert, key = authority.client("a host of ours")
    mount = world.mount(at(f"https://localhost:{ends[1].port}/v1"), ca_file=authority.ca,
                        client_cert=cert, client_key=key, retry_timeout="1")
    assert run(["cat", mount.path("batch", "f")]).stdout == "abc"
    assert ends[0].seen and not any(ends[0].seen)
    assert ends[1].seen and all(ends[1].seen)


@pytest.mark.plain
def test_bad_client_certificates(world, server, authority):
    """Refused at the start, with the option's name."""
    cert, key = authority.client("a host of ours")
    os.mkdir(world.path("m"))

    def refused(words):
        result = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), "https://localhost/v1",
                                          world.path("m"), "-o", words]),
                     check=False, env={"OPENAI_API_KEY": KEY})
        assert result.returncode == 2
        return result.stderr

    assert "client_key needs client_cert" in refused(f"client_key={key}")
    assert "holds no certificate" in refused(f"client_cert={key}")
    assert "No such file" in refused(f"client_cert={cert},client_key={cert}x")
    os.chmod(key, 0o644)
    assert "chmod 600" in refused(f"client_cert={cert},client_key={key}")


# ---- proxies


def assert_no_secrets(mount, proxy):
    """The key never came to the proxy; the password stands nowhere."""
    assert proxy.heads and all(x.startswith(f"CONNECT {HOST}:443 ") for x in proxy.heads)
    assert not any(KEY in x or "authorization: bearer" in x.lower() for x in proxy.heads)
    places = [mount.log()]
    for name in ("cmdline", "environ"):
        with open(f"/proc/{mount.pid}/{name}", encoding="latin-1") as f:
            places.append(f.read())
    for name in ("status", "metrics"):
        with open(mount.path(".uploadfs", name), encoding="utf-8") as f:
            places.append(f.read())
    assert not any(PASSWORD in x for x in places)


@pytest.mark.parametrize("how", ["option", "environment"])
def test_proxy_with_login(world, server, tls, authority, ends, source, how):
    """Through CONNECT, with a login; the key goes to the service alone."""
    ends.append(Proxy({HOST: ("127.0.0.1", tls.port)}, login=LOGIN))
    proxy = ends[-1]
    if how == "option":
        options = {"proxy": proxy.url,
                   "proxy_auth_file": private(world.path("login"), LOGIN + "\n")}
    else:
        url = proxy.url.replace("//", f"//{LOGIN}@")
        options = {"env": {"https_proxy": url, "ALL_PROXY": url, "NO_PROXY": "10.0.0.0/8"}}
    mount = world.mount(at(f"https://{HOST}/v1"), ca_file=authority.ca, **options)
    assert_sent(server, mount, source)
    assert_no_secrets(mount, proxy)
    if how == "environment":
        bad, good = doctor(world, f"https://{HOST}/v1", [f"ca_file={authority.ca}"], code=0,
                           **options["env"])
        assert not bad and f"{HOST} is reached by the proxy {proxy.url} (https_proxy)" in good


@pytest.mark.plain
@pytest.mark.parametrize("answer, code, hint", [
    (407, errno.EACCES, "name it with -o proxy_auth_file"),
    (403, errno.EHOSTUNREACH, "ask who runs the proxy"),
])
def test_proxy_refuses(world, server, authority, ends, answer, code, hint):
    """Once: it would not be answered otherwise the next time."""
    ends.append(Proxy({}, answer=answer))
    proxy = ends[-1]
    options = {"ca_file": authority.ca, "proxy": proxy.url,
               "proxy_auth_file": private(world.path("login"), "wrong:" + PASSWORD)}
    mount = world.mount(at(f"https://{HOST}/v1"), **options)
    got, text = close_fails(mount)
    assert got == code and f"the proxy answered {answer}" in text and hint in text
    assert "tried" not in text and "tried" not in mount.log()
    assert_no_secrets(mount, proxy)


@pytest.mark.plain
def test_connections_that_fail(world, server, authority, ends):
    """
    What a doctor says of each, which stands in docs/troubleshooting.md, and what a close says of
    one of them. All at once, as most wait between their tries.
    """
    proxies = {x: Proxy({}, answer=x) for x in (403, 407, 502, "hangup", "silence", "gone")}
    ends += proxies.values()
    proxies["gone"].close()
    good = authority.context("localhost")
    contexts = {"good": good, "host": authority.context("other.test"), "none": None,
                "expired": authority.context("localhost", expired=True)}
    relays = {k: Relay(("127.0.0.1", server.port), v) for k, v in contexts.items()}
    ends += relays.values()
    away, long = f"https://{HOST}/v1", "x" * 64  # too long a label: nobody is asked for it
    cases = [(away, "connect_timeout=1,proxy=" + x.url) for x in proxies.values()]
    cases += [(away, f"proxy=http://{long}.test:1"), (f"https://{long}.test/v1", "proxy=none"),
              (server.url, "bind=192.0.2.7"), (server.url, "bind=none0"),
              (f"https://localhost:{relays['good'].port}/v1", "proxy=none")]
    cases += [(f"https://localhost:{x.port}/v1", "ca_file=" + authority.ca)
              for k, x in relays.items() if k != "good"]
    seen = Coverage("Connections")
    mount = world.mount(at(away), proxy=proxies["gone"].url, retry_timeout="1")
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        failing = pool.submit(close_fails, mount)
        for bad, _ in pool.map(lambda x: doctor(world, x[0], [x[1]]), cases):
            assert len(bad) == 1, bad
            seen.see("Connections", bad[0])
        code, text = failing.result()
    seen.end()
    assert code == errno.EHOSTUNREACH and "check that the proxy runs: -o proxy" in text
    assert "(tried 3 times)" in text
    assert server.journal() == []


def test_loopback_is_behind_no_proxy(world, server, ends, source):
    """By whatever name, and whoever asks for a proxy."""
    ends.append(Proxy({}))
    proxy = ends[-1].url
    names = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    mount = world.mount(at(f"http://localhost:{server.port}/v1"), env=dict.fromkeys(names, proxy))
    assert_sent(server, mount, source)
    os.unlink(mount.path("batch", "f"))
    mount = world.mount(server, proxy=proxy)
    assert_sent(server, mount, source)
    assert ends[-1].heads == [] and ends[-1].peers == []


def test_plain_http_and_proxies(world, ends):
    """To another host only with allow_http; then the proxy sees the key, and decides."""
    ends.append(Proxy({}))
    proxy, url = ends[-1], f"http://{HOST}/v1"
    argv = [os.path.join(BUILD, "uploadfs"), url, world.dir, "-o", "proxy=" + proxy.url]
    out = run(sanitizer.wrap(SAN, argv), check=False,
              env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY})
    assert out.returncode == 2 and "would send the key readable" in out.stderr
    bad, good = doctor(world, url, ["allow_http"], http_proxy=proxy.url, HTTP_PROXY="http://x:1")
    assert len(bad) == 1 and "HTTP 404" in bad[0]
    assert f"{HOST} is reached by the proxy {proxy.url} (http_proxy)" in good
    assert len(proxy.heads) == 1 and proxy.heads[0].startswith(f"GET http://{HOST}/v1/files?")
    # In capitals it may come from a visitor of a web page: not taken, so the name is asked for.
    long = f"http://{'x' * 64}.test/v1"
    # Nor is any where NO_PROXY has the host.
    others = [{"HTTP_PROXY": proxy.url}, {"http_proxy": proxy.url, "NO_PROXY": "a.test,.test"}]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for bad, _ in pool.map(lambda env: doctor(world, long, ["allow_http"], **env), others):
            assert len(bad) == 1 and "check the host in the base URL" in bad[0]
    assert len(proxy.heads) == 1


def test_passwords_on_the_command_line(world):
    out = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), world.dir, "-o",
                                   f"proxy=http://{LOGIN}@127.0.0.1:1"]), check=False,
              env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY})
    assert out.returncode == 2 and "proxy_auth_file" in out.stderr and PASSWORD not in out.stderr


# ---- addresses


@pytest.mark.parametrize("bind, host", [("127.0.0.2", "127.0.0.1"), ("127.0.0.3", "localhost"),
                                        ("lo", "127.0.0.1")])
def test_bind(world, server, ends, source, bind, host):
    """Every connection comes from that address; of an interface from one that it has."""
    ends.append(Relay(("127.0.0.1", server.port)))
    mount = world.mount(at(f"http://{host}:{ends[-1].port}/v1"), bind=bind)
    assert_sent(server, mount, source)
    assert set(ends[-1].peers) == {bind if bind[0] == "1" else "127.0.0.1"}


def has_ipv6():
    """Whether ::1 is here: some containers have no IPv6."""
    with open("/proc/net/if_inet6", encoding="ascii") as f:
        return any(line.startswith("0" * 31 + "1 ") for line in f)


def test_ipv6(world, source):
    """[::1] is loopback: plain http and no proxy. Where there is no IPv6, it is as unreachable."""
    if not os.path.exists("/proc/net/if_inet6") or not has_ipv6():
        mount = world.mount(at("http://[::1]:9/v1"), retry_timeout="1")
        assert close_fails(mount)[0] == errno.EHOSTUNREACH
        return
    server = world.server(host="[::1]")
    mount = world.mount(server, env={"http_proxy": "http://127.0.0.1:9"}, bind="::1")
    assert_sent(server, mount, source)
    # The daemon is asked by either family where a name has both.
    os.unlink(mount.path("batch", "f"))
    mount = world.mount(at(f"http://localhost:{server.port}/v1"))
    assert_sent(server, mount, source)


# ---- rates


def at_most(rate):
    """What a mount may move at once besides its rate: an eighth of a second's worth."""
    return rate // 8


@pytest.mark.parametrize("parallel", ["1", "4"])
def test_rate_of_sending(world, server, source, parallel):
    """One limit for all connections together; as a bound that no slow machine can break."""
    rate = 4 * MIB
    mount = world.mount(server, rate_limit="4M", parallel=parallel)
    start = time.monotonic()
    assert_sent(server, mount, source)
    took = time.monotonic() - start
    assert took * rate + at_most(rate) >= os.path.getsize(source)


def test_rate_of_receiving(world, server, source):
    rate = 4 * MIB
    writer = world.mount(server)
    run(["cp", source, writer.path("batch", "f")])
    mount = world.mount(server, rate_limit="0:4M")
    start = time.monotonic()
    run(["cmp", source, mount.path("batch", "f")])
    took = time.monotonic() - start
    # A block of curl's may come on credit.
    assert took * rate + at_most(rate) + 65536 >= os.path.getsize(source)
    # Far into it, and what is not read to its end.
    with open(mount.path("batch", "f"), "rb") as file, open(source, "rb") as want:
        for offset in (3 * MIB, 100, 5 * MIB):
            file.seek(offset)
            want.seek(offset)
            assert file.read(5000) == want.read(5000)


def test_connections_share_a_rate(world, server, ends):
    """Neither of two Parts is made to wait for the other: they grow together."""
    ends.append(Relay(("127.0.0.1", server.port)))
    source = make_file(world.path("two"), 2 * MIB)
    mount = world.mount(at(f"http://127.0.0.1:{ends[-1].port}/v1"), parallel="2", rate_limit="2M")
    assert_sent(server, mount, source)
    first = next(x for x in ends[-1].replies if max(x) >= MIB)
    assert sorted(first)[-2] >= MIB * 4 // 10, first


@pytest.mark.plain
def test_waiting_for_a_rate_is_not_idle(world, server):
    """Three at 1 KiB a second wait for two seconds between two shares of a KiB; one is idle."""
    mount = world.mount(server, rate_limit="1K", idle_timeout="1", close="async")
    source = make_file(world.path("small"), 1100)
    names = [f"f{i}" for i in range(3)]
    for name in names:
        run(["cp", source, mount.path("batch", name)])
    wait_until(lambda: all(xattr(mount.path("batch", x), "status") == "completed" for x in names),
               "all are published")
    for words in ("no byte moved", "tried again", "not published"):
        assert words not in mount.log()
    assert sorted(x["filename"] for x in server.files()) == names
