"""
docs/troubleshooting.md: each message in it is produced here, under its errno, and each message
produced here stands in it. Those of connections are in test_networks.py.
"""
import concurrent.futures
import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

import sanitizer
from harness import (BUILD, DEADLINE, KEY, MIB, ROOT, SAN, arriving_data, make_file, python, run,
                     staged_data, wait_let_go, wait_until, xattr)
from private_root import PrivateRoot

with open(os.path.join(ROOT, "docs", "troubleshooting.md"), encoding="utf-8") as f:
    TEXT = f.read()


def documented():
    """[(section, message)] of the tables."""
    found = []
    for section in re.split(r"^## ", TEXT, flags=re.M)[1:]:
        name = re.match(r"\w+", section).group(0)
        found += [(name, m) for m in re.findall(r"^\| `(.+?)` \|", section, re.M)]
    return found


def matches(message, text):
    """The message, with … for anything, is somewhere in text."""
    return re.search(".*".join(re.escape(x) for x in message.split("…")), text)


class Coverage:
    """Which of the messages of some sections have been seen."""

    def __init__(self, *sections):
        self.rows = {(s, m) for s, m in documented() if s in sections}
        assert {s for s, _ in self.rows} == set(sections)
        self.left = set(self.rows)

    def see(self, section, text):
        hits = {(s, m) for s, m in self.rows if s == section and matches(m, text)}
        assert len(hits) == 1, f"{section}: {text}\nis not documented once: {hits}"
        self.left -= hits

    def end(self):
        assert not self.left, f"never seen: {self.left}"


def rule(op, status, code="odd", message="as told"):
    return [{"op": op, "times": 0, "action": "status", "status": status, "code": code,
             "message": message}]


# What the service does: the row of the table in docs/semantics.md by its first words, the errno.
REFUSALS = [
    ("the key is refused", "EACCES", rule("create", 401)),
    ("the key is refused", "EACCES", rule("part", 403)),
    ("the key is refused", "EACCES", rule("create", 407)),
    ("the service refuses what", "EINVAL", rule("complete", 400)),
    ("the service refuses what", "EINVAL", rule("create", 404)),
    ("the service refuses what", "EINVAL", rule("part", 400)),
    ("too large for the service", "EFBIG", rule("create", 413)),
    ("too large for the service", "EFBIG", rule("create", 400, message="File is too large.")),
    ("a quota of the account", "EDQUOT", rule("create", 429, "insufficient_quota")),
    ("a quota of the account", "EDQUOT",
     rule("create", 400, message="You have exceeded your file storage quota.")),
    ("rate limit", "EIO", rule("create", 429, "rate_limit")),
    ("rate limit", "EIO", rule("create", 503)), ("rate limit", "EIO", rule("complete", 409)),
    ("a reply that makes no sense", "EIO",
     [{"op": "create", "times": 0, "action": "invalid_json"}]),
    ("too slow", "ETIMEDOUT", rule("create", 408)),
]


def rows():
    """[(cause, errno)] of the table of docs/semantics.md."""
    with open(os.path.join(ROOT, "docs", "semantics.md"), encoding="utf-8") as f:
        text = f.read()
    table = text[text.index("| cause | errno |"):]
    return re.findall(r"^\| ([^|]+) \| (E[A-Z0-9]+) \|$", table[:table.index("\n\n")], re.M)


class Told:
    """What users were told: against the document, and by the rows of the table."""

    def __init__(self):
        self.seen = Coverage("EACCES", "EINVAL", "EFBIG", "EDQUOT", "EIO", "ETIMEDOUT",
                             "EHOSTUNREACH", "ENOENT", "ENOSPC", "EINTR")
        self.rows = {cause: [] for cause, _ in rows()}

    def note(self, row, code, text):
        """text is of a failure with the errno called code."""
        (cause,) = [x for x in self.rows if x.startswith(row)]
        assert dict(rows())[cause] == code, f"{row}: {code}: {text}"
        self.seen.see(code, text)
        self.rows[cause].append(text)

    def end(self):
        self.seen.end()
        assert all(self.rows.values()), f"no message for {[k for k, v in self.rows.items() if not v]}"


