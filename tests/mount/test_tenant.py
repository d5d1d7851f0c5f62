"""Kept files go to the service, organization and project they were meant for, and to no other."""
import os

import pytest

import sanitizer
from harness import SAN, assert_published, make_file, run, wait_until, xattr
from test_cli import cli


def kept(world, server, *options, op="create"):
    """A mount that ended with a file that waits for the service."""
    mount = world.mount(server, *options, retry_delay="600", retry_timeout="1")
    mount.may_fail = True
    server.faults([{"op": op, "times": 0, "action": "status", "status": 503,
                    "headers": {"x-should-retry": "false"}}])
    source = make_file(world.path("source"), 1000)
    assert run(["cp", source, mount.path("batch", "f")], check=False).returncode == 1
    server.faults([])
    mount.umount(codes=(1,))
    return mount


def refused(mount):
    """What the mount says that does not come to be."""
    result = run(sanitizer.wrap(SAN, mount.argv()), check=False, timeout=60,
                 env={**sanitizer.options(mount.world.dir), **mount.env()})
    assert result.returncode not in (0, None)
    assert "keeps 1 file(s) for" in result.stderr and "adopt" in result.stderr
    return result.stderr


def other_service(world, mount, server):
    mount.server = world.server()


def other_organization(world, mount, server):
    mount.flags = ["organization=org-2"]


def no_project(world, mount, server):
    mount.flags = []


CHANGES = {"service": other_service, "organization": other_organization, "project": no_project}


@pytest.mark.parametrize("change", CHANGES)
def test_not_to_another(world, server, change):
    mount = kept(world, server, "organization=org-1" if change == "organization"
                 else "project=proj_1")
    before = (mount.server, mount.flags)
    requests = len(server.journal())
    CHANGES[change](world, mount, server)
    said = refused(mount)
    assert server.url in said and mount.server.url in said
    assert len(server.journal()) == requests
    assert mount.server is server or mount.server.journal() == []
    # The former one publishes it.
    mount.server, mount.flags = before
    mount.remount()
    wait_until(lambda: xattr(mount.path("batch", "f"), "status") == "completed", "it is published")
    assert_published(server, mount.path("batch", "f"), world.path("source"))


def test_adopt(world, server):
    """Said in words, it goes there, and belongs there from then on."""
    mount = kept(world, server)
    mount.server = world.server()
    mount.flags = ["adopt"]
    mount.remount()
    wait_until(lambda: xattr(mount.path("batch", "f"), "status") == "completed", "it is published")
    assert_published(mount.server, mount.path("batch", "f"), world.path("source"))
    assert server.files() == [] and "as -o adopt says" in mount.log()


def test_recover_publish(world, server):
    """The subcommand sends nothing to another one either."""
    mount = kept(world, server)
    other = world.server()
    assert "keeps 1 file(s) for" in cli(world, "recover", "publish", other.url, mount.state,
                                        code=1).stderr
    assert other.journal() == []
    cli(world, "recover", "publish", server.url, mount.state)
    assert [x["filename"] for x in server.files()] == ["f"]


def test_nothing_waits(world, server):
    """Then the directory serves any service."""
    mount = world.mount(server)
    run(["cp", make_file(world.path("source"), 1000), mount.path("batch", "f")])
    mount.umount()
    mount.server = world.server()
    mount.remount()
    assert os.listdir(mount.path("batch")) == []
