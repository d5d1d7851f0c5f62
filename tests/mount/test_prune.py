"""prune: state directories of mounts long gone go, nothing unpublished and nothing in use does."""
import os
import time

import pytest

from harness import bash, run
from test_cli import argv, cli, kill_writer

OLD = time.time() - 40 * 86400


def age(state):
    """As if it had not been used for 40 days."""
    for name in os.listdir(state):
        path = os.path.join(state, name)
        os.utime(path, (OLD, OLD), follow_symlinks=False)


@pytest.fixture
def states(world, server):
    """used: by a mount; young; old; kept: old, with an aborted file."""
    parent = world.path("states")
    mounts = {}
    for name in ("used", "young", "old", "kept"):
        mount = mounts[name] = world.mount(server, state_dir=os.path.join(parent, name))
        mount.may_fail = True
        bash('echo $2 > "$1"', mount.path("batch", name), name)
        run(["cat", mount.path("batch", name)])
        if name == "kept":
            kill_writer(mount.path("batch", "half"))
        if name != "used":
            mount.umount(range(2))
    for name in ("old", "kept", "used"):
        age(os.path.join(parent, name))
    os.mkdir(os.path.join(parent, "something else"))
    os.symlink("old", os.path.join(parent, "link"))
    return parent


def test_prune(world, states, server):
    def left():
        return sorted(os.listdir(states))

    text = cli(world, "prune", "--dry-run", states, code=1)
    assert f"{states}/old: " in text.stdout and "would be removed" in text.stdout
    assert f"{states}/kept stays: 1 files in it are not published" in text.stderr
    assert "1 state directories" in text.stdout and len(left()) == 6
    text = cli(world, "prune", states, code=1)
    assert f"{states}/old: " in text.stdout and "used" not in text.stdout + text.stderr
    assert left() == ["kept", "link", "something else", "used", "young"]
    cli(world, "prune", "--days", "0", states, code=1)
    assert left() == ["kept", "link", "something else", "used"]
    assert "half" in run(argv("recover", "list", os.path.join(states, "kept"))).stdout
    assert "0 state directories" in cli(world, "prune", world.path("nothing")).stdout
    cli(world, "prune", "--days", "x", states, code=2)


def test_doctor_names_them(world, states, server):
    result = run(argv("doctor", server.url, "-o", f"state_dir={states}/young",
                           world.path("mount2")), check=False,
                 env={"OPENAI_API_KEY": "sk-x"})
    assert f"1 state directories in {states} were not used for 30 days" in result.stdout