def close_fails(mount, name, write):
    """The name of the errno of a close, and user.upload.error, which stands everywhere."""
    path = mount.path("batch", name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        write(fd)
    finally:
        try:
            os.close(fd)
            code = 0
        except OSError as exc:
            code = exc.errno
    return errno.errorcode.get(code), everywhere(mount, name)


def everywhere(mount, name):
    """user.upload.error of a file; the log and the status say the same, with its path."""
    path = mount.path("batch", name)
    text = wait_until(lambda: xattr(path, "error"), "the reason")
    wait_until(lambda: re.search(rf"batch/{name}: .*{re.escape(text)}", mount.log()),
               f"the log says: {text}")
    with open(mount.path(".uploadfs", "status"), encoding="utf-8") as f:
        (entry,) = [x for x in json.load(f)["files"] if x["path"] == "batch/" + name]
    assert entry["error"] == text and entry["errno"]
    if "HTTP" in text:
        assert f"HTTP {entry['http_status']} " in text
        assert f"(request {entry['request_id']})" in text
        assert entry["request_id"] == xattr(path, "request_id")
    assert ";" in text, "the next step is missing: " + text
    return text


def read_fails(mount, path, prepare=None, request=True):
    """
    The name of the errno of a read, and the line in the log, which names the file. prepare:
    called with the open file. request: was it one to the service that failed?
    """
    mark = len(mount.log())
    with pytest.raises(OSError) as caught, open(path, "rb") as file:
        if prepare:
            prepare(file)
        file.read()
    label = os.path.relpath(path, mount.mnt)
    line = wait_until(lambda: re.search(rf"{label}: reading it failed.*", mount.log()[mark:]),
                      "the log line").group(0)
    assert ("(request req_" in line) == request
    return errno.errorcode[caught.value.errno], line


def copy(mount, name):
    """A cp in the background that will fail."""
    return subprocess.Popen(["cp", __file__, mount.path("batch", name)], stderr=subprocess.PIPE,
                            text=True, env=dict(os.environ, LC_ALL="C"))


def ends_with(proc, words):
    """The cp fails, for that reason."""
    try:
        _, err = proc.communicate(timeout=DEADLINE)
    finally:
        proc.kill()
        proc.wait()
    assert proc.returncode and words in err, err


# Several processes that share a descriptor; the errno of the opener's close.
SHARED = """import errno, os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"x")
if not (pid := os.fork()):
    os.write(fd, b"y")
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
try:
    os.close(fd)
except OSError as exc:
    print(errno.errorcode[exc.errno])
"""


def provoke_reading(told, server, mount):
    def copies():
        return arriving_data(mount)

    def cut(file):
        file.read()
        # That of what was read before goes with its RELEASE, for which no close waits.
        wait_until(lambda: len(copies()) == 1, "its copy alone is there")
        os.truncate(copies()[0], 10)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)

    source = make_file(mount.world.path("source"), 1000)
    for path in (("batch", "gone"), ("batch", "cut"), ("user_data", "mine")):
        run(["cp", source, mount.path(*path)])
        wait_let_go(mount, mount.path(*path))
    told.note("the service does not hand", *read_fails(mount, mount.path("user_data", "mine")))
    told.note("a reply that makes no sense",
              *read_fails(mount, mount.path("batch", "cut"), cut, request=False))
    server.faults(rule("content", 404))
    told.note("a File that was listed", *read_fails(mount, mount.path("batch", "gone")))


def provoke_refusals(told, server, mount):
    """All at once, as most of them are tried again before the close fails; each by its name."""
    server.faults([dict(x, match=f"case{n:02}") for n, (_, _, rules) in enumerate(REFUSALS)
                   for x in rules])
    with concurrent.futures.ThreadPoolExecutor(len(REFUSALS)) as pool:
        ends = pool.map(lambda n: close_fails(mount, f"case{n:02}",
                                              lambda fd: os.write(fd, b"x" * 1000)),
                        range(len(REFUSALS)))
    for (row, want, rules), (code, text) in zip(REFUSALS, ends):
        assert code == want, f"{rules}: {code}: {text}"
        told.note(row, code, text)
    server.faults([])


def provoke_writers(told, mount):
    """A declared size, a writer that was killed, writes that fail."""
    def declare(fd):
        os.setxattr(fd, "user.upload.size", b"2000")
        os.write(fd, b"x")

    told.note("a declared size", *close_fails(mount, "declared", declare))
    code = python(SHARED, mount.path("batch", "shared")).stdout.strip()
    told.note("a declared size", code, everywhere(mount, "shared"))

    def write_at(offset, want):
        def write(fd):
            with pytest.raises(OSError) as caught:
                os.pwrite(fd, b"x", offset)
            assert caught.value.errno == want
        return write

    told.note("too large for", *close_fails(mount, "huge", write_at(8 << 30, errno.EFBIG)))
    told.note("no room", *close_fails(mount, "room", write_at(64 * MIB, errno.ENOSPC)))


