"""
Each subcommand as a person sees it: driven in tmux, compared with tests/screens/*.txt.
"""
import contextlib
import os
import re
import subprocess

import pytest

import harness
from harness import MIB, bash, make_file, python, run, wait_until, xattr
from screens import FOLDER, Screen

pytestmark = pytest.mark.plain

# Two Parts of going.jsonl have been sent and get no answer; bad.jsonl is refused.
HOLD = [{"op": "part", "match": "going", "nth": 4, "times": 0, "action": "stall",
         "when": "after"}]
REFUSE = [{"op": "complete", "match": "bad.jsonl", "times": 0, "action": "status", "status": 400,
           "code": "invalid_jsonl", "message": "Line 17 is not JSON."}]
WIDE = "報告書2026年度第一四半期学習データ一覧表最終版.jsonl"
KILLED = ("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('half\\n'); f.flush(); "
          "os.kill(os.getpid(), 9)")


@pytest.fixture
def screen(world):
    """screen(…): a Screen that is closed at the end."""
    made = []

    def make(**kwargs):
        made.append(Screen(world, **kwargs))
        return made[-1]

    yield make
    for s in made:
        s.close()


@pytest.fixture
def openai(world):
    """A mount on which nothing happens by itself."""
    mount = world.mount(world.server(), "resend", parallel=2, retry_timeout="60",
                        retry_delay="3600", hold_timeout="3600", drain_timeout="20")
    mount.may_fail = True
    return mount


@contextlib.contextmanager
def in_flight(world, mount):
    """A cp whose file is half on its way when this begins, and a File when it ends."""
    mount.server.faults(HOLD)
    source = make_file(world.path("source"), 10 * MIB)
    path = mount.path("batch", "going.jsonl")
    cp = subprocess.Popen(["cp", source, path])
    try:
        wait_until(lambda: os.path.exists(path) and xattr(path, "status") == "publishing" and
                   xattr(path, "parts") == "3/10", "it is half on its way")
        yield
        mount.server.faults([])
        mount.server.restart()
        assert cp.wait(harness.DEADLINE) == 0
    finally:
        cp.kill()
        cp.wait()


def leave_rests(world, mount):
    """A file that is refused, one that is held, one whose writer was killed, an empty one."""
    mount.server.faults(REFUSE)
    run(["cp", make_file(world.path("bad.jsonl"), 99999), mount.path("batch", "bad.jsonl")],
        check=False)
    mount.server.faults([])
    bash('echo x > "$1/.rsync.AbC123"; : > "$1/nothing"', mount.path("user_data"))
    python(KILLED, mount.path("batch", "killed.csv"), check=False)
    wait_until(lambda: xattr(mount.path("batch", "killed.csv"), "status") == "aborted", "aborted")
    # Its close comes back when it is safe, a moment before its end.
    wait_until(lambda: xattr(mount.path("user_data", "nothing"), "status") == "empty", "empty")


def test_watch(world, screen, openai):
    """In progress; narrower and lower while it runs, wide characters too; published; unmounted."""
    terminal = screen(env={"LC_ALL": "C"})
    terminal.type(f"uploadfs status --watch {openai.name}")
    with open(openai.path("evals", WIDE), "wb", buffering=0) as f:
        os.setxattr(f.fileno(), "user.upload.size", str(3 * MIB).encode())
        f.write(b"x" * (2 * MIB))
        wait_until(lambda: xattr(f.name, "parts") == "2/3", "two Parts")
        with in_flight(world, openai):
            terminal.see("watch-in-progress")
            colours = terminal.tmux("capture-pane", "-p", "-e")
            assert re.search(r"\[\x1b\[32m#+\x1b\[39m-+\]", colours), colours
            terminal.resize(60, 10)
            terminal.see("watch-narrow")
            for columns in (80, 40, 20):
                terminal.resize(columns, 10)
                terminal.see(f"watch-{columns}")
                assert terminal.text() == terminal.tmux("capture-pane", "-p").strip("\n")
            terminal.resize(100, 24)
            terminal.see("watch-wide-again")
        f.write(b"x" * MIB)
    terminal.see("watch-done")
    run(["fusermount3", "-u", openai.mnt])
    openai.wait()
    terminal.see("watch-drained")


def test_watch_what_rests(world, screen, openai):
    """Failed, held, aborted, empty; a screen that is too low; Ctrl-C leaves it clean."""
    leave_rests(world, openai)
    terminal = screen()
    terminal.type(f"uploadfs status {openai.name}")
    terminal.see("status-rests")
    terminal.clear()
    terminal.type(f"uploadfs status {openai.name} | cat")
    terminal.see("status-lines")
    terminal.clear()
    terminal.resize(100, 50)  # its long lines take more rows with longer paths
    terminal.type(f"uploadfs status --json {openai.name}")
    terminal.see("status-json")
    terminal.resize(100, 24)
    terminal.clear()
    terminal.type(f"uploadfs status --watch {openai.name}")
    terminal.see("watch-rests")
    colours = terminal.tmux("capture-pane", "-p", "-e")
    for word, colour in (("failed", 31), ("held", 36), ("aborted", 33), ("empty", 36)):
        assert f"\x1b[{colour}m{word}\x1b[39m" in colours, colours
    terminal.resize(100, 6)
    terminal.see("watch-low")
    before = terminal.history()
    path = openai.path("user_data", "nothing")
    os.unlink(path)
    terminal.see("watch-low-less")
    assert terminal.history() == before, "a picture scrolls"
    terminal.keys("C-c")
    terminal.see("watch-ctrl-c")
    # And nothing of a colour or a mode is left to the shell.
    terminal.type("printf '%s\\n' plain")
    wait_until(lambda: "\nplain\n" in terminal.text() + "\n", "the shell goes on")
    assert "\x1b" not in terminal.tmux("capture-pane", "-p", "-e", "-S", "4")
    discard(openai)


