"""
The subcommands: status (plain, JSON, on a terminal), wait, umount, mounts. A terminal is a
pseudo terminal here, whose screen is kept as text.
"""
import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

import harness
import sanitizer
from harness import BUILD, KEY, SAN, bash, is_mounted, make_file, run, wait_until, xattr

STALL = [{"op": "part", "nth": 4, "action": "stall", "when": "during"}]
REFUSE = [{"op": "complete", "times": 0, "action": "status", "status": 400, "code": "odd",
           "message": "no such thing"}]
NAMES = ["status", "wait", "umount", "mounts"]


def argv(*words):
    return sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *map(str, words)])


def cli(world, *words, code=0, **kwargs):
    """A subcommand, which has to exit with code; its key is nowhere in what it prints."""
    result = run(argv(*words), env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY},
                 check=False, **kwargs)
    assert KEY not in result.stdout + result.stderr
    assert result.returncode == code, f"{words}: {result}"
    return result


class Terminal:
    """
    A subcommand on a pseudo terminal of 24 lines; screen() is what stands there now. A real
    one, with colours and another size while it runs, is in test_screens.py.
    """

    def __init__(self, world, *words, columns=100, **env):
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {"TERM": "xterm", "NO_COLOR": "1", **sanitizer.options(world.dir), **env}
        self.proc = subprocess.Popen(argv(*words), stdin=slave, stdout=slave, stderr=slave,
                                     env=dict(os.environ, **env), start_new_session=True)
        os.close(slave)
        os.set_blocking(self.fd, False)
        self.raw = ""
        self.lines, self.row, self.column = [""], 0, 0

    def _obey(self, text):
        """Just what status uses: lines, cursor up, clear to the end of a line, of the screen."""
        for token in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+|\x1b", text):
            line = self.lines[self.row]
            if token == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            elif token == "\r":
                self.column = 0
            elif re.fullmatch(r"\x1b\[\d+A", token):
                self.row -= int(token[2:-1])
                assert self.row >= 0, "above the first line"
            elif token in ("\x1b[K", "\x1b[J"):
                self.lines[self.row] = line[:self.column]
                if token == "\x1b[J":
                    del self.lines[self.row + 1:]
            else:
                assert "\x1b" not in token, repr(token)
                after = self.column + len(token)
                self.lines[self.row] = line[:self.column].ljust(self.column) + token + line[after:]
                self.column = after

    def screen(self):
        try:
            while block := os.read(self.fd, 65536):
                text = block.decode()
                self.raw += text
                self._obey(text)
        except BlockingIOError:
            pass
        except OSError as exc:  # the other side is closed
            assert exc.errno == errno.EIO
        return "\n".join(self.lines).strip("\n")

    def wait_for(self, pattern):
        return wait_until(lambda: re.search(pattern, self.screen()), f"{pattern} on the screen")

    def end(self, sig=None):
        """The exit status, after a signal or by itself; what is left to read is read."""
        if sig:
            self.proc.send_signal(sig)
        code = self.proc.wait(harness.DEADLINE)
        self.screen()
        return code

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(world):
    """terminal(words…): a Terminal that is closed at the end."""
    made = []

    def make(*words, **kwargs):
        made.append(Terminal(world, *words, **kwargs))
        return made[-1]

    yield make
    for t in made:
        t.close()


def kill_writer(path):
    harness.python("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('x\\n'); "
                   "os.kill(os.getpid(), 9)", path, check=False)
    wait_until(lambda: xattr(path, "status") == "aborted", "it is aborted")