def provoke_whole(told, world):
    """A service that takes a file in one request only."""
    mount = world.mount(world.server("--flavor", "files-only"), retry_delay="600")
    mount.may_fail = True
    told.note("too large for",
              *close_fails(mount, "large", lambda fd: os.pwrite(fd, b"x", 512 * MIB)))


def provoke_damage(told, world, server):
    """Bytes that change on disk before they are sent, while create gets no answer."""
    mount = world.mount(server, retry_timeout="60", retry_delay="600")
    mount.may_fail = True
    server.faults([{"op": "create", "times": 0, "action": "stall"}])
    cp = copy(mount, "damaged")
    try:
        path = mount.path("batch", "damaged")
        wait_until(lambda: os.path.exists(path) and xattr(path, "md5"), "the MD5")
        (data,) = staged_data(mount.state)
        with open(data, "r+b") as f:
            f.write(b"X")
        server.faults([])
        server.restart()
    finally:
        ends_with(cp, "Input/output error")
    told.note("a reply that makes no sense", "EIO", everywhere(mount, "damaged"))


def provoke_end(told, world, server):
    """A daemon that is told to end while a close waits."""
    mount = world.mount(server, drain_timeout="0", retry_timeout="60")
    mount.may_fail = True
    server.faults([{"op": "create", "times": 0, "action": "stall"}])
    cp = copy(mount, "late")
    try:
        path = mount.path("batch", "late")
        wait_until(lambda: os.path.exists(path) and xattr(path, "status") == "publishing", "closed")
        mount.proc.terminate()
    finally:
        ends_with(cp, "Interrupted system call")
    assert mount.wait() == 1
    server.faults([])
    told.note("the wait was ended", "EINTR", mount.log())


@pytest.mark.plain
def test_errors_of_files(world):
    """Every row of the table of errnos, through a mount, and what a user reads of it."""
    told = Told()
    server, slow_server, vague_server = world.server(), world.server(), world.server()
    vague_server.faults([{"op": op, "times": 0, "action": "invalid_json", "body": body}
                         for op, body in (("complete", "fine"), ("list", '{"data":[]}'))])
    slow_server.faults([{"op": "create", "times": 0, "action": "stall"}])
    slow = world.mount(slow_server, idle_timeout="1", retry_timeout="1", retry_delay="600")
    mount = world.mount(server, cache_size="0", retry_timeout="1", retry_delay="600",
                        staging_size="32M")
    vague = world.mount(vague_server, retry_delay="600")
    slow.may_fail = mount.may_fail = vague.may_fail = True
    # These take their time; meanwhile the others.
    cp, perhaps = copy(slow, "slow"), copy(vague, "vague")
    try:
        provoke_reading(told, server, mount)
        provoke_refusals(told, server, mount)
        provoke_writers(told, mount)
        provoke_whole(told, world)
        provoke_damage(told, world, server)
        provoke_end(told, world, server)
        server.kill()
        told.note("no connection",
                  *close_fails(mount, "unreachable", lambda fd: os.write(fd, b"x")))
    finally:
        ends_with(cp, "Connection timed out")
        ends_with(perhaps, "Input/output error")
    told.note("a reply that makes no sense", "EIO", everywhere(vague, "vague"))
    told.note("too slow", "ETIMEDOUT", everywhere(slow, "slow"))
    told.end()


def cli(world, *words, key=KEY, code=None, **env):
    argv = sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *map(str, words)])
    keys = {"OPENAI_API_KEY": key} if key else {}
    result = run(argv, env={**sanitizer.options(world.dir), **keys, **env}, check=False)
    assert result.returncode == code, result
    return result.stderr


def test_errors_of_mounting(world):
    seen = Coverage("Mounting")
    mnt = world.path("mnt")
    os.mkdir(mnt)
    for words, key in ((["https://h.invalid/v1", mnt], None), ([mnt, "-o", "api_key=x"], KEY),
                       (["http://h.invalid/v1", mnt], KEY), ([mnt + "/none"], KEY),
                       ([mnt, "-o", "part_sise=1M"], KEY)):
        seen.see("Mounting", cli(world, *words, key=key, code=2))
    with open(world.path("key"), "w") as f:
        os.fchmod(f.fileno(), 0o644)
    for path in ("/", "/none", world.path("key")):
        seen.see("Mounting", cli(world, mnt, "-o", "api_key_file=" + path, code=2))
    seen.see("Mounting", cli(world, mnt, code=2, AZURE_OPENAI_ENDPOINT="https://h.invalid"))
    seen.see("Mounting", cli(world, "https://h.invalid/v1", mnt, "-o", "api_version=x", code=2))
    seen.end()


