"""How old a listing may be: with list_ttl=0 every call shows what was there when it began."""
import os
import subprocess
import sys

import pytest

from accounts import delete_file, post_file
from harness import DEADLINE, proc_state, wait_until, xattr


LOOK = """
import os, sys
print("looks", flush=True)
print(*sorted(os.listdir(sys.argv[1])))
"""


def look(top):
    """A process that lists the directory, and waits for that."""
    process = subprocess.Popen([sys.executable, "-B", "-c", LOOK, top], stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout.readline() == "looks\n"
    wait_until(lambda: proc_state(process.pid) in "SD", "it waits")
    return process


def test_held_page(world, account):
    """A File that comes while a page is under way is shown to who opens the directory then."""
    account.add("first")
    mount = world.mount(account, list_ttl="0")
    top = mount.path("batch")
    assert os.listdir(top) == ["first"]
    account.hold_from = account.asked + 1
    account.early = True    # the page is made before it waits
    processes = []
    try:
        processes.append(look(top))
        wait_until(lambda: account.made >= account.hold_from, "a page is made")
        account.add("second")
        processes.append(look(top))
        account.go.set()
        seen = [x.communicate(timeout=DEADLINE)[0].split() for x in processes]
    finally:
        for x in processes:
            x.kill()
            x.communicate()
    assert seen[1] == ["first", "second"]
    assert "first" in seen[0]


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_names_follow_ls(world, server, change):
    """What ls does not show any more can't be opened, and what it shows is what is opened."""
    mount = world.mount(server, list_ttl="0")
    path = mount.path("batch", "f")
    for _ in range(2):
        old = post_file(server, "f", b"old")
        wait_until(lambda: os.path.exists(path), "it shows")
        assert os.listdir(mount.path("batch")) == ["f"]
        # The kernel has looked the name up, and read the File.
        with open(path, "rb") as f:
            assert f.read() == b"old"
        new = post_file(server, "f", b"newer") if change == "replaced" else None
        delete_file(server, old)
        assert os.listdir(mount.path("batch")) == ["f"] * bool(new)
        if new:
            assert xattr(path, "file_id") == new
            assert os.path.getsize(path) == 5
            with open(path, "rb") as f:
                assert f.read() == b"newer"
            os.unlink(path)
        else:
            with pytest.raises(FileNotFoundError):
                open(path, "rb")
