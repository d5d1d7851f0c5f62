"""Everything works for who is not root: mounting, and each subcommand."""
import json
import os
import re

import pytest

from harness import KEY, is_mounted, make_file, run, wait_until
from users import AS_USER, give, user_mount

pytestmark = pytest.mark.plain

REFUSE = [{"op": "complete", "match": "wrong", "times": 0, "action": "status", "status": 400}]


@pytest.fixture
def mine(world, server):
    """A mount of an ordinary user's, with a File on it and one that was refused."""
    mount = user_mount(world, server, retry_delay="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    source = give(make_file(os.path.join(mount.home, "source"), 1000))
    mount.run(["cp", source, mount.path("batch", "good")])
    assert mount.run(["cp", source, mount.path("batch", "wrong")], check=False).returncode == 1
    return mount


def test_subcommands(server, mine):
    """status, wait, mounts, doctor, umount, recover: as the user who mounted it."""
    file_id = server.files()[0]["id"]
    assert "1 failed; 1 published" in mine.uploadfs("status", mine.mnt).stdout
    assert json.loads(mine.uploadfs("status", "--json", mine.mnt).stdout)["pid"] == mine.pid
    good = mine.path("batch", "good")
    assert mine.uploadfs("wait", good).stdout == file_id + "\n"
    result = mine.uploadfs("wait", mine.mnt, check=False)
    assert result.returncode == 1 and "batch/wrong: not published: HTTP 400" in result.stderr
    assert f"pid {mine.pid}, 0 under way, 1 failed" in mine.uploadfs("mounts", mine.mnt).stdout
    out = mine.uploadfs("doctor", "-o", f"state_dir={mine.state}", server.url, mine.mnt).stdout
    assert f"{mine.mnt} is mounted and answers" in out and "WRONG" not in out
    result = mine.uploadfs("umount", mine.mnt, check=False)
    assert result.returncode == 1 and "batch/wrong is not published" in result.stderr
    assert not is_mounted(mine.mnt) and mine.wait() == 1
    line = mine.uploadfs("recover", "list", mine.state).stdout
    found = re.fullmatch(r"(\w+)  failed +1000 B  batch/wrong  HTTP 400 .*\n", line)
    assert found, line
    server.faults([])
    text = mine.uploadfs("recover", "publish", server.url, mine.state).stderr
    assert "batch/wrong: published as file-" in text
    assert sorted(x["filename"] for x in server.files()) == ["good", "wrong"]
    assert mine.uploadfs("recover", "list", mine.state).stdout == ""
    mine.uploadfs("recover", "discard", "--all", mine.state)


def test_a_daemon_that_died(mine):
    """What is left of it is removed by its user, without root."""
    mine.kill()
    result = mine.uploadfs("mounts", mine.mnt, check=False)
    assert result.returncode == 1 and "its daemon is dead" in result.stdout
    assert "had died" in mine.uploadfs("umount", mine.mnt).stderr
    assert not is_mounted(mine.mnt)
    mine.remount()
    assert "1 failed" in wait_until(
        lambda: (lambda t: t if "failed" in t else None)(mine.uploadfs("status", mine.mnt).stdout),
        "the file is taken up")


def test_default_places(world, server, mine):
    """Without options the state is below the home, and nobody else's to read."""
    mine.umount(codes=(1,))
    mnt = give_dir(world, "second")
    mine.uploadfs(server.url, mnt)
    try:
        doc = json.loads(mine.uploadfs("status", "--json", mnt).stdout)
        assert doc["state_dir"].startswith(mine.home + "/.local/state/uploadfs/")
        assert os.stat(doc["state_dir"]).st_mode & 0o777 == 0o700
        result = run([os.path.join(world.dir, "uploadfs"), "status", mnt], check=False)
        if AS_USER:  # root, who is kept out as well
            assert result.returncode == 4 and "another user" in result.stderr
        assert KEY not in result.stdout + result.stderr
    finally:
        result = mine.uploadfs("umount", mnt, check=False)
    assert result.returncode == 0 and not is_mounted(mnt)


def give_dir(world, name):
    os.mkdir(world.path(name))
    return give(world.path(name))
