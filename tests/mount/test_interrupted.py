"""A fatal signal ends a call that waits for the service; what was asked for goes on."""
import os
import signal
import subprocess

import pytest

from harness import DEADLINE, make_file, md5, run, wait_let_go, wait_until, xattr
from shelf import put

PATIENCE = {"retry_timeout": "1000", "cache_size": "0", "list_ttl": "1000"}


@pytest.fixture
def server(world):
    server = world.server()
    put(server, here=make_file(world.path("source"), 100_000))
    return server


def away(server, op):
    server.faults([{"op": op, "action": "status", "status": 503, "times": 0}])


def ends(server, op, argv):
    """argv waits for requests of the kind op, and ends by a signal."""
    proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_until(lambda: server.journal(op=op, status=503), f"{argv} asks")
        assert proc.poll() is None
        proc.terminate()
        assert proc.wait(DEADLINE) == -signal.SIGTERM, proc.stderr.read()
    finally:
        proc.kill()
        proc.communicate()


@pytest.mark.parametrize("argv", [["ls"], ["stat"], ["touch"]], ids=lambda x: x[0])
def test_first_listing(world, server, argv):
    """Of a listing, of a look at a name, of making one."""
    away(server, "list")
    mount = world.mount(server, **PATIENCE)
    at = mount.path("batch") if argv == ["ls"] else mount.path("batch", "new")
    ends(server, "list", argv + [at])
    server.faults([])
    assert wait_until(lambda: os.listdir(mount.path("batch")), "the list") == ["here"]


def test_remove(world, server):
    """The File goes all the same, once the service answers."""
    mount = world.mount(server, **PATIENCE)
    path = mount.path("batch", "here")
    assert os.path.exists(path)
    away(server, "delete")
    ends(server, "delete", ["rm", path])
    server.faults([])
    wait_until(lambda: not server.files(), "the File is deleted")
    wait_until(lambda: not os.path.exists(path), "and its name")


def cached(world, server):
    """A mount with a File whose content it has."""
    mount = world.mount(server, **{**PATIENCE, "cache_size": None})
    here, there = mount.path("batch", "here"), mount.path("batch", "there")
    run(["cp", world.path("source"), here])
    wait_let_go(mount, here)
    return mount, here, there, md5(here)


def test_rename(world, server):
    """A rename does not: before its File was asked for it has not happened."""
    mount, here, there, before = cached(world, server)
    away(server, "create")
    ends(server, "create", ["mv", here, there])
    server.faults([])
    run(["mv", here, there + "2"])
    assert [x["filename"] for x in server.files()] == ["there2"]
    assert os.listdir(mount.path("batch")) == ["there2"] and md5(there + "2") == before


def test_rename_that_may_have_happened(world, server):
    """Once its File was asked for it goes on."""
    mount, here, there, before = cached(world, server)
    away(server, "complete")
    ends(server, "complete", ["mv", here, there])
    server.faults([])
    wait_until(lambda: [x["filename"] for x in server.files()] == ["there"], "it is renamed")
    wait_until(lambda: os.listdir(mount.path("batch")) == ["there"], "and shown")
    assert md5(there) == before


def test_file_id(world, server):
    """Who asks for the File ID does not have to wait for the end of the publication."""
    mount = world.mount(server, close="async", **PATIENCE)
    path = mount.path("batch", "new")
    away(server, "create")
    run(["cp", world.path("source"), path])
    ends(server, "create", ["getfattr", "-n", "user.upload.file_id", path])
    server.faults([])
    assert xattr(path, "file_id") in [x["id"] for x in server.files(filename="new")]
