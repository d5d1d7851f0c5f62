"""The key: from a file, read again when it was changed, and nowhere to be seen."""
import glob
import os
import re
import signal

import pytest

import sanitizer
from harness import (BUILD, DEADLINE, SAN, assert_published, bash, make_file, run, wait_until,
                     xattr)
from users import AS_USER, user_mount

OLD, NEW = "sk-old-0123456789", "sk-new-0123456789"
SECRET = "sk-verysecret-987654321"


@pytest.fixture
def keyed(world):
    """A server with the old key, a mount that has it from a file, and that file."""
    server = world.server(key=OLD)
    path = key_file(world, OLD)
    return server, world.mount(server, "api_key_file=" + path, key=None), path


def key_file(world, key):
    path = world.path("key")
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(key + "\n")
    return path


def replace(path, key):
    with open(path, "w") as f:
        f.write(key + "\n")


def test_read_again_after_401(world, keyed):
    """The service takes a new key only: the file is read again, and cp does not notice."""
    server, mount, path = keyed
    source = world.path("source")
    make_file(source, 200_000)
    server.restart(key=NEW)
    replace(path, NEW)
    run(["cp", source, mount.path("batch", "b")])
    assert_published(server, mount.path("batch", "b"), source)
    assert "read again" in mount.log()


def test_401_without_another_key(world, keyed):
    """The file still has the key that is refused: EACCES, once."""
    server, mount, _ = keyed
    source = world.path("source")
    make_file(source, 1000)
    server.restart(key=NEW)
    mount.may_fail = True
    result = run(["cp", source, mount.path("batch", "a")], check=False)
    assert result.returncode == 1 and "Permission denied" in result.stderr
    assert "api_key_file" in xattr(mount.path("batch", "a"), "error")


def test_read_again_at_sighup(world, keyed):
    """HUP reads it, too."""
    server, mount, path = keyed
    replace(path, NEW)
    os.kill(mount.pid, signal.SIGHUP)
    wait_until(lambda: "read again" in mount.log(), "the key to be read")
    server.restart(key=NEW)
    source = world.path("source")
    make_file(source, 1000)
    run(["cp", source, mount.path("batch", "a")])
    assert_published(server, mount.path("batch", "a"), source)


def test_key_behind_links(world):
    """A mounted secret: a link to a link to a directory that is swapped whole, readable by all."""
    server = world.server(key=OLD)
    secret = world.path("secret")
    for name, key in ("..1", OLD), ("..2", NEW):
        os.makedirs(os.path.join(secret, name))
        with open(os.path.join(secret, name, "key"), "w") as f:
            f.write(key)
        os.chmod(os.path.join(secret, name, "key"), 0o444)
    os.symlink("..1", os.path.join(secret, "..data"))
    os.symlink("..data/key", os.path.join(secret, "key"))
    mount = world.mount(server, "api_key_file=" + os.path.join(secret, "key"), "key_mode=any",
                        key=None)
    server.restart(key=NEW)
    os.symlink("..2", os.path.join(secret, "..new"))
    os.rename(os.path.join(secret, "..new"), os.path.join(secret, "..data"))
    os.unlink(os.path.join(secret, "..1", "key"))
    source = make_file(world.path("source"), 1000)
    run(["cp", source, mount.path("batch", "b")])
    assert_published(server, mount.path("batch", "b"), source)


def test_key_that_others_may_read(world, server):
    """Refused with both remedies; one that others may write is refused in any case."""
    path = key_file(world, OLD)
    os.mkdir(world.path("m"))

    def refused(mode, *options):
        os.chmod(path, mode)
        words = ",".join(["api_key_file=" + path, "state_dir=" + world.path("st"), *options])
        result = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), server.url,
                                          world.path("m"), "-o", words]), check=False)
        assert result.returncode == 2 and OLD not in result.stderr
        return result.stderr

    assert "chmod 600" in refused(0o444) and "key_mode=any" in refused(0o444)
    assert "others can write" in refused(0o666, "key_mode=any")
    assert "use private or any" in refused(0o600, "key_mode=some")


# ---- nowhere