def test_errors_of_subcommands(world, server, mount):
    seen = Coverage("Subcommands")
    mount.may_fail = True
    seen.see("Subcommands", cli(world, "recover", "list", mount.state, code=1))
    fd = os.open(mount.path("batch", "open"), os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, b"x" * MIB)
        seen.see("Subcommands", cli(world, "umount", mount.mnt, code=1))
        mount.kill()
        seen.see("Subcommands", cli(world, "status", mount.mnt, code=4))
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
    mount.remount()
    fd = os.open(mount.path("batch"), os.O_RDONLY)
    seen.see("Subcommands", cli(world, "umount", mount.mnt, code=1))
    os.close(fd)
    seen.see("Subcommands", cli(world, "umount", mount.mnt, code=1))
    seen.end()
    mount.wait()
    mount.remount()
    os.unlink(mount.path("batch", "open"))


DEAD = """
import ctypes, os, sys
fd = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
sys.exit(ctypes.CDLL(None).mount(b"x", sys.argv[1].encode(), b"fuse.other", 0, data))
"""


@pytest.mark.plain
def test_errors_at_boot(world, server):
    """By mount(8), umount(8), the doctor and a service manager, in a root of their own."""
    seen = Coverage("Boot")
    inside = PrivateRoot(world.path("private"), world.dir)
    try:
        shutil.copy(os.path.join(BUILD, "uploadfs"), world.path("program"))
        inside.bash('install -m 755 "$1" /usr/bin/uploadfs; mkdir /mnt/u /mnt/x; '
                    'rm -f /usr/sbin/*mount*.uploadfs', world.path("program"))
        inside.write("/etc/uploadfs.conf", "state_dir=/srv/state\n")
        inside.write("/etc/fstab", "none /mnt/u uploadfs rw 0 0\n")
        for line in inside.run("uploadfs", "doctor", "local:/srv/f", code=1).stdout.splitlines():
            if line.startswith("WRONG"):
                seen.see("Boot", line)
        mount = ["mount", "-t", "uploadfs", "local:/srv/f", "/mnt/u"]
        seen.see("Boot", inside.run(*mount, code=32).stderr)
        inside.bash("ln -s ../bin/uploadfs /usr/sbin/mount.uploadfs")
        inside.run(*mount)
        seen.see("Boot", inside.run("uploadfs", "local:/srv/g", "/mnt/x", "-o",
                                    "state_dir=/mnt/u/batch/state", code=1).stderr)
        seen.see("Boot", inside.run(*mount, code=32).stderr)
        seen.see("Boot", inside.run(*mount, "-o", "remount,ro", code=1).stderr)
        seen.see("Boot", inside.bash("ln -s uploadfs /usr/bin/umount.x; cd /mnt/u; "
                                     "umount.x /mnt/u", code=32).stderr)
        for pid in inside.processes("/mnt/u"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not inside.processes("/mnt/u"), "the daemon is dead")
        seen.see("Boot", inside.run(*mount).stderr)
        inside.run("uploadfs", "umount", "/mnt/u")
        inside.run("/usr/bin/python3", "-c", DEAD, "/mnt/x")
        seen.see("Boot", inside.run("uploadfs", "local:/srv/f", "/mnt/x", code=2).stderr)
        inside.write("/etc/fuse.conf", "")
        seen.see("Boot", inside.run("setpriv", "--reuid=65534", "--clear-groups", "uploadfs",
                                    "local:/srv/n", "/mnt/u", "-o", "allow_other", code=1).stderr)
    finally:
        inside.close()
    told = world.mount(server, env={"NOTIFY_SOCKET": world.path("none")})
    wait_until(lambda: "NOTIFY_SOCKET" in told.log(), "it is in the log")
    seen.see("Boot", told.log())
    seen.end()


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("command", ["cat $0 >$1", "echo x >$1", "{ cat $0; cat $0; } >$1"])
def test_a_redirection_and_its_remedy(world, server, shell, command):
    """What the section of failures that nobody saw says: `&& uploadfs wait FILE` tells."""
    mount = world.mount(server)
    mount.may_fail = True
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400}])
    words = [world.path("source"), mount.path("batch", "file")]
    make_file(words[0], 1000)
    script = command + f" && {shlex.join(sanitizer.wrap(SAN, [os.path.join(BUILD, 'uploadfs')]))} wait $1"
    result = run([shell, "-c", script, *words], check=False)
    assert result.returncode == 1
    server.faults([])
    os.unlink(words[1])
    assert run([shell, "-c", script, *words], check=False).returncode == 0
