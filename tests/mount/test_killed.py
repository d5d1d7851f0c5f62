"""
Writers that die by a signal, 200 of them: not one half-written file becomes a
File. Writers that end of their own will: every File is there.
"""
import collections
import concurrent.futures
import os
import resource
import signal
import subprocess
import sys

import pytest

from harness import (DEADLINE, MIB, FrozenCopy, assert_nothing_pending, make_file, md5, python, run,
                     wait_until, xattr)

PART = 65536
SIZE = 3 * PART + 3000
# Nothing much; a part to the byte; the middle; all but a byte; all of it, but not closed.
OFFSETS = [1, PART, 2 * PART + 17, SIZE - 1, SIZE]
SIGNALS = ["SIGKILL", "SIGINT", "SIGTERM", "SIGABRT"]
RUNS_AT_ONCE = 8

# argv: source, dest, offset, size (known or unknown), by, end (a signal, wait, close, exit CODE).
WRITER = """
import os, signal, sys
source, dest, offset, size, by, end = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_DFL)    # Python has a handler of its own
with open(source, "rb") as f:
    data = f.read()
fd = 1 if by != "direct" else os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
if size == "known":
    os.setxattr(dest, "user.upload.size", str(len(data)).encode())
at = 0
while at < int(offset):
    at += os.write(fd, data[at:min(at + 20000, int(offset))])
if end == "SIGABRT":
    os.abort()
if end.startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, end))
if end == "wait":
    os.write(2, b"%d\\n" % os.getpid())
    signal.pause()
if end == "close":
    os.close(fd)
os._exit(int(end[5:] or 0) if end.startswith("exit ") else 0)
"""

# How the writer, "$@", gets its file, $f.
DIRECT = {"direct": 'exec "$@"'}
REDIRECTION = {"redirection": '"$@" > "$f"; true'}
# In these the shell opens the file, outlives the writer, and closes it in its turn.
SHELLS = {
    "exec": 'exec "$@" > "$f"',
    "append": '"$@" >> "$f"; true',
    "subshell": '("$@") > "$f"; true',
    "group": '{ "$@"; } > "$f"; true',
    "second of a group": '{ true; "$@"; sleep 0; } > "$f"; true',
    "subshell of two": '("$@"; true) > "$f"; true',
    "file of the shell": 'exec 3> "$f"; "$@" >&3; exec 3>&-',
    "file of the shell, left open": 'exec 3> "$f"; "$@" >&3; true',
}
BY = {**DIRECT, **REDIRECTION, **SHELLS}

Run = collections.namedtuple("Run", "offset size by end sig", defaults=[None])


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def members(session):
    """The processes of a session that are no zombies."""
    found = []
    for pid in [x for x in os.listdir("/proc") if x.isdigit()]:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(pid))
    return found


def end_of(proc):
    """Waits for it and all that it started; nothing of its session stays, whatever happened."""
    try:
        proc.communicate(timeout=DEADLINE * 2)
        wait_until(lambda: not members(proc.pid), "its children end")
    except (subprocess.TimeoutExpired, AssertionError):
        for pid in members(proc.pid):
            os.kill(pid, signal.SIGKILL)
        proc.communicate()
        raise AssertionError(f"did not end: {proc.args}") from None


def write(source, dest, case):
    """One writer from its start to its end. case.sig comes from outside: Ctrl-C to the group."""
    argv = ["bash", "-c", BY[case.by], "bash", sys.executable, "-SEc", WRITER, source, dest,
            str(case.offset), case.size, case.by, case.end]
    proc = subprocess.Popen(argv, env=dict(os.environ, f=dest), start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, preexec_fn=no_core)
    try:
        if case.sig:
            line = proc.stderr.readline().strip()
            if not line.isdigit():
                os.killpg(proc.pid, signal.SIGKILL)
                raise AssertionError(f"{line} {proc.stderr.read()}")
            if case.sig == "SIGINT":
                os.killpg(proc.pid, signal.SIGINT)
            else:
                os.kill(int(line), getattr(signal, case.sig))
    finally:
        end_of(proc)
    return dest


def write_all(mount, source, cases):
    """{path: case}, several writers at a time."""
    files = {mount.path("batch", f"w{i:03}"): x for i, x in enumerate(cases)}
    with concurrent.futures.ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        list(pool.map(lambda x: write(source, *x), files.items()))
    return files


def assert_aborted(server, mount, source, files):
    """Of none there is a File or will be, by what each says and by what the server has seen."""
    with open(source, "rb") as f:
        data = f.read()
    for path, case in files.items():
        wait_until(lambda: xattr(path, "status") not in ("writing", "streaming"), case)
    # All that are wrong, not the first only.
    statuses = {x: xattr(x, "status") for x in files}
    assert {c: statuses[x] for x, c in files.items() if statuses[x] != "aborted"} == {}
    assert server.files() == []
    assert server.journal(op="complete") == []
    assert_nothing_pending(server)
    for path, case in files.items():
        with open(path, "rb") as f:
            assert f.read() == data[:case.offset], case
        assert xattr(path, "file_id") is None
    # Nor does the next mount make one.
    mount.umount()
    mount.remount()
    assert {xattr(x, "status") for x in files} == {"aborted"}
    assert server.files() == []