def discard(mount):
    for path in (("batch", "bad.jsonl"), ("user_data", ".rsync.AbC123"), ("batch", "killed.csv")):
        os.unlink(mount.path(*path))


def test_wait(world, screen, openai):
    """A time-out, a failure, a File ID."""
    terminal = screen()
    path = f"{openai.name}/batch/going.jsonl"
    with in_flight(world, openai):
        terminal.type(f"uploadfs wait --timeout 0 {openai.name}; echo $?")
        terminal.see("wait-timeout")
        terminal.clear()
        terminal.type(f"uploadfs wait {path}; echo $?")
        wait_until(lambda: "echo $?" in terminal.text(), "it waits")
    terminal.see("wait-published")
    terminal.clear()
    leave_rests(world, openai)
    os.unlink(openai.path("user_data", ".rsync.AbC123"))
    terminal.type(f"uploadfs wait {openai.name}; echo $?")
    terminal.see("wait-failed")


def test_umount(world, screen, openai):
    """Refused while something is written; drained; what is not published is named."""
    terminal = screen()
    with open(openai.path("batch", "open.jsonl"), "wb", buffering=0) as f:
        f.write(b"x" * 1000)
        terminal.type(f"uploadfs umount {openai.name}; echo $?")
        terminal.see("umount-refused")
        terminal.clear()
    leave_rests(world, openai)
    os.unlink(openai.path("user_data", ".rsync.AbC123"))
    terminal.type(f"uploadfs umount {openai.name}; echo $?")
    terminal.see("umount-failed")
    openai.wait()


def test_umount_drains(world, screen, openai):
    """The time is over, and it goes on by itself; without a limit it waits."""
    terminal = screen()
    with in_flight(world, openai):
        terminal.type(f"uploadfs umount --timeout 0 {openai.name}; echo $?")
        terminal.see("umount-timeout")
        terminal.clear()
    openai.wait()
    openai.remount()
    mark = len(openai.log())
    with in_flight(world, openai):
        terminal.type(f"uploadfs umount {openai.name}; echo $?")
        wait_until(lambda: "finishing" in openai.log()[mark:], "it waits")
    terminal.see("umount-drained")
    openai.wait()


def test_mounts(world, screen, openai):
    """One that answers, and one whose daemon was killed."""
    terminal = screen()
    terminal.type(f"uploadfs mounts {openai.name}; echo $?")
    terminal.see("mounts")
    terminal.clear()
    openai.kill()
    terminal.type(f"uploadfs mounts {openai.name}; uploadfs status {openai.name}")
    terminal.see("mounts-dead")
    terminal.clear()
    terminal.type(f"uploadfs umount {openai.name}; echo $?")
    terminal.see("umount-dead")


def test_recover(world, screen, openai):
    """list, publish, discard."""
    leave_rests(world, openai)
    os.unlink(openai.path("user_data", ".rsync.AbC123"))
    openai.umount(codes=(1,))
    terminal = screen(env={"OPENAI_BASE_URL": openai.server.url})
    state = openai.name + ".state"
    terminal.type(f"uploadfs recover list {state} | sort -k 2")
    terminal.see("recover-list")
    terminal.clear()
    terminal.type(f"uploadfs recover publish {state}; echo $?")
    terminal.see("recover-publish")
    terminal.clear()
    terminal.type(f"uploadfs recover discard --all {state}; uploadfs recover list {state}; echo $?")
    terminal.see("recover-discard")


def test_doctor(world, screen):
    """All is well, and a key that is refused by a service; then one that is not there."""
    server = world.server()
    os.mkdir(world.path("mount99"))
    terminal = screen(env={"OPENAI_BASE_URL": server.url})
    command = "uploadfs doctor -o state_dir=mount99.state mount99; echo $?"
    terminal.type(command)
    terminal.see("doctor")
    terminal.clear()
    terminal.type("OPENAI_API_KEY=sk-wrong " + command)
    terminal.see("doctor-key")
    terminal.clear()
    for name, text in ("fine-tune/good.jsonl", '{"n": 1}\n'), ("fine-tune/bad.jsonl", '{"n": }\n'), (
            "batch/notes.txt", "x"):
        os.makedirs(world.path("in", os.path.dirname(name)), exist_ok=True)
        with open(world.path("in", name), "w", encoding="ascii") as f:
            f.write(text)
    terminal.type("uploadfs doctor -o state_dir=mount99.state none in/fine-tune in/batch; echo $?")
    terminal.see("doctor-files")
    terminal.clear()
    server.kill()
    terminal.type(command)
    terminal.see("doctor-unreachable")


def test_every_screen_is_used():
    """No file of screens is left over."""
    with open(__file__, encoding="utf-8") as f:
        used = set(re.findall(r'\.see\("([\w-]+)"\)', f.read()))
        used |= {f"watch-{columns}" for columns in (80, 40, 20)}
    assert used == {x.removesuffix(".txt") for x in os.listdir(FOLDER)}
