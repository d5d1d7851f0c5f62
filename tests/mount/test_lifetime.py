"""expires_after: by an attribute, by the option, and kept when a File is replaced."""
import os

import pytest

from harness import run, wait_let_go, wait_until, xattr


def put(path, data, lifetime=None):
    with open(path, "wb", buffering=0) as f:
        if lifetime:
            os.setxattr(path, "user.upload.expires_after", str(lifetime).encode())
        f.write(data)


def lifetime(path):
    expires = xattr(path, "expires_at")
    return int(expires) - int(xattr(path, "created_at")) if expires else None


def append(path):
    with open(path, "ab", buffering=0) as f:
        f.write(b"more")


def rename_held(path):
    temporary = os.path.join(os.path.dirname(path), "." + os.path.basename(path) + ".AbCdEf")
    put(temporary, b"other")
    os.rename(temporary, path)


WAYS = {"truncate": lambda p: put(p, b"other"), "append": append, "held": rename_held,
        "still open": None}


@pytest.mark.parametrize("remount", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_kept_on_overwriting(world, server, way, remount):
    mount = world.mount(server, list_ttl="0")
    path = mount.path("user_data", "f")
    put(path, b"first", 7200)
    assert lifetime(path) == 7200
    before = xattr(path, "file_id")
    if remount:
        mount.umount()
        mount.remount()
    elif way != "still open":
        wait_let_go(mount, path)
    if way == "still open":
        with open(path, "r+b", buffering=0) as f:
            f.write(b"1")
            os.close(os.dup(f.fileno()))
            f.write(b"2")
    else:
        WAYS[way](path)
    wait_until(lambda: xattr(path, "file_id") != before, "it is replaced")
    assert lifetime(path) == 7200
    assert [x["id"] for x in server.files()] == [xattr(path, "file_id")]
    # One Upload a File: none was begun without its lifetime.
    if way == "held":
        assert len(server.uploads()) == 2


def test_option(world, server):
    """The default of new Files; an attribute and the File that is replaced come first."""
    mount = world.mount(server, expires_after="86400")
    plain, own = mount.path("user_data", "plain"), mount.path("user_data", "own")
    put(plain, b"x")
    put(own, b"x", 3600)
    assert (lifetime(plain), lifetime(own)) == (86400, 3600)
    wait_let_go(mount, own)
    put(own, b"y")
    assert lifetime(own) == 3600


def test_attribute_before_the_replaced_one(world, server):
    mount = world.mount(server)
    path = mount.path("user_data", "f")
    put(path, b"first", 7200)
    wait_let_go(mount, path)
    put(path, b"second", 10800)
    assert lifetime(path) == 10800


def test_none_stays_none(world, server):
    """Also for batch, whose Files the service removes after 30 days by itself."""
    mount = world.mount(server)
    for purpose in "batch", "user_data":
        path = mount.path(purpose, "f")
        put(path, b"first")
        wait_let_go(mount, path)
        first = lifetime(path)
        put(path, b"second")
        assert lifetime(path) == first
        run(["test", "-s", path])