def command_lines():
    """Of every process of this host, as ps shows them to everybody."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                yield path, f.read()
        except (FileNotFoundError, ProcessLookupError):
            pass


def files_below(folder):
    for directory, _, names in os.walk(folder):
        assert os.stat(directory).st_mode & 0o77 == 0
        for name in names:
            path = os.path.join(directory, name)
            try:
                with open(path, "rb") as f:
                    yield path, f.read()
            except FileNotFoundError:
                pass  # a record that was replaced meanwhile


def subcommands(world, mount, path):
    """What they print of a file that failed."""
    for words in (["status", mount.mnt], ["status", "--json", mount.mnt], ["wait", mount.mnt],
                  ["wait", path], ["mounts", mount.mnt],
                  ["doctor", "-o", f"state_dir={world.path('other')}", mount.server.url, mount.mnt]):
        argv = sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *words])
        env = {**sanitizer.options(world.dir), "OPENAI_API_KEY": SECRET}
        result = run(argv, check=False, env=env)
        yield " ".join(words), (result.stdout + result.stderr).encode()


def echo(op, **more):
    """A service, or a proxy before it, that says what it was sent."""
    return {"op": op, "times": 0, "action": "status", "status": 400,
            "code": SECRET, "message": f"Authorization: Bearer {SECRET} is {SECRET}!",
            "headers": {"x-request-id": SECRET}, **more}


def where_from(world, source):
    """Options, and the key for the environment of the daemon."""
    if source == "environment":
        return [], SECRET
    path = key_file(world, "sk-none-000000000" if source == "sighup" else SECRET)
    if source != "option file":
        return ["api_key_file=" + path], None
    config = world.path("config")
    with open(config, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(f"api_key_file={path}\nlog_level=debug\n")
    return ["config=" + config], None


@pytest.mark.parametrize("source, form", [("environment", "text"), ("key file", "json"),
                                          ("option file", "text"), ("sighup", "json")])
def test_key_is_nowhere(world, source, form):
    """
    Wherever it came from, not in a command line, an environment, the log at its highest level,
    the status, metrics, attributes, the state directory, nor in what a subcommand prints; not
    even when the service repeats it in its errors.
    """
    server = world.server(key=SECRET)
    options, key = where_from(world, source)
    log = world.path("log")
    mount = world.mount(server, *options, "log_level=debug", log_format=form, log_file=log, key=key,
                        retry_delay="3600")
    mount.may_fail = True
    if source == "sighup":
        replace(world.path("key"), SECRET)
        os.kill(mount.pid, signal.SIGHUP)
        wait_until(lambda: b"read again" in open(log, "rb").read(), "the key to be read")
    data = make_file(world.path("source"), 1000)
    good, bad = mount.path("batch", "good"), mount.path("batch", "bad")
    run(["cp", data, good])
    assert xattr(good, "status") == "completed"
    server.faults([echo("complete", match="bad"), echo("list"), echo("delete")])
    assert run(["cp", data, bad], check=False).returncode == 1
    assert run(["rm", good], check=False).returncode == 1
    bash('ls "$1"/.by-id/file-none; ls "$1"', mount.mnt, check=False)
    os.kill(mount.pid, signal.SIGUSR1)
    wait_until(lambda: b"status: " in open(log, "rb").read(), "the status in the log")
    seen = [("environ", open(f"/proc/{mount.pid}/environ", "rb").read()), *command_lines()]
    seen += [("the log", open(log, "rb").read()), ("stderr", mount.log().encode())]
    assert b"[redacted]" in seen[-2][1] and b"/complete" in seen[-2][1]
    for name in ("status", "metrics"):
        with open(mount.path(".uploadfs", name), "rb") as f:
            seen.append((name, f.read()))
    seen += [(name, os.getxattr(path, name)) for path in (good, bad)
             for name in os.listxattr(path)]
    assert "user.upload.error" in dict(seen)
    seen += [*files_below(mount.state), *subcommands(world, mount, bad)]
    assert len(seen) > 30
    assert not [name for name, text in seen if SECRET.encode() in text]
    os.unlink(bad)


PLACES = ["environ", "maps", "mem", "map_files", "fd", "stack", "auxv"]


@pytest.mark.plain
@pytest.mark.parametrize("whose", ["another user's", "the same user's"])
def test_memory_is_nobodys(world, whose):
    """The daemon's memory and environment: not for others, and of a user's own one neither."""
    server = world.server(key=SECRET)
    mount = user_mount(world, server, key=SECRET)
    asker = AS_USER
    if AS_USER and whose == "another user's":
        asker = [x.replace("65534", "65533") for x in AS_USER]
    for name in PLACES:
        path = f"/proc/{mount.pid}/{name}"
        command = "ls" if name in ("map_files", "fd") else "head -c 1"
        result = run([*asker, "sh", "-c", f"{command} {path}"], check=False)
        assert result.returncode and not result.stdout, f"{path}: {result}"
        assert "ermission" in result.stderr, f"{path}: {result}"
    with open(f"/proc/{mount.pid}/limits", encoding="ascii") as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.M)
    # A core is written neither by a limit that somebody raises, nor by a handler.
    os.kill(mount.pid, signal.SIGSEGV)
    mount.proc.wait(DEADLINE)
    mount.killed = True
    assert mount.proc.returncode == -signal.SIGSEGV
    run(["fusermount3", "-u", "-z", mount.mnt])
    assert not [x for x in os.listdir(world.dir) + os.listdir("/") if x.startswith("core")]
