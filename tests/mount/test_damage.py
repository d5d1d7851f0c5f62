"""Staged files that the disk, or somebody, changed behind our back; records that make no sense."""
import errno
import glob
import os
import threading

import pytest

from harness import assert_published, make_file, run, wait_until, xattr


def staged(mount, ending=".data"):
    """The one staged file."""
    (path,) = glob.glob(os.path.join(mount.state, "staging", "*" + ending))
    return path


def test_changed_while_it_is_sent(world, server):
    """The MD5 of what was written does not fit what is on disk: EIO, and no File."""
    source = world.path("source")
    make_file(source, 2_500_000)
    mount = world.mount(server)
    mount.may_fail = True
    dest = mount.path("batch", "f")
    with open(dest, "wb") as f, open(source, "rb") as src:
        f.write(src.read())
        f.flush()
        assert damage_after_hashing(mount, f) == "EIO"
    assert "not what was written" in xattr(dest, "error")
    assert server.files() == []
    assert xattr(dest, "status") == "failed"
    os.unlink(dest)
    run(["cp", source, dest])
    assert_published(server, dest, source)


def damage_after_hashing(mount, f):
    """Closes f while complete is made to wait, with a byte changed meanwhile."""
    outcome = []

    def close():
        try:
            f.close()
            outcome.append("0")
        except OSError as exc:
            outcome.append(errno.errorcode[exc.errno])

    # Parts are held back, so that they are read only after the change.
    mount.server.faults([{"op": "create", "action": "delay", "ms": 1500, "times": 1}])
    thread = threading.Thread(target=close)
    thread.start()
    wait_until(lambda: xattr(mount.path("batch", "f"), "md5"), "the MD5 to be known")
    with open(staged(mount), "r+b") as data:
        data.seek(1_200_000)
        byte = data.read(1)
        data.seek(1_200_000)
        data.write(bytes([byte[0] ^ 1]))
    thread.join()
    return outcome[0]


def test_changed_between_two_mounts(world, server):
    """A closed file is compared with the MD5 in its record before it is published."""
    source = world.path("source")
    make_file(source, 2_500_000)
    mount = world.mount(server)
    mount.may_fail = True
    dest = mount.path("batch", "f")
    server.faults([{"op": "complete", "action": "status", "status": 500, "times": 0}])
    assert run(["cp", source, dest], check=False).returncode == 1
    mount.kill()
    run(["fusermount3", "-u", "-z", mount.mnt])
    with open(staged(mount), "r+b") as data:
        data.seek(5)
        data.write(b"damaged")
    server.faults([])
    mount.start()
    wait_until(lambda: "not what was written" in (xattr(dest, "error") or ""), "it to be noticed")
    assert server.files() == [] and xattr(dest, "status") == "failed"


@pytest.mark.parametrize("how, left", [("cut", [".data", ".rec"]), ("gone", [".data"])])
def test_damaged_record(world, server, how, left):
    """It is set aside with its data, said in the log, and nothing else suffers."""
    source = world.path("source")
    make_file(source, 300_000)
    mount = world.mount(server)
    mount.may_fail = True
    server.faults([{"op": "create", "action": "status", "status": 500, "times": 0}])
    assert run(["cp", source, mount.path("batch", "bad")], check=False).returncode == 1
    mount.kill()
    run(["fusermount3", "-u", "-z", mount.mnt])
    record = staged(mount, ".rec")
    if how == "gone":
        os.unlink(record)
    else:
        os.truncate(record, os.path.getsize(record) // 2)
    server.faults([])
    mount.start()
    assert "set aside in staging/damaged" in mount.log()
    aside = os.listdir(os.path.join(mount.state, "staging", "damaged"))
    assert sorted(os.path.splitext(name)[1] for name in aside) == left
    run(["cp", source, mount.path("batch", "good")])
    assert_published(server, mount.path("batch", "good"), source)
