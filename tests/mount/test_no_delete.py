"""-o no_delete: what is a File stays one, whatever is tried; what is none yet goes."""
import errno
import os

import pytest

from harness import assert_published, make_file, python, run, wait_let_go, wait_until, xattr


def put(path, data):
    with open(path, "wb", buffering=0) as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def append(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, b"more")
    finally:
        os.close(fd)


def held_over(path):
    """As rsync does."""
    temporary = os.path.join(os.path.dirname(path), ".f.AbCdEf")
    put(temporary, b"other")
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


REPLACE = {"O_TRUNC": lambda p: put(p, b"other"), "append": append, "truncate": lambda p: os.truncate(p, 3),
           "truncate to nothing": lambda p: os.truncate(p, 0), "rename over": held_over}
DELETE = {"unlink": os.unlink, "rename": lambda p: os.rename(p, p + ".new")}


@pytest.mark.parametrize("still_open", [False, True])
@pytest.mark.parametrize("way", [*REPLACE, *DELETE])
def test_a_file_stays(world, server, way, still_open):
    mount = world.mount(server, "no_delete", list_ttl="0")
    path = mount.path("batch", "f")
    put(path, b"published")
    before = xattr(path, "file_id")
    fd = os.open(path, os.O_RDWR) if still_open else None
    if not still_open:
        wait_let_go(mount, path)
    with pytest.raises(OSError) as e:
        {**REPLACE, **DELETE}[way](path)
    assert e.value.errno == errno.EPERM
    if fd is not None:
        os.close(fd)
    assert "batch/f: not " in mount.log() and "-o no_delete" in mount.log()
    assert get(path) == b"published" and xattr(path, "file_id") == before
    assert os.listdir(mount.path("batch")) == ["f"]
    assert [x["id"] for x in server.files()] == [before]
    assert not server.journal(op="delete")


def test_rm_rf(world, server):
    """Only what is no File goes."""
    mount = world.mount(server, "no_delete", list_ttl="0")
    os.mkdir(mount.path("batch", "d"))
    put(mount.path("batch", "d", "f"), b"published")
    put(mount.path("batch", "d", ".g.AbCdEf"), b"held")
    put(mount.path("batch", "d", "empty"), b"")
    assert run(["rm", "-rf", mount.path("batch", "d")], check=False).returncode == 1
    assert os.listdir(mount.path("batch", "d")) == ["f"]
    assert [x["filename"] for x in server.files()] == ["d/f"]


def test_no_file_yet(world, server):
    """A file that failed, one whose writer was killed."""
    mount = world.mount(server, "no_delete", retry_delay="600")
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400}])
    failed, killed = mount.path("batch", "failed"), mount.path("batch", "killed")
    assert run(["cp", make_file(world.path("s"), 99), failed], check=False).returncode
    python("import os, sys; os.write(os.open(sys.argv[1], 65), b'x'); os.kill(os.getpid(), 9)",
           killed, check=False)
    wait_until(lambda: xattr(killed, "status") == "aborted", "the kill is noticed")
    server.faults([])
    put(failed, b"again")
    assert xattr(failed, "file_id")
    os.unlink(killed)
    assert [x["filename"] for x in server.files()] == ["failed"]


@pytest.mark.parametrize("way", REPLACE)
def test_keep_old_lets_overwrite(world, server, way):
    """The former File stays on the service."""
    mount = world.mount(server, "no_delete", "keep_old", list_ttl="0")
    path = mount.path("batch", "f")
    put(path, b"published")
    before = xattr(path, "file_id")
    wait_let_go(mount, path)
    REPLACE[way](path)
    for remove in DELETE.values():
        if os.path.getsize(path):
            with pytest.raises(OSError) as e:
                remove(path)
            assert e.value.errno == errno.EPERM
    assert before in [x["id"] for x in server.files()]
    assert not server.journal(op="delete")
