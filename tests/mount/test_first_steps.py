"""A user's first steps and slips: each gets an answer that names what to do."""
import os
import signal
import subprocess

import pytest

import sanitizer
from harness import BUILD, KEY, SAN, bash, is_mounted, run, wait_until
from test_cli import argv, cli


def uploadfs(world, *words, **kwargs):
    return run([*sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *words])],
               env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY}, check=False, **kwargs)


@pytest.mark.parametrize("word, meant", [("statsu", "status"), ("unmount", "umount"),
                                         ("docter", "doctor"), ("WAIT", "wait")])
def test_misspelt_subcommand(world, word, meant):
    result = uploadfs(world, word)
    assert result.returncode == 2 and f"did you mean uploadfs {meant}?" in result.stderr


def test_a_directory_of_nearly_that_name(world, server):
    """Is the mountpoint."""
    os.mkdir(world.path("state"))
    os.mkdir(world.path("statsu"))
    result = uploadfs(world, "statsu", "-o", "no_such_word", cwd=world.dir)
    assert "no_such_word" in result.stderr and "did you mean uploadfs" not in result.stderr


def test_full_mountpoint(world, server, mount):
    """What it hides is said."""
    assert "not empty" not in mount.log()
    mount.umount()
    with open(os.path.join(mount.mnt, "hidden"), "w") as f:
        f.write("x")
    mount.remount()
    assert f"{mount.mnt} is not empty" in mount.log()
    mount.umount()
    os.unlink(os.path.join(mount.mnt, "hidden"))
    mount.remount()


def test_umount_from_inside(world, server, mount):
    """Not the program itself keeps it busy, only a shell that stays there."""
    shell = subprocess.Popen(["sleep", "600"], cwd=mount.mnt)
    try:
        text = cli(world, "umount", ".", code=1, cwd=mount.mnt).stderr
        assert f"process {shell.pid} (sleep)" in text
    finally:
        shell.kill()
        shell.wait()
    cli(world, "umount", ".", cwd=mount.mnt)
    assert mount.wait() == 0 and not is_mounted(mount.mnt)
    mount.remount()


def test_misspelt_purpose(world, server, mount):
    """cp into a directory that is none, and mkdir at the root: the log names the purposes."""
    run(["cp", "/etc/hostname", mount.path("finetune") + "/"], check=False)
    wait_until(lambda: "the root has no finetune (did you mean fine-tune?)" in mount.log(),
               "the log names it")
    assert "assistants, batch, evals, fine-tune, user_data and vision" in mount.log()
    run(["mkdir", mount.path("data")], check=False)
    assert mount.log().count("the root has no") == 1  # once a minute


def test_mkdir_at_the_root(world, server, mount):
    result = run(["mkdir", mount.path("data")], check=False)
    assert result.returncode == 1
    assert "the root has no data: its directories are the purposes" in mount.log()


def test_without_a_system_log(world, server):
    """The program says where the log goes, and there it is. With one, nothing is said."""
    mnt, state = world.path("mnt"), world.path("state")
    os.mkdir(mnt)
    pid = None
    try:
        result = uploadfs(world, server.url, mnt, "-o", f"state_dir={state}")
        assert result.returncode == 0
        with open(os.path.join(state, "lock"), encoding="ascii") as f:
            pid = int(f.read())
        if os.path.exists("/dev/log"):
            assert "the log goes to" not in result.stderr
            return
        assert f"the log goes to {state}/daemon.log" in result.stderr
        bash('echo x > "$1"', os.path.join(mnt, "batch", "f"))

        def logged():
            with open(os.path.join(state, "daemon.log"), encoding="utf-8") as f:
                return "batch/f: published as" in f.read()

        wait_until(logged, "the log is in the state directory")
    finally:
        if is_mounted(mnt):
            run(argv("umount", mnt), check=False)
        elif pid:
            os.kill(pid, signal.SIGKILL)
