"""ls and fetch: the Files of a tree for people and scripts, and their content ahead of its use."""
import json
import os

from harness import bash, md5, xattr
from test_cli import Terminal, cli


def grow(mount):
    bash('cd "$1"; mkdir -p d/e; for f in one d/two d/e/three; do echo $f > $f; done; : > empty',
         mount.path("batch"))


def test_ls_forms(world, server, mount):
    grow(mount)
    root = mount.path("batch")
    plain = cli(world, "ls", root).stdout.splitlines()
    assert [x.split()[-1] for x in plain] == [root + "/empty", root + "/one"]
    assert xattr(root + "/one", "file_id") in plain[1] and "completed" in plain[1]
    assert plain[0].startswith("- ") and " empty " in plain[0]
    rows = [x.split("\t") for x in cli(world, "ls", "-R", "--tsv", root).stdout.splitlines()]
    assert rows[0] == ["path", "file_id", "bytes", "md5", "purpose", "status", "created_at",
                       "expires_at"]
    by_path = {x[0]: dict(zip(rows[0], x)) for x in rows[1:]}
    assert list(by_path) == [f"{root}/{x}" for x in ("d/e/three", "d/two", "empty", "one")]
    for entry in server.files():
        row = by_path[os.path.join(root, entry["filename"])]
        assert row["file_id"] == entry["id"] and int(row["bytes"]) == entry["bytes"]
        assert row["purpose"] == "batch" and int(row["created_at"]) == entry["created_at"]
        assert row["md5"] == md5(row["path"])
        assert row["expires_at"] == str(entry.get("expires_at") or "")
    assert by_path[root + "/empty"]["file_id"] == ""
    listed = json.loads(cli(world, "ls", "-R", "--json", root).stdout)
    assert [x["path"] for x in listed] == list(by_path)
    one = [x for x in listed if x["path"].endswith("/one")][0]
    assert one["bytes"] == 4 and one["status"] == "completed"
    bash('echo x > "$1"', mount.path("vision", "v"))
    vision = json.loads(cli(world, "ls", "--json", mount.path("vision")).stdout)
    assert [x["expires_at"] for x in vision] == [None]
    assert json.loads(cli(world, "ls", "--json", mount.path("evals")).stdout) == []
    assert len(cli(world, "ls", root + "/one", root + "/d/two").stdout.splitlines()) == 2


def test_ls_odd_names(world, server, mount):
    """One line each, whatever the name."""
    name = "a\\c é"
    bash('echo x > "$1"', mount.path("batch", name))
    text = cli(world, "ls", "--tsv", mount.path("batch")).stdout
    assert text.splitlines()[1].split("\t")[0].endswith("a\\\\c é")
    assert json.loads(cli(world, "ls", "--json", mount.path("batch")).stdout)[0][
        "path"].endswith(name)


def test_ls_elsewhere(world, server, mount):
    """What is not there, or not ours, is an error; the rest is listed."""
    bash('echo x > "$1"', mount.path("batch", "f"))
    result = cli(world, "ls", world.path("nothing"), mount.path("batch", "f"), code=1)
    assert "No such file" in result.stderr and "batch/f" in result.stdout
    assert "no file of an uploadfs mount" in cli(world, "ls", "/etc/hostname", code=4).stderr
    cli(world, "ls", code=2)
    cli(world, "ls", "--json", "--tsv", mount.mnt, code=2)
    # Nothing to list is no success where no mount is.
    os.mkdir(world.path("empty"))
    os.mkfifo(world.path("fifo"))
    os.symlink("nowhere", world.path("dangling"))
    os.mkdir(mount.path("batch", "empty"))
    for name in ("ls", "fetch"):
        assert "on no uploadfs mount" in cli(world, name, world.path("empty"), code=4).stderr
        assert "no file of an" in cli(world, name, world.path("fifo"), code=4).stderr
        assert "No such file" in cli(world, name, world.path("dangling"), code=1).stderr
        cli(world, name, mount.path("batch", "empty"))


def test_links_to_a_mount(world, mount):
    """A link that is named is followed, to a directory or a file; one below is not."""
    bash('echo x > "$1"', mount.path("batch", "f"))
    os.symlink(mount.path("batch"), world.path("data"))
    os.symlink(mount.path("batch", "f"), world.path("one"))
    for link in ("data", "one"):
        assert xattr(mount.path("batch", "f"), "file_id") in cli(world, "ls", world.path(link)).stdout
        assert cli(world, "fetch", world.path(link)).stdout == "1 files, 2 B\n"


def test_fetch(world, server, mount):
    """Another host's Files are in the cache afterwards: no content is asked for again."""
    for n in range(6):
        bash('mkdir -p "$1/d"; head -c 300000 /dev/urandom > "$1/d/$2"', mount.path("batch"),
             str(n))
    other = world.mount(server)
    text = cli(world, "fetch", "--parallel", "3", other.path("batch")).stdout
    assert text == "6 files, 1.7 MiB\n"
    asked = len(server.journal(op="content"))
    assert asked >= 6
    for n in range(6):
        assert md5(other.path("batch", "d", str(n))) == md5(mount.path("batch", "d", str(n)))
    assert len(server.journal(op="content")) == asked


def test_fetch_fails(world, server, mount):
    """What can't be read is named, and the rest is read."""
    for n in range(3):
        bash('echo $2 > "$1"', mount.path("batch", str(n)), str(n))
    other = world.mount(server, retry_timeout="1")
    bad = xattr(mount.path("batch", "1"), "file_id")
    server.faults([{"op": "content", "match": bad, "times": 0, "action": "status",
                    "status": 404}])
    result = cli(world, "fetch", other.path("batch"), code=1)
    assert "batch/1: " in result.stderr and result.stdout.startswith("2 files")
    cli(world, "fetch", "--parallel", "0", other.mnt, code=2)
    cli(world, "fetch", "/etc/hostname", code=4)


def test_fetch_on_a_terminal(world, server, mount):
    """Progress in one line."""
    bash('head -c 300000 /dev/urandom > "$1"', mount.path("batch", "f"))
    other = world.mount(server)
    screen = Terminal(world, "fetch", other.path("batch"))
    screen.wait_for("1/1 files")
    screen.end()