def copy_in_background(source, dest):
    return subprocess.Popen(["cp", source, dest], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("name", NAMES)
def test_help_and_usage(world, name):
    """Each has a help that fits a screen, and says what it does not know."""
    text = cli(world, name, "--help").stdout
    assert text.startswith(f"usage: uploadfs {name}") and "Exit status:" in text
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80
    assert "--nonsense" in cli(world, name, "--nonsense", code=2).stderr
    too_many = cli(world, name, *["x"] * 99, code=2).stderr
    assert "too many" in too_many


def test_help_and_version_of_all(world):
    """What there is fits a screen, and names the subcommands."""
    text = cli(world, "--help").stdout
    assert len(text.splitlines()) <= 50 and max(map(len, text.splitlines())) <= 80
    assert all(name in text for name in (*NAMES, "recover", "doctor", "api_key_file", "--version"))
    assert re.fullmatch(r"uploadfs \d+\.\d+\.\d+\n", cli(world, "--version").stdout)


def test_wrong_words(world):
    assert "seconds" in cli(world, "wait", "--timeout", "x", "/", code=2).stderr
    assert "seconds" in cli(world, "wait", "/", "--timeout", code=2).stderr
    assert "MOUNTPOINT" in cli(world, "wait", code=2).stderr
    assert "MOUNTPOINT" in cli(world, "umount", code=2).stderr
    assert "together" in cli(world, "status", "--json", "--watch", code=2).stderr
    for words in (["status", world.dir], ["umount", world.dir], ["wait", world.dir],
                  ["mounts", world.dir]):
        assert "not the mountpoint" in cli(world, *words, code=4).stderr
    path = make_file(world.path("plain"), 10)
    assert "no file of an uploadfs" in cli(world, "wait", path, code=4).stderr
    assert "No such file" in cli(world, "wait", path + "x", code=1).stderr


def test_a_directory_of_that_name(world, server):
    """`uploadfs status` with a directory called so is a mountpoint, as it always was."""
    os.mkdir(world.path("status"))
    result = run(argv("status", "-o", "no_such_option"), cwd=world.dir, check=False,
                 env=sanitizer.options(world.dir))
    assert result.returncode == 2 and "no_such_option" in result.stderr


def test_status_idle(world, server, mount, source):
    """Totals, the JSON document itself, and mounts."""
    run(["cp", source, mount.path("batch", "f")])
    assert cli(world, "status", mount.mnt).stdout == (
        "0 publishing, 0 being written; 1 published (5.0 MiB)\n")
    doc = json.loads(cli(world, "status", "--json", mount.mnt).stdout)
    assert doc["pid"] == mount.pid and doc["totals"]["completed"] == 1
    # Named: looking at the mounts of other tests would keep them from being unmounted.
    assert cli(world, "mounts", mount.mnt).stdout == (
        f"{mount.mnt}  {server.url}  pid {mount.pid}, 0 under way, 0 failed\n")
    # Through a link, and with a slash at its end.
    os.symlink(mount.mnt, world.path("link"))
    assert "1 published" in cli(world, "status", world.path("link") + "/").stdout


def test_status_of_several(world, server):
    """With more than one of ours it has to be named."""
    world.mount(server), world.mount(server)
    assert "uploadfs mounts" in cli(world, "status", code=4).stderr


def test_watch_on_a_terminal(world, source, terminal):
    """A bar that moves, failures below it, and an end when it is unmounted."""
    server = world.server()
    mount = world.mount(server, parallel=2, retry_timeout="60", retry_delay="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    assert run(["cp", make_file(world.path("s"), 99), mount.path("batch", "bad")],
               check=False).returncode
    server.faults(STALL)
    cp = copy_in_background(source, mount.path("batch", "f.jsonl"))
    try:
        screen = terminal("status", "--watch", mount.mnt)
        screen.wait_for(r"batch/f\.jsonl +\[#+-+\] +\d\d% .* 5/6")
        lines = screen.screen().splitlines()
        assert lines[0] == f"{mount.mnt}  {server.url}"[:99]
        assert lines[1].startswith("1 publishing, 0 being written, 1 failed; 0 published")
        assert re.fullmatch(r"batch/bad +failed: HTTP 400 odd: no such thing \(requ.*", lines[3])
        assert lines[-1].endswith("then write it again or set user.upload.publish")
        assert len(lines) == 6 and max(map(len, lines)) <= 99
        server.faults([])
        server.restart()
        assert cp.wait(harness.DEADLINE) == 0
        screen.wait_for(r"^0 publishing.*1 failed; 1 published|\n0 publishing.*1 published")
        assert "f.jsonl" not in screen.screen()
        os.unlink(mount.path("batch", "bad"))
        mount.umount()
        assert screen.end() == 0
        # What was there stays to be read.
        assert "1 published (5.0 MiB)" in screen.screen()
    finally:
        cp.kill()
        cp.wait()


def test_watch_ends_at_a_signal(world, server, mount, terminal):
    """Ctrl-C is no error; narrow terminals and one look work as well."""
    screen = terminal("status", "--watch", mount.mnt, columns=40)
    screen.wait_for("0 publishing")
    assert max(map(len, screen.screen().splitlines())) <= 40
    assert screen.end(signal.SIGINT) == 0
    once = terminal("status", mount.mnt)
    assert once.end() == 0
    assert once.screen().splitlines()[1].startswith("0 publishing, 0 being written; 0 published")
    assert "\x1b" not in once.raw


@pytest.mark.parametrize("term", ["dumb", ""])
def test_terminals_that_can_only_print(world, server, mount, terminal, term):
    """Lines, as in a pipe; nothing that moves a cursor."""
    screen = terminal("status", "--watch", mount.mnt, TERM=term)
    screen.wait_for("0 publishing")
    assert screen.end(signal.SIGINT) == 0
    assert screen.raw == "0 publishing, 0 being written; 0 published (0 B)\r\n"


def test_watch_in_a_pipe(world, server, mount, source):
    """Lines, and only when something changed; it ends with the mount."""
    path = world.path("out")
    with open(path, "wb") as out:
        watch = subprocess.Popen(argv("status", "--watch", mount.mnt), stdout=out,
                                 env=dict(os.environ, **sanitizer.options(world.dir)))

    def lines():
        with open(path, encoding="utf-8") as f:
            return f.read().splitlines()

    try:
        wait_until(lambda: len(lines()) == 1, "the first line")
        run(["cp", source, mount.path("batch", "f")])
        wait_until(lambda: any("1 published" in x for x in lines()), "the next line")
        mount.umount()
        assert watch.wait(harness.DEADLINE) == 0
        assert "\x1b" not in "\n".join(lines())
        assert lines() == sorted(set(lines()), key=lines().index)
    finally:
        watch.kill()
        watch.wait()


def test_every_state_as_lines(world, server):
    mount = world.mount(server, retry_delay="3600", hold_timeout="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    run(["cp", make_file(world.path("s"), 99), mount.path("batch", "bad")], check=False)
    server.faults([])
    bash('echo x > "$1/.name.AbC123"', mount.path("batch"))
    harness.python("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('x\\n'); "
                   "os.kill(os.getpid(), 9)", mount.path("batch", "killed"), check=False)
    with open(mount.path("batch", "open"), "wb") as f:
        f.write(b"x" * 2048)
        f.flush()
        text = wait_until(lambda: (lambda t: t if "aborted  " in t else None)(
            cli(world, "status", mount.mnt).stdout), "the killed one is aborted")
    lines = text.splitlines()
    assert lines[0] == "writing        2.0 KiB  batch/open"
    assert lines[1] == "held               2 B  batch/.name.AbC123: waits for its rename"
    assert re.fullmatch(r"failed            99 B  batch/bad: HTTP 400 odd: no such thing \(request "
                        r"req_\w+\); .*, then write it again or set user.upload.publish", lines[2])
    assert lines[3] == ("aborted            2 B  batch/killed: not closed by its writer; write it again, "
                        "remove it, or set user.upload.publish to 1")
    assert lines[4] == ("0 publishing, 1 being written, 1 held, 1 failed, 1 aborted; 0 published "
                        "(0 B)")
    for name in ("bad", ".name.AbC123", "killed"):
        os.unlink(mount.path("batch", name))


# ---- wait


def test_wait_for_the_background(world, source):
    """close=async: wait returns when the File is there, not before; a time-out is no end."""
    server = world.server()
    mount = world.mount(server, close="async", retry_timeout="60")
    server.faults(STALL)
    run(["cp", source, mount.path("batch", "f")])
    assert "goes on" in cli(world, "wait", "--timeout", "0", mount.mnt, code=3).stderr
    assert "goes on" in cli(world, "wait", "--timeout=0", mount.path("batch", "f"), code=3).stderr
    assert not server.files()
    server.faults([])
    server.restart()
    assert cli(world, "wait", "--timeout", "600", mount.mnt).stdout == ""
    file_id = server.files()[0]["id"]
    assert cli(world, "wait", mount.path("batch", "f")).stdout == file_id + "\n"


def test_wait_reports_failures(world, server):
    """The reason on stderr and exit status 1, for the mount and for the file."""
    mount = world.mount(server, close="async", retry_delay="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    path = mount.path("batch", "bad")
    run(["cp", make_file(world.path("s"), 99), path], check=False)
    for words in (["wait", mount.mnt], ["wait", path]):
        text = cli(world, *words, code=1).stderr
        assert "HTTP 400 odd: no such thing" in text and "batch/bad" in text
    os.unlink(path)
    cli(world, "wait", mount.mnt)
    kill_writer(mount.path("batch", "killed"))
    for words in (["wait", mount.mnt], ["wait", mount.path("batch", "killed")]):
        text = cli(world, *words, code=1).stderr
        assert "batch/killed: aborted: not closed by its writer; write it again, remove" in text
    os.unlink(mount.path("batch", "killed"))
    cli(world, "wait", mount.mnt)
    bash(': > "$1"', mount.path("batch", "empty"))
    assert "empty" in cli(world, "wait", mount.path("batch", "empty"), code=1).stderr


# ---- umount


def test_umount_drains(world, source):
    """What is under way is finished before it unmounts; everything is published: 0."""
    server = world.server()
    mount = world.mount(server, close="async", retry_timeout="60")
    server.faults(STALL)
    run(["cp", source, mount.path("batch", "f")])
    assert "goes on" in cli(world, "umount", "--timeout", "0", mount.mnt, code=3).stderr
    assert mount.alive() and not server.files()
    server.faults([])
    server.restart()
    mount.wait()
    assert len(server.files()) == 1 and not is_mounted(mount.mnt)
    mount.remount()
    cli(world, "umount", mount.mnt)
    assert not is_mounted(mount.mnt) and mount.wait() == 0


def test_umount_tells_what_is_left(world, server):
    """A file that is not published: named with its reason, kept, and there at the next mount."""
    mount = world.mount(server, retry_delay="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    run(["cp", make_file(world.path("s"), 99), mount.path("batch", "bad")], check=False)
    text = cli(world, "umount", mount.mnt, code=1).stderr
    assert "batch/bad is not published: HTTP 400 odd: no such thing" in text
    assert f"1 not published; kept in {mount.state}" in text
    assert mount.wait() == 1 and not is_mounted(mount.mnt)
    server.faults([])
    mount.remount()
    os.setxattr(mount.path("batch", "bad"), "user.upload.publish", b"1")
    assert xattr(mount.path("batch", "bad"), "file_id")
    mount.umount()


def test_umount_names_what_was_not_closed(world, server):
    """Aborted, now or under a former mount; held for a rename that did not come."""
    mount = world.mount(server, hold_timeout="3600")
    mount.may_fail = True
    kill_writer(mount.path("batch", "killed"))
    bash('echo x > "$1/.name.AbC123"; : > "$1/empty"', mount.path("batch"))
    aborted = "batch/killed is not published: not closed by its writer; as it stands: uploadfs "
    text = cli(world, "umount", mount.mnt, code=1).stderr
    assert aborted + f"recover publish {mount.state} " in text
    assert f"1 not closed; kept in {mount.state}, aborted" in text
    assert "batch/.name.AbC123 is not published: it is held for its rename (see hold_t" in text
    assert f"1 not published; kept in {mount.state}" in text and "empty" not in text
    mount.wait()
    mount.remount()
    wait_until(lambda: server.files(), "the held one is published")
    text = cli(world, "umount", mount.mnt, code=1).stderr
    assert aborted in text and "1 not published" not in text and mount.wait() == 0
    mount.remount()
    os.unlink(mount.path("batch", "killed"))
    assert not cli(world, "umount", mount.mnt).stderr
    mount.wait()
    mount.remount()


def test_umount_refuses_with_writers(world, server, mount):
    """Open files keep it mounted, unless forced; then they are aborted."""
    mount.may_fail = True
    path = mount.path("batch", "open")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, b"x")
        text = cli(world, "umount", mount.mnt, code=1).stderr
        assert "--force" in text and "  batch/open\n" in text
        assert is_mounted(mount.mnt) and mount.alive()
        assert "1 not closed" in cli(world, "umount", "--force", mount.mnt, code=1).stderr
        assert mount.wait() == 1 and not is_mounted(mount.mnt)
        with pytest.raises(OSError):
            os.write(fd, b"y")
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
    mount.remount()
    assert xattr(path, "status") == "aborted"
    os.unlink(path)


USERS = {"a directory": 'cd "$1"; echo ready; read x',
         "reading": 'exec 7< "$1/f"; echo ready; read x',
         # Published by the close of another descriptor, and still open for writing.
         "writing": 'exec 7> "$1/g"; echo part >&7; echo ready; read x'}


def test_umount_refuses_with_users(world, server, mount):
    """As umount(8): whose directory it is, who reads, who may still write; unless forced."""
    bash('echo x > "$1/f"', mount.path("batch"))
    for how, script in USERS.items():
        user = subprocess.Popen(["bash", "-c", script, "bash", mount.path("batch")],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert user.stdout.readline() == "ready\n", how
            wait_until(lambda: '"publishing":0,"streaming":0,"writing":0' in cli(
                world, "status", "--json", mount.mnt).stdout, "all is published")
            text = cli(world, "umount", mount.mnt, code=1).stderr
            assert f"{mount.mnt}: it is busy: process {user.pid} (bash) is in it" in text, how
            assert is_mounted(mount.mnt) and mount.alive()
            if how == "writing":
                assert not cli(world, "umount", "--force", mount.mnt).stderr
                assert mount.wait() == 0 and not is_mounted(mount.mnt)
                mount.remount()
        finally:
            user.communicate("\n")
    # The File is no news to the next mount.
    wait_until(lambda: xattr(mount.path("batch", "g"), "status") == "completed", "it is a File")
    assert mount.log().count("batch/g: published as") == 1
    assert "; 0 published (0 B)" in cli(world, "status", mount.mnt).stdout
    # What is only looked at is no use, nor a directory that a cp names.
    fd = os.open(mount.path("batch"), os.O_PATH)
    control = open(mount.path(".uploadfs", "status"), "rb")
    assert not cli(world, "umount", mount.mnt).stderr
    with pytest.raises(OSError):
        control.close()
    os.close(fd)
    assert mount.wait() == 0
    mount.remount()


def test_umount_and_mounts_of_a_dead_daemon(world, server, mount):
    """What a daemon that died has left is named, and removed, also with something open there."""
    path = mount.path("batch", "f")
    bash('echo x > "$1"', path)
    wait_until(lambda: xattr(path, "status") == "completed", "it is published")
    held = open(path, "rb")
    mount.kill()
    assert "uploadfs umount" in cli(world, "status", mount.mnt, code=4).stderr
    text = cli(world, "mounts", mount.mnt, code=1).stdout
    assert f"{mount.mnt}  {server.url}  its daemon is dead: uploadfs umount {mount.mnt}" in text
    assert "had died" in cli(world, "umount", mount.mnt).stderr
    assert not is_mounted(mount.mnt)
    with pytest.raises(OSError):
        held.close()
    mount.remount()


@pytest.mark.plain
def test_a_daemon_that_hangs(world, server, mount):
    """A stopped daemon keeps nobody waiting for ever."""
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        text = cli(world, "mounts", mount.mnt, code=1).stdout
        assert text == f"{mount.mnt}  {server.url}  does not answer\n"
    finally:
        os.kill(mount.pid, signal.SIGCONT)


def test_of_another_user(world, server, mount):
    """Who may not see into a mount is told so, and can't end it."""
    other = ["setpriv", "--reuid=65534", "--clear-groups",
             *sanitizer.wrap(SAN, [world.program_for_others()])]
    for words in (["status", mount.mnt], ["umount", mount.mnt]):
        result = run([*other, *words], check=False, env=sanitizer.options(world.dir))
        assert result.returncode == 4 and "another user" in result.stderr
    for words in ([mount.mnt], ["doctor", mount.mnt]):
        result = run([*other, *words], check=False,
                     env={**sanitizer.options(world.dir), "OPENAI_API_KEY": KEY})
        assert result.returncode == 2
        assert f"mountpoint {mount.mnt} is mounted by another user, without" in result.stderr
    shared = world.mount(server, "allow_other")
    result = run([*other, "status", shared.mnt], env=sanitizer.options(world.dir))
    assert result.stdout.startswith("0 publishing")
    result = run([*other, "umount", shared.mnt], check=False, env=sanitizer.options(world.dir))
    assert result.returncode == 1 and "as the user who mounted it" in result.stderr
    assert shared.alive() and is_mounted(shared.mnt)