@pytest.fixture
def small(world):
    return make_file(world.path("small"), SIZE)


@pytest.fixture
def mount(world, server):
    return world.mount(server, part_size="64K")


def by_itself(by, size):
    return [Run(x, size, by, s) for x in OFFSETS for s in SIGNALS]


def from_outside(by, size):
    return [Run(x, size, by, "wait", s) for x in OFFSETS for s in SIGNALS]


@pytest.mark.parametrize("size", ["known", "unknown"])
@pytest.mark.parametrize("by", ["direct", "redirection"])
def test_killed(server, mount, small, by, size):
    """40 deaths in each of the four: 4 signals, 5 offsets, own doing and somebody else's."""
    files = write_all(mount, small, by_itself(by, size) + from_outside(by, size))
    assert len(files) == 40
    assert_aborted(server, mount, small, files)


@pytest.mark.parametrize("by", SHELLS)
def test_killed_under_a_shell(server, mount, small, by):
    """The shell lives on and closes the file: that does not make the half a whole."""
    cases = [Run(x, "unknown", by, "wait", s) for x in (PART, SIZE - 1) for s in
             ("SIGKILL", "SIGTERM", "SIGINT")]
    files = write_all(mount, small, cases + [Run(PART + 9, "known", by, "SIGABRT")])
    assert_aborted(server, mount, small, files)


# What a writer can do that is no death.
ENDS = ["close", "exit 0", "exit 3", "exit 143"]


@pytest.mark.parametrize("size", ["known", "unknown"])
@pytest.mark.parametrize("by", BY)
def test_not_killed(server, mount, small, by, size):
    """The same writers, ending of their own will, with and without close()."""
    offsets = [SIZE] if size == "known" else OFFSETS
    files = write_all(mount, small, [Run(x, size, by, e) for x in offsets for e in ENDS])
    for path, case in files.items():
        wait_until(lambda: xattr(path, "status") == "completed", case)
    found = {x["filename"]: x for x in server.files()}
    assert len(server.files()) == len(found) == len(files)
    with open(small, "rb") as f:
        data = f.read()
    for path, case in files.items():
        file = found[os.path.basename(path)]
        assert (xattr(path, "file_id"), file["bytes"]) == (file["id"], case.offset), case
        with server.get(f"/files/{file['id']}/content") as reply:
            assert reply.read() == data[:case.offset], case
    assert_nothing_pending(server)


# ---- real tools ----

# Each reads the FIFO $p, which never ends, and writes $f.
FIFO_TOOLS = {
    "cp": 'exec cp "$p" "$f"',
    "dd": 'exec dd if="$p" of="$f" bs=4K status=none',
    "cat": 'exec cat "$p" > "$f"',
    "tee": 'exec tee "$f" < "$p" > /dev/null',
    "pipe": 'cat "$p" | cat > "$f"',
    "script": 'cat "$p" > "$f"\necho never reached > "$f.next"',
    "head": 'exec head -c 999999999 "$p" > "$f"',
}


class FedTool:
    """A tool in a session of its own that has written some and waits for more."""

    def __init__(self, world, script, dest, data):
        self.fifo = world.path(f"fifo{world.next_number()}")
        os.mkfifo(self.fifo)
        self.proc = subprocess.Popen(["bash", "-c", script],
                                     env=dict(os.environ, LC_ALL="C", p=self.fifo, f=dest),
                                     start_new_session=True, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     preexec_fn=no_core)
        self.fd = os.open(self.fifo, os.O_WRONLY)
        done = 0
        while done < len(data):
            done += os.write(self.fd, data[done:])
        wait_until(lambda: os.path.getsize(dest) >= PART, "the tool has written some")

    def kill(self, sig):
        """Its exit code as a shell would tell it."""
        os.killpg(self.proc.pid, sig)
        end_of(self.proc)
        os.close(self.fd)
        return self.proc.returncode


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGABRT"])
def test_tools_killed(world, server, mount, small, name):
    """kill -9 of real tools, Ctrl-C, and the like: the whole process group gets the signal."""
    with open(small, "rb") as f:
        data = f.read()
    # An interrupted dd closes its output as if all were well: see test_signal_handled.
    tools = [x for x in FIFO_TOOLS if (x, name) != ("dd", "SIGINT")]
    paths = {}
    for tool in tools:
        dest = paths[tool] = mount.path("batch", tool)
        FedTool(world, FIFO_TOOLS[tool], dest, data).kill(getattr(signal, name))
    for tool, dest in paths.items():
        wait_until(lambda: xattr(dest, "status") not in ("writing", "streaming"), tool)
    assert {x: xattr(d, "status") for x, d in paths.items()} == dict.fromkeys(tools, "aborted")
    assert sorted(os.listdir(mount.path("batch"))) == sorted(tools)
    assert server.files() == []
    assert server.journal(op="complete") == []
    assert_nothing_pending(server)


