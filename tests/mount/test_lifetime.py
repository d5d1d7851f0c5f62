"""expires_after: by an attribute, by the option, and kept when a File is replaced."""
import errno
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


def set_dir(path, seconds):
    os.setxattr(path, "user.upload.expires_after", str(seconds).encode())


def test_directory(world, server):
    """What is written below a directory inherits; over a remount, and where it moves to."""
    mount = world.mount(server, expires_after="86400")
    top, low = mount.path("user_data"), mount.path("user_data", "d", "e")
    os.makedirs(low)
    set_dir(top, 7200)
    set_dir(os.path.dirname(low), 3600)
    assert os.listxattr(top) == ["user.upload.expires_after"]
    assert os.listxattr(low) == []
    put(mount.path("user_data", "f"), b"x")
    put(mount.path("user_data", "g"), b"x", 10800)
    put(mount.path("batch", "f"), b"x")
    mount.umount()
    mount.remount()
    assert os.getxattr(os.path.dirname(low), "user.upload.expires_after") == b"3600"
    put(os.path.join(low, "f"), b"x")
    put(mount.path("user_data", "g"), b"y")
    run(["mv", os.path.join(low, "f"), mount.path("batch", "moved")])
    got = {"/".join(x): lifetime(mount.path(*x)) for x in (
        ("user_data", "f"), ("user_data", "g"), ("batch", "f"), ("batch", "moved"))}
    assert got == {"user_data/f": 7200, "user_data/g": 10800, "batch/f": 86400,
                   "batch/moved": 3600}
    os.removexattr(top, "user.upload.expires_after")
    put(mount.path("user_data", "f2"), b"x")
    assert lifetime(mount.path("user_data", "f2")) == 86400


def test_moved_before_it_is_a_file(world, server):
    """A File that is kept for good does not end with the directory it was begun in."""
    mount = world.mount(server)
    scratch, kept = mount.path("user_data", "scratch"), mount.path("user_data", "kept")
    os.mkdir(scratch)
    os.mkdir(kept)
    set_dir(scratch, 3600)
    with open(os.path.join(scratch, "f"), "wb", buffering=0) as f:
        f.write(b"x")
        os.rename(os.path.join(scratch, "f"), os.path.join(kept, "f"))
    assert lifetime(os.path.join(kept, "f")) is None
    with open(os.path.join(kept, "g"), "wb", buffering=0) as f:
        f.write(b"x")
        os.rename(os.path.join(kept, "g"), os.path.join(scratch, "g"))
    assert lifetime(os.path.join(scratch, "g")) == 3600


def test_directory_refusals(world, server):
    mount = world.mount(server)
    for path, value, want in ((mount.path("user_data"), "3599", errno.EINVAL),
                              (mount.path("user_data"), "2592001", errno.EINVAL),
                              (mount.path("user_data"), "1h", errno.EINVAL),
                              (mount.path(), "3600", errno.EPERM)):
        with pytest.raises(OSError) as e:
            set_dir(path, value)
        assert e.value.errno == want
    assert mount.log().count("3600 to 2592000 seconds") == 3
    with pytest.raises(OSError) as e:
        os.removexattr(mount.path("user_data"), "user.upload.expires_after")
    assert e.value.errno == errno.ENODATA
    set_dir(mount.path("user_data"), 2592000)
