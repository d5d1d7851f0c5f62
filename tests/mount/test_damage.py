"""Staged files that the disk, or somebody, changed behind our back; records that make no sense."""
import errno
import glob
import os
import sqlite3
import threading

import pytest

from harness import (BUILD, assert_published, data_dir, make_file, run, staged_data, wait_until,
                     xattr)


def staged(mount):
    """The one staged file; without a row, the one data file."""
    (path,) = staged_data(mount.state) or glob.glob(os.path.join(data_dir(mount.state), "*.data"))
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


def change_state(mount, sql):
    """Changes the store of a mount whose daemon is dead."""
    db = sqlite3.connect(os.path.join(mount.state, "state.db"))
    db.execute("PRAGMA foreign_keys = ON")
    with db:
        db.execute(sql)
    db.close()


def fail_and_kill(world, server, source):
    """A mount whose daemon died with a file that it could not publish."""
    mount = world.mount(server)
    mount.may_fail = True
    server.faults([{"op": "create", "action": "status", "status": 500, "times": 0}])
    assert run(["cp", source, mount.path("batch", "bad")], check=False).returncode == 1
    mount.kill()
    run(["fusermount3", "-u", "-z", mount.mnt])
    server.faults([])
    return mount


@pytest.mark.parametrize("sql", ["UPDATE file SET state = 99", "DELETE FROM file"])
def test_damaged_row(world, server, sql):
    """Its data is set aside, the log says so, and nothing else suffers."""
    source = make_file(world.path("source"), 300_000)
    mount = fail_and_kill(world, server, source)
    change_state(mount, sql)
    mount.start()
    assert "set aside in data/damaged" in mount.log()
    (aside,) = os.listdir(os.path.join(data_dir(mount.state), "damaged"))
    assert aside.endswith(".data")
    run(["cp", source, mount.path("batch", "good")])
    assert_published(server, mount.path("batch", "good"), source)
    mount.umount()
    text = run([os.path.join(BUILD, "uploadfs"), "recover", "list", mount.state]).stdout
    assert "damaged" in text and os.path.splitext(aside)[0] in text


def test_damaged_store(world, server):
    """The database is set aside whole; the mount works, and data without a row stays in place."""
    source = make_file(world.path("source"), 300_000)
    mount = fail_and_kill(world, server, source)
    # Into the database: the WAL would make good for what is written over.
    change_state(mount, "UPDATE file SET err = err")
    with open(os.path.join(mount.state, "state.db"), "r+b") as f:
        f.write(b"damaged" * 20)
    mount.start()
    assert "state.db is damaged" in mount.log()
    assert [x for x in os.listdir(mount.state) if x.startswith("state.db.damaged-")]
    data = staged(mount)
    run(["cp", source, mount.path("batch", "good")])
    assert_published(server, mount.path("batch", "good"), source)
    mount.umount()
    text = run([os.path.join(BUILD, "uploadfs"), "recover", "list", mount.state]).stdout
    assert "damaged" in text and os.path.basename(data)[:-5] in text
    # Nor does a later mount take its orphans for its own: the database may yet be repaired.
    mount.start()
    with open(data, "rb") as kept, open(source, "rb") as written:
        assert kept.read() == written.read()
    assert "1 file(s) in it have no record" in mount.log()
    assert len(server.files()) == 1


def test_row_without_data(world, server):
    """It comes back as aborted and empty, and replaces nothing."""
    source = make_file(world.path("source"), 300_000)
    other = make_file(world.path("other"), 300_001)
    mount = world.mount(server)
    run(["cp", other, mount.path("batch", "bad")])
    mount.umount()
    mount = fail_and_kill(world, server, source)
    os.unlink(staged(mount))
    mount.start()
    dest = mount.path("batch", "bad")
    assert xattr(dest, "status") == "aborted" and os.path.getsize(dest) == 0
    os.unlink(dest)
    assert len(server.files()) == 1