def rsync_slowly(mount, source, *options):
    """An rsync in a session of its own that has written some and is far from its end."""
    proc = subprocess.Popen(["rsync", "--bwlimit=2000", *options, source, mount.path("batch")],
                            env=dict(os.environ, LC_ALL="C"), start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, preexec_fn=no_core)

    def wrote():
        names = os.listdir(mount.path("batch"))
        return [x for x in names if os.path.getsize(mount.path("batch", x)) >= PART]

    try:
        wait_until(wrote, "rsync has written some")
    except AssertionError:
        os.killpg(proc.pid, signal.SIGKILL)
        end_of(proc)
        raise
    return proc


# A signal that rsync can handle makes it remove its temporary file; with --inplace there is none.
@pytest.mark.parametrize("name, mode", [("SIGKILL", ""), ("SIGABRT", ""), ("SIGTERM", ""),
                                        ("SIGINT", ""), ("SIGKILL", "--inplace"),
                                        ("SIGABRT", "--inplace")])
def test_rsync_killed(world, server, mount, name, mode):
    """In the middle, all its processes at once."""
    source = make_file(world.path("big.jsonl"), 40 * MIB)
    proc = rsync_slowly(mount, source, *mode.split())
    os.killpg(proc.pid, getattr(signal, name))
    end_of(proc)
    left = os.listdir(mount.path("batch"))
    assert len(left) == (name in ("SIGKILL", "SIGABRT"))
    for path in [mount.path("batch", x) for x in left]:
        wait_until(lambda: xattr(path, "status") not in ("writing", "streaming"), path)
        assert xattr(path, "status") == "aborted"
    assert server.files() == []
    assert server.journal(op="complete") == []
    assert_nothing_pending(server)


# Does what rsync --inplace does: exits by itself, with a code that tells its caller.
HANDLER = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *args: os._exit(20))
with open(os.environ["p"], "rb", buffering=0) as f:
    out = os.open(os.environ["f"], os.O_WRONLY | os.O_CREAT)
    while data := f.read(4096):
        os.write(out, data)
"""


def test_signal_handled(world, server, mount, small):
    """
    The limit of it: a program that handles the signal, and then closes or exits like
    any other, is not told from one that is done.
    """
    with open(small, "rb") as f:
        data = f.read()
    tools = {"dd": (FIFO_TOOLS["dd"], -signal.SIGINT),
             "own": (f"exec {sys.executable} -SEc '{HANDLER}'", 20)}
    for name, (script, code) in tools.items():
        tool = FedTool(world, script, mount.path("batch", name), data)
        assert tool.kill(signal.SIGINT) == code
    for name in tools:
        wait_until(lambda: xattr(mount.path("batch", name), "status") == "completed", name)
    assert {x["filename"]: x["bytes"] for x in server.files()} == {
        x: os.path.getsize(mount.path("batch", x)) for x in tools}


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_cp_killed_while_it_streams(world, server, mount, name):
    """A large regular file: its size was seen, parts are out; the Upload is cancelled."""
    source = make_file(world.path("big.jsonl"), 16 * MIB)
    dest = mount.path("batch", "out.jsonl")
    copy = FrozenCopy(source, dest, at=2 * MIB)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        copy.proc.send_signal(getattr(signal, name))
        code, _ = copy.finish()
    finally:
        copy.close()
    assert code == -getattr(signal, name)
    wait_until(lambda: xattr(dest, "status") == "aborted", "the file is aborted")
    assert server.journal(copy.since, op="complete") == []
    assert [x for x in server.files() if x["bytes"] != os.path.getsize(source)] == []
    assert_nothing_pending(server)
    run(["cmp", "-n", str(os.path.getsize(dest)), source, dest])
    # Done again, it is a File.
    run(["cp", source, dest])
    assert (xattr(dest, "status"), xattr(dest, "md5")) == ("completed", md5(source))


AFTER_ANOTHER = """
import os, signal, sys
def child(body):
    pid = os.fork()
    if not pid:
        body()
        os._exit(0)
    os.waitpid(pid, 0)
for k in range(20):
    fd = os.open(f"{sys.argv[1]}/f{k % 5}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    child(lambda: os.write(fd, b"by a child"))
    child(lambda: os.kill(os.getpid(), signal.SIGKILL))
    os.close(fd)    # raises when it is EIO
"""


def test_killed_after_another_wrote(server, mount):
    """It wrote nothing itself, though the kernel calls it as it called the one that did."""
    python(AFTER_ANOTHER, mount.path("batch"))
    assert sorted(x["filename"] for x in server.files()) == [f"f{k}" for k in range(5)]
    assert {x["bytes"] for x in server.files()} == {len("by a child")}
