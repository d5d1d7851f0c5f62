"""Where the state directory lies: on FUSE, in memory, in /var/tmp; and who opens its database."""
import errno
import os
import shutil
import stat
import subprocess
import tempfile

import pytest

from harness import BUILD, KEY, SAN, make_file, run, wait_until, xattr
import sanitizer
from users import AS_USER, NOBODY, user_mount

PRELOAD = os.path.join(BUILD, "tests", "crash_preload.so")
UPLOADFS = os.path.join(BUILD, "uploadfs")


def uploadfs(*words, **env):
    return run(sanitizer.wrap(SAN, [UPLOADFS, *words]), check=False,
               env={**sanitizer.options(""), **os.environ, "OPENAI_API_KEY": KEY, **env})


def doctor(*words, **env):
    return uploadfs("doctor", *words, **env).stdout


@pytest.fixture
def mnt(world):
    os.mkdir(world.path("mnt"))
    return world.path("mnt")


@pytest.fixture
def memory():
    path = tempfile.mkdtemp(prefix="d-")
    try:
        run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=700", "tmpfs", path])
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
        os.rmdir(path)


def test_on_fuse(server, mount, mnt):
    """A directory that a program serves is refused, with the remedy; nothing is made there."""
    state = mount.path("batch", "state")
    failed = uploadfs(server.url, mnt, "-o", f"state_dir={state}")
    assert failed.returncode == 1
    assert "lies on fuse.uploadfs" in failed.stderr and "-o state_dir=" in failed.stderr
    assert not os.path.ismount(mnt) and os.listdir(mount.path("batch")) == []
    assert f"WRONG  state directory {state} lies on fuse.uploadfs" in doctor(
        "-o", f"state_dir={state}", server.url, mnt)


def test_in_memory(server, memory, mnt):
    """Works; the doctor says what it does not survive."""
    state = os.path.join(memory, "state")
    said = doctor("-o", f"state_dir={state}", server.url, mnt)
    assert f"ok     state directory {state} lies on tmpfs: " in said
    assert "does not survive a power cut" in said and not os.path.exists(state)


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
@pytest.mark.parametrize("type_", ["6969", "0bd00bd0"], ids=["nfs", "lustre"])
def test_on_a_file_server(world, server, mnt, type_):
    """A state directory that is named there works if its locks do, else it is refused."""
    state = world.path("far", "state")
    played = {"LD_PRELOAD": PRELOAD, "UPLOADFS_PLACE": f"{type_} {world.path('far')}"}
    os.mkdir(world.path("far"))
    words = [server.url, mnt, "-o", f"state_dir={state}"]
    failed = uploadfs(*words, UPLOADFS_PLACE_FLOCK=str(errno.ENOSYS), **played)
    assert failed.returncode == 1 and not os.path.ismount(mnt)
    assert f"state directory {state} lies on " in failed.stderr
    assert "Function not implemented" in failed.stderr and "-o state_dir= on a" in failed.stderr
    said = doctor("-o", f"state_dir={state}", server.url, mnt, **played)
    assert f"ok     state directory {state} lies on " in said and "tries locks" in said
    assert uploadfs(*words, **played).returncode == 0
    try:
        source = make_file(world.path("s"), 1000)
        run(["cp", source, os.path.join(mnt, "batch", "f")])
        run(["cmp", source, os.path.join(mnt, "batch", "f")])
    finally:
        assert uploadfs("umount", mnt).returncode == 0
    assert [x["filename"] for x in server.files()] == ["f"]
    assert [x for x in os.listdir(state) if "try" in x or "tried" in x] == []


@pytest.mark.skipif(not AS_USER, reason="plays another user")
def test_default_on_fuse(world, server, mnt):
    """The default of a user whose home is on FUSE is below /var/tmp, closed to others."""
    home = user_mount(world, server)
    tmp = f"/var/tmp/uploadfs-{NOBODY}"
    assert not os.path.exists(tmp), "left by something else"
    env = {"XDG_STATE_HOME": home.path("batch", "x")}
    os.chown(mnt, NOBODY, NOBODY)
    log = os.path.join(home.home, "log")
    start = [server.url, mnt, "-o", f"log_file={log}"]
    try:
        assert f"can't be used where it lies: {tmp}/" in home.uploadfs(
            "doctor", server.url, mnt, env=env, check=False).stdout
        assert not os.path.exists(tmp)
        # Somebody else was quicker: its owner could look into it, or change it.
        os.mkdir(tmp, 0o777)
        failed = home.uploadfs(*start, env=env, check=False)
        assert failed.returncode == 1 and "Operation not permitted" in failed.stderr
        assert os.listdir(tmp) == []
        os.rmdir(tmp)
        os.symlink(home.home, tmp)
        assert home.uploadfs(*start, env=env, check=False).returncode == 1
        os.unlink(tmp)
        home.uploadfs(*start, env=env)
        st = os.stat(tmp)
        assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (NOBODY, 0o700)
        (state,) = os.listdir(tmp)
        assert "state.db" in os.listdir(os.path.join(tmp, state))
        home.run(["cp", "/etc/hostname", os.path.join(mnt, "batch", "f")])
        home.uploadfs("umount", mnt, env=env)
        with open(log, encoding="utf-8") as f:
            assert f"{tmp}/{state} is used" in f.read()
        assert [x["filename"] for x in server.files()] == ["f"]
    finally:
        subprocess.run(["umount", "-l", mnt], check=False, stderr=subprocess.DEVNULL)
        if os.path.islink(tmp):
            os.unlink(tmp)
        shutil.rmtree(tmp, ignore_errors=True)


def test_doctor_asks_the_daemon(world, server):
    """Its database stays the daemon's."""
    mount = world.mount(server, retry_delay="600")
    mount.may_fail = True
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no"}])
    assert run(["cp", make_file(world.path("s"), 1000), mount.path("batch", "f")],
               check=False).returncode == 1
    said = doctor("-o", f"state_dir={mount.state}", server.url, mount.mnt)
    assert f"{mount.state}, in use by the mount {mount.mnt}, holds 1 file(s) that are not" in said
    server.faults([])
    os.setxattr(mount.path("batch", "f"), "user.upload.publish", b"1")
    wait_until(lambda: xattr(mount.path("batch", "f"), "status") == "completed", "it is published")
    assert "holds 0 file(s)" in doctor("-o", f"state_dir={mount.state}", server.url, mount.mnt)


def test_damaged_database_without_a_daemon(world, server):
    """Who only looks leaves it where it is; the next mount sets it aside whole, and works."""
    mount = world.mount(server)
    run(["cp", make_file(world.path("s"), 1000), mount.path("batch", "f")])
    mount.umount()
    db = os.path.join(mount.state, "state.db")
    with open(db, "r+b") as f:
        f.write(b"damaged" * 20)
    said = doctor("-o", f"state_dir={mount.state}", server.url, mount.mnt)
    assert f"WRONG  the database in {mount.state} is damaged" in said
    for words in (["list"], ["discard", "--all"]):
        failed = uploadfs("recover", *words[:1], mount.state, *words[1:])
        assert failed.returncode == 1 and "database is damaged" in failed.stderr
    assert [x for x in os.listdir(mount.state) if "damaged" in x] == []
    mount.remount()
    assert [x for x in os.listdir(mount.state) if x.startswith("state.db.damaged-")]
    run(["cmp", world.path("s"), mount.path("batch", "f")])
