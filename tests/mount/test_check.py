"""check=jsonl: by the option, by an attribute of a file or a directory; what fails, and what helps."""
import errno
import os

import pytest

from harness import run, wait_until, xattr

CHECK = "user.upload.check"
GOOD, BAD = b'{"a": 1}\n{}\n', b'{"a": 1}\n{}\n[]\n'


def put(path, data, check=None):
    """The errno of the close; 0: it is a File."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        if check:
            os.setxattr(path, CHECK, check)
        os.write(fd, data)
    except BaseException:
        os.close(fd)
        raise
    try:
        os.close(fd)
    except OSError as e:
        return e.errno
    return 0


def names(server):
    return sorted(x["filename"] for x in server.files())


def check(path):
    try:
        return os.getxattr(path, CHECK)
    except OSError as e:
        assert e.errno == errno.ENODATA
        return None


def test_option(world, server):
    mount = world.mount(server, check="jsonl")
    mount.may_fail = True
    bad = mount.path("batch", "bad")
    assert put(bad, BAD) == errno.EINVAL
    assert xattr(bad, "error").startswith("line 3: it is no JSON object")
    assert xattr(bad, "status") == "failed" and "bad: not published: line 3: " in mount.log()
    assert put(mount.path("fine-tune", "bad"), b"\n") == errno.EINVAL
    assert server.files() == [] and not server.journal(op="complete")
    assert put(mount.path("user_data", "text"), BAD) == 0
    assert put(mount.path("batch", "good"), GOOD) == 0
    assert run(["cp", mount.path("user_data", "text"), mount.path("batch", "copied")],
               check=False).returncode == 1
    assert names(server) == ["good", "text"]
    # What a daemon could not publish is for the next one, as it was.
    mount.umount(codes=(1,))
    mount.remount()
    assert xattr(bad, "status") == "failed" and check(bad) == b"jsonl"
    assert put(bad, GOOD) == 0
    os.setxattr(mount.path("batch", "copied"), CHECK, b"none")
    wait_until(lambda: names(server) == ["bad", "copied", "good", "text"], "it is sent after all")
    os.unlink(mount.path("fine-tune", "bad"))


def test_attribute(world, server):
    """Of a directory, for what is written below it, over a remount; of a file; taken back."""
    mount = world.mount(server)
    mount.may_fail = True
    top, below = mount.path("batch"), mount.path("batch", "a", "b")
    os.makedirs(below)
    assert check(top) is None and put(below + "/0", BAD) == 0
    os.setxattr(top, CHECK, b"jsonl")
    os.setxattr(mount.path("batch", "a"), CHECK, b"none")
    os.setxattr(below, CHECK, b"jsonl")
    for remounted in (False, True):
        if remounted:
            mount.umount()
            mount.remount()
        assert check(top) == check(below) == b"jsonl"
        assert put(below + "/1", BAD) == errno.EINVAL and check(below + "/1") == b"jsonl"
        os.unlink(below + "/1")
        assert put(mount.path("batch", "a", "2"), BAD) == 0
        assert put(below + "/3", BAD, b"none") == 0
    os.removexattr(below, CHECK)
    assert put(below + "/1", BAD) == 0
    assert put(mount.path("evals", "4"), BAD, b"jsonl") == errno.EINVAL
    os.unlink(mount.path("evals", "4"))
    # A rename into a directory that checks.
    with pytest.raises(OSError) as e:
        os.rename(mount.path("batch", "a", "2"), mount.path("batch", "2"))
    assert e.value.errno == errno.EINVAL
    assert "a/2" in names(server) and "2" not in names(server)
    for path, value, code in ((top, b"json", errno.EINVAL), (mount.mnt, b"jsonl", errno.EPERM),
                              (below + "/0", b"jsonl", errno.EPERM)):
        with pytest.raises(OSError) as e:
            os.setxattr(path, CHECK, value)
        assert e.value.errno == code
