"""Modes, times and directories: kept by File id, also over a remount."""
import os

from harness import bash, cached_data, make_file, python, query, run, wait_until, xattr
from test_races import delete_elsewhere


def make_tree(world):
    """Nested directories with names as users have them."""
    top = world.path("tree")
    for i, name in enumerate(["plain.txt", "with blank.jsonl", ".hidden", "ünïcode-日本.json",
                              "deep/er/still.md", "deep/" + "n" * 250, "empty dir/", "deep/x/"]):
        path = os.path.join(top, name)
        os.makedirs(path if name.endswith("/") else os.path.dirname(path), exist_ok=True)
        if not name.endswith("/"):
            make_file(path, 1000 + i)
            os.chmod(path, 0o640 if i % 2 else 0o604)
            os.utime(path, ns=(10**18, 10**18 + i * 10**9))
    os.utime(os.path.join(top, "deep"), (5 * 10**8, 5 * 10**8))
    return top


def sync(top, mount, *flags):
    """What rsync -a says it did."""
    return run(["rsync", "-a", "-i", *flags, top + "/", mount.path("batch", "t") + "/"]).stdout


def test_second_rsync_sends_nothing(world, server, mount):
    """Nor after a remount; --delete removes what was removed; both trees are the same."""
    top = make_tree(world)
    assert "plain.txt" in sync(top, mount)
    files = server.files()
    assert len(files) == 6 and not [f for f in files if f["filename"].endswith("/")]
    assert sync(top, mount) == ""
    run(["diff", "-r", top, mount.path("batch", "t")])
    mount.umount()
    mount.remount()
    assert sync(top, mount) == ""
    assert server.files() == files
    run(["diff", "-r", top, mount.path("batch", "t")])
    os.unlink(os.path.join(top, ".hidden"))
    assert "*deleting   .hidden" in sync(top, mount, "--delete")
    assert len(server.files()) == 5
    assert sync(top, mount, "--delete") == ""


def test_kept_over_a_remount(world, mount):
    """chmod and utimens of a File; mkdir, rmdir and mv of directories."""
    path = mount.path("batch", "f")
    source = world.path("source")
    make_file(source, 10)
    run(["cp", source, path])
    os.chmod(path, 0o600)
    os.utime(path, (1234567890, 1234567890))
    for name in ("a/b/c", "gone", "old/inner"):
        os.makedirs(mount.path("evals", name))
    os.rmdir(mount.path("evals", "gone"))
    os.rename(mount.path("evals", "old"), mount.path("evals", "new"))
    mount.umount()
    mount.remount()
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(path).st_mtime == 1234567890
    assert sorted(os.listdir(mount.path("evals"))) == ["a", "new"]
    assert os.listdir(mount.path("evals", "a", "b")) == ["c"]
    assert os.listdir(mount.path("evals", "new")) == ["inner"]


def test_kept_of_what_is_no_file(mount):
    """An empty file, and one whose writer was killed: mode and time as they were set."""
    empty, half = mount.path("batch", "empty"), mount.path("batch", "half")
    python("import os, sys; os.mknod(sys.argv[1], 0o100644)", empty)
    python("import os, sys; f = open(sys.argv[1], 'w'); f.write('x'); f.flush(); os.abort()",
           half, check=False)
    wait_until(lambda: xattr(empty, "status") == "empty", "the made file is settled")
    wait_until(lambda: xattr(half, "status") == "aborted", "the killed writer is noticed")
    for number, mode in enumerate((0o600, 0o640)):
        for path in (empty, half):
            os.chmod(path, mode)
            os.utime(path, ns=(10**18, 10**18 + number * 10**9 + 123456789))
            os.setxattr(path, "user.upload.mime_type", b"text/x-%d" % number)
            assert xattr(path, "mime_type") == f"text/x-{number}"
        mount.umount()
        mount.remount()
        for path in (empty, half):
            assert xattr(path, "mime_type") == f"text/x-{number}"
            st = os.stat(path)
            assert st.st_mode & 0o777 == mode
            assert st.st_mtime_ns == 10**18 + number * 10**9 + 123456789
    bash(": > $1", empty)
    assert os.stat(empty).st_mtime > 1.5 * 10**9


def test_kept_by_a_mount_of_another_purpose(world, server):
    """Its list does not name the Files of other purposes: that is no reason to forget them."""
    mount = world.mount(server, list_ttl="1")
    path = mount.path("fine-tune", "f")
    run(["cp", make_file(world.path("source"), 10), path])
    os.chmod(path, 0o640)
    mount.umount()
    mount.options["purpose"] = "batch"
    mount.remount()
    lists = len(server.journal(op="list"))
    wait_until(lambda: os.listdir(mount.mnt) is not None and
               len(server.journal(op="list")) > lists + 2, "the list was read again")
    mount.umount()
    mount.options["purpose"] = None
    mount.remount()
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert len(cached_data(mount.state)) == 1


def test_forgotten_with_the_file(world, server):
    """Of a File that the service no longer lists nothing is kept; of the others all is."""
    mount = world.mount(server, list_ttl="1")
    source = make_file(world.path("source"), 10)
    for name in ("stays", "goes"):
        run(["cp", source, mount.path("batch", name)])
        os.chmod(mount.path("batch", name), 0o600)
    ids = {x["filename"]: x["id"] for x in server.files()}

    def kept():
        return sorted(x["file_id"] for x in query(mount.state, "SELECT file_id FROM attr"))

    assert kept() == sorted(ids.values())
    # A listing must have named what it is to miss.
    mount.umount()
    mount.remount()
    assert sorted(os.listdir(mount.path("batch"))) == ["goes", "stays"]
    delete_elsewhere(server, ids["goes"])
    wait_until(lambda: os.listdir(mount.path("batch")) == ["stays"] and kept() == [ids["stays"]],
               "it is forgotten")
    assert os.stat(mount.path("batch", "stays")).st_mode & 0o777 == 0o600
    wait_until(lambda: list(cached_data(mount.state)) == [ids["stays"]], "its content goes, too")
