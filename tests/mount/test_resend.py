"""The same content again: the File stays with its ID, and no byte is sent; -o resend."""
import os
import shutil

from harness import BUILD, assert_published, run, wait_let_go, xattr


def asked(server, since):
    """What was asked of the service since then, but for lists."""
    return [x["op"] for x in server.journal()[since:] if x["op"] != "list"]


def count(server):
    return len(server.journal())


def change(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"\xff\x00\xff")


def test_copied_again(server, mount, source):
    """cp, also after a remount; then the last of six Parts is another."""
    dest = mount.path("batch", "a.jsonl")
    run(["cp", source, dest])
    assert_published(server, dest, source, parts=6)
    first = xattr(dest, "file_id")
    for remounted in (False, True):
        if remounted:
            mount.umount()
            mount.remount()
        os.utime(source, (1e9 + remounted, 1e9 + remounted))
        before = count(server)
        run(["cp", "-p", source, dest])
        assert asked(server, before) == ["get"]
        assert xattr(dest, "file_id") == first and xattr(dest, "status") == "completed"
        assert os.stat(dest).st_mtime == 1e9 + remounted
        run(["cmp", source, dest])
    change(source, 5 << 20)
    run(["cp", source, dest])
    assert_published(server, dest, source, parts=6)
    assert xattr(dest, "file_id") != first
    assert [x["id"] for x in server.files()] == [xattr(dest, "file_id")]


def test_renamed_onto(server, mount, source):
    """By an editor's rename, and by rsync, whose temporary name sends nothing."""
    dest, temporary = mount.path("user_data", "a"), mount.path("user_data", "a.tmp")
    run(["cp", source, dest])
    first = xattr(dest, "file_id")
    before = count(server)
    run(["rsync", "-I", source, dest])
    assert asked(server, before) == ["get"]
    assert xattr(dest, "file_id") == first
    run(["cp", source, temporary])
    wait_let_go(mount, temporary)
    other = xattr(temporary, "file_id")
    before = count(server)
    os.rename(temporary, dest)
    assert asked(server, before) == ["get", "delete"]
    assert xattr(dest, "file_id") == first != other
    assert [x["id"] for x in server.files()] == [first]
    run(["cmp", source, dest])


def test_gone_meanwhile(server, mount, source):
    """Another host removes the File while it is overwritten: it is sent."""
    dest = mount.path("batch", "a.jsonl")
    run(["cp", source, dest])
    first = xattr(dest, "file_id")
    with open(dest, "wb", buffering=0) as f, open(source, "rb") as s:
        run(["curl", "-sf", "-X", "DELETE", "-H", f"Authorization: Bearer {server.key}",
             f"{server.url}/files/{first}"])
        shutil.copyfileobj(s, f)
    assert_published(server, dest, source)
    assert xattr(dest, "file_id") != first


def test_switched_off(world, server, source):
    mount = world.mount(server, "resend")
    dest = mount.path("batch", "a.jsonl")
    run(["cp", source, dest])
    first = xattr(dest, "file_id")
    run(["cp", source, dest])
    assert_published(server, dest, source, parts=6)
    assert xattr(dest, "file_id") != first


def test_async(world, server, source):
    mount = world.mount(server, close="async")
    dest = mount.path("batch", "a.jsonl")
    ids = set()
    for _ in range(2):
        run(["cp", source, dest])
        run([os.path.join(BUILD, "uploadfs"), "wait", mount.mnt])
        ids.add(xattr(dest, "file_id"))
    assert len(ids) == 1 and len(server.files()) == 1
