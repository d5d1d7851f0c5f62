"""What the service refused is not sent again by itself: not later, not by the next mount."""
import json
import os

import pytest

from harness import assert_published, make_file, run, wait_until, xattr
from test_cli import cli

MIB = 1 << 20


def refused(world, server, op, status, **options):
    """A mount with retry_delay=1 and a file that was refused so."""
    mount = world.mount(server, retry_delay="1", **options)
    mount.may_fail = True
    server.faults([{"op": op, "times": 0, "action": "status", "status": status, "message": "no"}])
    path = mount.path("batch", "f")
    assert run(["cp", make_file(world.path("source"), 2 * MIB + 1), path],
               check=False).returncode == 1
    return mount, path


def row(world, mount):
    (found,) = json.loads(cli(world, "status", "--json", mount.mnt).stdout)["files"]
    return found


def sent(server):
    return len([x for x in server.journal() if x["op"] in ("create", "part", "complete")])


def another_is_tried(mount, server):
    """A file that fails for a while makes more tries than one: time enough has gone by."""
    before = len(server.journal(op="create"))
    server.faults([{"op": "create", "times": 0, "match": "later", "action": "status",
                    "status": 503, "headers": {"x-should-retry": "false"}}])
    run(["cp", mount.world.path("source"), mount.path("batch", "later")], check=False)
    wait_until(lambda: len(server.journal(op="create")) >= before + 3, "three tries")
    os.unlink(mount.path("batch", "later"))


@pytest.mark.parametrize("op, status", [("complete", 400), ("create", 413), ("part", 422)])
def test_the_file(world, server, op, status):
    mount, path = refused(world, server, op, status)
    found = row(world, mount)
    assert (found["next_try"], found["http_status"]) == (None, status)
    assert "write it again or set user.upload.publish" in mount.log()
    another_is_tried(mount, server)
    uploads = [x for x in server.uploads() if x["filename"] == "f"]
    mount.umount(codes=(1,))
    mount.remount()
    found = row(world, mount)
    assert (found["status"], found["next_try"]) == ("failed", None)
    another_is_tried(mount, server)
    assert [x for x in server.uploads() if x["filename"] == "f"] == uploads
    server.faults([])
    run(["cmp", world.path("source"), path])
    os.setxattr(path, "user.upload.publish", b"1")
    assert_published(server, path, world.path("source"))


@pytest.mark.parametrize("status", [401, 403])
def test_the_key(world, server, status):
    """Complete is refused: asked about with small requests, and the bytes stay here."""
    mount, path = refused(world, server, "complete", status)
    parts = len(server.journal(op="part"))
    lists = len(server.journal(op="list"))
    wait_until(lambda: len(server.journal(op="list")) > lists, "the key is tried")
    server.faults([])
    wait_until(lambda: xattr(path, "status") == "completed", "the key is taken")
    assert len(server.journal(op="part")) == parts
    assert_published(server, path, world.path("source"))
