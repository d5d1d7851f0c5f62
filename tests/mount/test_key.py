"""The key: from a file, read again when it was changed, and nowhere to be seen."""
import os
import signal

import pytest

from harness import assert_published, make_file, run, wait_until, xattr

OLD, NEW = "sk-old-0123456789", "sk-new-0123456789"


@pytest.fixture
def keyed(world):
    """A server with the old key, a mount that has it from a file, and that file."""
    server = world.server(key=OLD)
    path = world.path("key")
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(OLD + "\n")
    return server, world.mount(server, "api_key_file=" + path, key=None), path


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


def test_key_is_nowhere(world, server):
    """Not in argv, environ, logs, attributes, or the state directory."""
    key = "sk-verysecret-987654321"
    other = world.server(key=key)
    mount = world.mount(other, "log_level=debug", key=key)
    source = world.path("source")
    make_file(source, 1000)
    dest = mount.path("batch", "a")
    run(["cp", source, dest])
    seen = [open(f"/proc/{mount.pid}/{name}", "rb").read() for name in ("cmdline", "environ")]
    seen.append(mount.log().encode())
    seen += [os.getxattr(dest, name) for name in os.listxattr(dest)]
    for directory, _, names in os.walk(mount.state):
        assert os.stat(directory).st_mode & 0o77 == 0
        for name in names:
            with open(os.path.join(directory, name), "rb") as f:
                seen.append(f.read())
    assert len(seen) > 10
    assert not [text for text in seen if key.encode() in text]
