"""Kept files go to the service, organization and project they were meant for, and to no other."""
import os

import pytest

import sanitizer
from harness import SAN, assert_published, make_file, md5, run, wait_until, xattr
from test_cli import cli


def kept(world, server, *options, op="create", known=False, **more):
    """A mount that ended with a file that waits for the service."""
    mount = world.mount(server, *options, retry_delay="600", retry_timeout="1", **more)
    mount.may_fail = True
    if known:
        run(["cp", make_file(world.path("known"), 10), mount.path("batch", "known")])
    server.faults([{"op": op, "times": 0, "action": "status", "status": 503,
                    "headers": {"x-should-retry": "false"}}])
    source = make_file(world.path("source"), 1000)
    assert run(["cp", source, mount.path("batch", "f")], check=False).returncode == 1
    server.faults([])
    mount.umount(codes=(1,))
    return mount


def refused(mount, words="keeps 1 file(s) for"):
    """What the mount says that does not come to be."""
    result = run(sanitizer.wrap(SAN, mount.argv()), check=False, timeout=60,
                 env={**sanitizer.options(mount.world.dir), **mount.env()})
    assert result.returncode not in (0, None)
    assert words in result.stderr and "adopt" in result.stderr
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


# ---- another key at the same service


def swap_account(world, server, name, key):
    """The service as the key of another account sees it: other Files, same URL."""
    server.kill()
    server.dir = world.path(name)
    server.key = key
    server.start()


def published(server, mount, world):
    path = mount.path("batch", "f")
    wait_until(lambda: xattr(path, "status") == "completed", "it is published")
    assert server.content_md5(xattr(path, "file_id"))[1] == md5(world.path("source"))


def test_key_of_another_account(world, server):
    mount = kept(world, server, known=True)
    own, former = server.dir, mount.key
    server.kill()
    mount.key = "sk-theirs"
    assert "does not tell whether this key" in refused(mount, "with another key")
    swap_account(world, server, "theirs", "sk-theirs")
    asked = len(server.journal())
    assert "this key sees no File of that account" in refused(mount, "with another key")
    assert {x["op"] for x in server.journal()[asked:]} == {"get"}
    # Said in words it goes there; the former key publishes it as before.
    swap_account(world, server, own, former)
    mount.key = former
    mount.remount()
    published(server, mount, world)


def test_key_rotated(world, server):
    """A File that the new key sees, too, tells that the account is the same."""
    mount = kept(world, server, known=True)
    server.restart(key="sk-rotated")
    mount.key = "sk-rotated"
    mount.remount()
    published(server, mount, world)
    assert "another key for the same account" in mount.log()


def test_key_without_witness(world, server):
    """No File is known: the same file's next key is its account's, another variable's may not be."""
    mount = kept(world, server)
    server.restart(key="sk-next")
    mount.key = "sk-next"
    assert "no File of that account is known" in refused(mount, "with another key")
    assert server.files() == []
    mount.flags = ["adopt"]
    mount.remount()
    published(server, mount, world)
    assert "as -o adopt says" in mount.log()


def write_key(path, key):
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(key)


def test_key_file_rotated_without_witness(world, server):
    write_key(world.path("key"), server.key)
    mount = kept(world, server, "api_key_file=" + world.path("key"), key=None)
    server.restart(key="sk-next")
    write_key(world.path("key"), "sk-next")
    mount.remount()
    published(server, mount, world)


def test_wrong_key_corrected(world, server):
    """A key that was refused belongs to no account."""
    mount = world.mount(server, key="sk-wrong", retry_delay="600")
    mount.may_fail = True
    source = make_file(world.path("source"), 1000)
    assert run(["cp", source, mount.path("batch", "f")], check=False).returncode == 1
    mount.umount(codes=(1,))
    mount.key = server.key
    mount.remount()
    published(server, mount, world)
