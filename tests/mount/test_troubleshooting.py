"""
docs/troubleshooting.md: each message in it is produced here, under its errno, and each message
produced here stands in it. Those of connections are in test_networks.py.
"""
import contextlib
import errno
import os
import re
import shutil
import signal

import pytest

import sanitizer
from harness import BUILD, KEY, MIB, ROOT, SAN, make_file, run, wait_let_go, wait_until, xattr
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


def rule(op, status, code="odd"):
    return [{"op": op, "times": 0, "action": "status", "status": status, "code": code,
             "message": "as told"}]


REFUSALS = [("EACCES", rule("create", 401)), ("EACCES", rule("part", 403)),
            ("EINVAL", rule("complete", 400)), ("EINVAL", rule("create", 404)),
            ("EFBIG", rule("create", 413)),
            ("EDQUOT", rule("create", 429, "insufficient_quota")),
            ("EIO", rule("create", 429, "rate_limit")), ("EIO", rule("create", 503)),
            ("EIO", [{"op": "create", "times": 0, "action": "invalid_json"}])]


def close_fails(mount, name, write):
    """The name of the errno of a close, and what user.upload.error says."""
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
    return errno.errorcode.get(code), xattr(path, "error") or ""


def read_fails(mount, path):
    """The name of the errno of a read, and what the log says since."""
    mark = len(mount.log())
    with pytest.raises(OSError) as caught, open(path, "rb") as file:
        file.read()
    wait_until(lambda: "reading a File" in mount.log()[mark:], "the log line")
    return errno.errorcode[caught.value.errno], mount.log()[mark:]


@pytest.mark.plain
def test_errors_of_files(world):
    server = world.server()
    mount = world.mount(server, cache_size="0", retry_timeout="1", retry_delay="600")
    mount.may_fail = True
    seen = Coverage("EACCES", "EINVAL", "EFBIG", "EDQUOT", "EIO", "EHOSTUNREACH", "ENOENT")
    source = make_file(world.path("source"), 1000)
    for name in ("gone", "other"):
        run(["cp", source, mount.path("batch", name)])
    run(["cp", source, mount.path("user_data", "mine")])
    for names in (("batch", "gone"), ("user_data", "mine")):
        wait_let_go(mount, mount.path(*names))
    code, text = read_fails(mount, mount.path("user_data", "mine"))
    assert code == "EACCES"
    seen.see(code, text)
    server.faults(rule("content", 404))
    code, text = read_fails(mount, mount.path("batch", "gone"))
    assert code == "ENOENT"
    seen.see(code, text)
    for n, (want, rules) in enumerate(REFUSALS):
        server.faults(rules)
        code, text = close_fails(mount, f"f{n}", lambda fd: os.write(fd, b"x" * 1000))
        assert code == want, f"{rules}: {code}: {text}"
        seen.see(code, text)
    server.faults([])

    def declare(fd):
        os.setxattr(fd, "user.upload.size", b"2000")
        os.write(fd, b"x")

    code, text = close_fails(mount, "declared", declare)
    seen.see(code, text)
    server.kill()
    code, text = close_fails(mount, "unreachable", lambda fd: os.write(fd, b"x"))
    seen.see(code, text)
    seen.end()


def cli(world, *words, key=KEY, code=None):
    argv = sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *map(str, words)])
    keys = {"OPENAI_API_KEY": key} if key else {}
    result = run(argv, env={**sanitizer.options(world.dir), **keys}, check=False)
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
    seen.end()
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
