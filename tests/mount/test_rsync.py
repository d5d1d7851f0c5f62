"""rsync to a mount, from it and within it: what it does, and that it has nothing left to do."""
import os
import re
import shutil
import socket

import pytest

from harness import run, xattr
from trees import (assert_held, attributes_of, make_tree, noise, published_names, regular_files,
                   write_bytes)


def sync(source, dest, *flags):
    """What rsync -a says it changed, a line for each."""
    return run(["rsync", "-a", "-i", *flags, source + "/", dest + "/"]).stdout.splitlines()


def requests(server):
    """How many there were that are not about the list."""
    return len([x for x in server.journal() if x["op"] != "list"])


@pytest.mark.plain
def test_300_files(world, server, mount):
    """The second run sends nothing, nor after a remount; --delete; no temporary name."""
    top = make_tree(world.path("tree"), 300)
    dest = mount.path("batch", "t")
    assert len(sync(top, dest)) >= 300
    assert_held(server, "batch", "t", top)
    before = requests(server)
    for remounted in (False, True):
        if remounted:
            mount.umount()
            mount.remount()
        stats = "\n".join(sync(top, dest, "--stats"))
        assert "Number of regular files transferred: 0" in stats
        assert not re.search(r"^[<>ch.*]\S+ ", stats, re.M), stats
        assert requests(server) == before
        run(["diff", "-r", top, dest])
        assert attributes_of(dest) == attributes_of(top)
    assert published_names(server) == {f"t/{x}" for x in regular_files(top)
                                       if os.path.getsize(os.path.join(top, x))}
    gone = regular_files(top)[::3]
    for name in gone:
        os.unlink(os.path.join(top, name))
    shutil.rmtree(os.path.join(top, "x"))
    said = sync(top, dest, "--delete")
    assert len([x for x in said if x.startswith("*deleting")]) >= len(gone)
    assert sync(top, dest, "--delete") == []
    run(["diff", "-r", top, dest])
    assert_held(server, "batch", "t", top)


@pytest.mark.plain
def test_from_and_within(world, server, mount):
    """From the mount to a disk, from one purpose to another, and back with --delete."""
    top = make_tree(world.path("tree"), 24)
    sync(top, mount.path("batch", "t"))
    back = world.path("back")
    assert sync(mount.path("batch", "t"), back)
    run(["diff", "-r", top, back])
    assert attributes_of(back) == attributes_of(top)
    sync(mount.path("batch", "t"), mount.path("evals", "u"))
    assert sync(mount.path("batch", "t"), mount.path("evals", "u")) == []
    assert sorted((x["filename"].partition("/")[2], x["bytes"]) for x in server.files(purpose="evals")
                  ) == sorted((x["filename"].partition("/")[2], x["bytes"])
                              for x in server.files(purpose="batch"))
    os.unlink(os.path.join(back, "a", "with blank 1"))
    sync(back, mount.path("batch", "t"), "--delete")
    assert sync(back, mount.path("batch", "t"), "--delete") == []
    assert_held(server, "batch", "t", back)


# Each sends a newer and longer version over what is there.
OPTIONS = ("--inplace", "--partial", "--append", "--append-verify", "-z", "--checksum",
           "--no-whole-file", "--inplace --no-whole-file", "--partial-dir=.part",
           "--delay-updates", "--sparse", "--preallocate", "--fsync", "--remove-source-files")


@pytest.mark.plain
def test_options(world, server, mount):
    """What a user may give: the right bytes, one File, and no other name."""
    data = noise(2_500_000)
    ref = world.path("ref")
    os.mkdir(ref)
    write_bytes(os.path.join(ref, "big"), data)
    for number, option in enumerate(OPTIONS):
        folder = f"o{number}"
        dest = mount.path("batch", folder)
        os.mkdir(dest)
        source = write_bytes(world.path("big"), data)
        part = data[:1_100_000]
        if not option.startswith("--append"):
            part = part[:500_000] + b"changed" + part[500_007:]
        write_bytes(os.path.join(dest, "big"), part)
        os.utime(os.path.join(dest, "big"), (10**9, 10**9))
        run(["rsync", "-t", *option.split(), source, dest + "/"])
        assert (option, os.listdir(dest)) == (option, ["big"])
        assert_held(server, "batch", folder, ref)
    assert {os.path.basename(x) for x in published_names(server)} == {"big"}


def test_backup(world, server, mount):
    """-b keeps what was there, under its own name."""
    dest = mount.path("batch", "b")
    os.mkdir(dest)
    ref = world.path("ref")
    os.mkdir(ref)
    write_bytes(os.path.join(dest, "f"), noise(1000))
    source = write_bytes(world.path("f"), noise(2000, seed=2))
    run(["rsync", "-b", source, dest + "/"])
    write_bytes(os.path.join(ref, "f~"), noise(1000))
    write_bytes(os.path.join(ref, "f"), noise(2000, seed=2))
    assert_held(server, "batch", "b", ref)


def test_what_can_not_be(world, server, mount):
    """Links, pipes, sockets, names with a newline: said clearly, and the rest goes on."""
    top = world.path("tree")
    os.mkdir(top)
    for name in ("a", "new\nline", "z"):
        write_bytes(os.path.join(top, name), noise(100))
    os.symlink("a", os.path.join(top, "link"))
    os.mkfifo(os.path.join(top, "pipe"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.join(top, "sock"))
    dest = mount.path("batch", "t")
    said = run(["rsync", "-a", top + "/", dest + "/"], check=False)
    assert said.returncode == 23, said
    for name, why in (("link", "Operation not permitted"), ("pipe", "Operation not permitted"),
                      ("sock", "Operation not permitted"), ("new", "Invalid argument")):
        assert re.search(rf"{name}.*failed: {why}", said.stderr), said.stderr
    for name in ("new\nline", "link", "pipe", "sock"):
        os.unlink(os.path.join(top, name))
    assert sorted(os.listdir(dest)) == ["a", "z"]
    assert_held(server, "batch", "t", top)


def test_foreign_attributes(world, server, mount):
    """-X says that user.foo can't be kept, and goes on; with our own left out it is content."""
    top = world.path("tree")
    os.mkdir(top)
    for name in ("a", "b"):
        write_bytes(os.path.join(top, name), noise(100))
    dest = mount.path("batch", "t")
    ours = "--filter=-x user.upload.*"
    assert len(sync(top, dest, "-X", ours)) >= 3
    assert sync(top, dest, "-X", ours) == []
    os.setxattr(os.path.join(top, "a"), "user.foo", b"1")
    said = run(["rsync", "-aX", ours, top + "/", dest + "/"], check=False)
    assert said.returncode == 23 and "Operation not supported" in said.stderr, said
    assert xattr(os.path.join(dest, "a"), "status") == "completed"
    assert_held(server, "batch", "t", top)
