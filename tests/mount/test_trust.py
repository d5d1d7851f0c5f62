"""What other users of a host can't do to a mount with allow_other, whose daemon is root's."""
import ctypes
import os
import signal
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import BUILD, MIB, make_file, run, wait_until
from users import AS_USER, NOBODY

pytestmark = pytest.mark.plain

IN_OPEN = 0x20

# Writes what sys.argv[1] begins with to each of the other files, all at once, with that one file
# open for reading and never read (as cp does by copy_file_range); then waits to be told to end.
WRITER = """
import os, sys, threading
source = os.open(sys.argv[1], os.O_RDONLY)
data = open(sys.argv[2], "rb").read(1 << 20)
files = [os.open(x, os.O_WRONLY | os.O_CREAT, 0o644) for x in sys.argv[3:]]
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=os.write, args=(f, data)) for f in files]
for t in threads: t.start()
for t in threads: t.join()
print("written", flush=True)
sys.stdin.readline()
for f in files: os.close(f)
"""


# The beginning of that script, for a process of which a descriptor can't be described: its epoll
# asks the file sys.argv[1], whose file system never answers.
POLLER = """
import os, select, sys, threading
polled = os.open(sys.argv[1], os.O_RDONLY)
epoll = select.epoll()
threading.Thread(target=epoll.register, args=(polled,), daemon=True).start()
sys.argv[1] = sys.argv[2]
"""

# Threads that write, and one that puts another program in place of them all.
EXECER = """
import os, sys, threading
files = [os.open(x, os.O_WRONLY | os.O_CREAT, 0o644) for x in sys.argv[1:]]
for f in files: threading.Thread(target=os.write, args=(f, b"x" * 200000)).start()
os.execv("/bin/true", ["true"])
"""


class Writer:
    """The script above; a line at a time."""

    def __init__(self, source, data, files, user=(), script=WRITER):
        self.proc = subprocess.Popen([*user, "/usr/bin/python3", "-B", "-c", script, source, data,
                                      *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     cwd="/")
        os.set_blocking(self.proc.stdout.fileno(), False)
        self.said("ready")

    def said(self, word):
        assert wait_until(self.proc.stdout.readline, f"the writer says {word}").strip() == \
            word.encode()

    def go(self):
        self.proc.stdin.write(b"\n")
        self.proc.stdin.flush()

    def end(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()


class Opens:
    """Counts who opens a file, from now on."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0 and libc.inotify_add_watch(self.fd, path.encode(), IN_OPEN) >= 0

    def count(self):
        try:
            return len(os.read(self.fd, 65536)) // struct.calcsize("iIII")
        except BlockingIOError:
            return 0
        finally:
            os.close(self.fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a daemon of root, and another user")
def test_a_source_is_never_opened_again(world, server):
    """
    Its size is found and the sending starts; but the bytes are compared on the writer's own
    descriptor, so that nobody can put another file in its place.
    """
    mount = world.mount(server, "allow_other", f"uid={NOBODY}")
    source = make_file(world.path("source"), 16 * MIB)
    os.chmod(world.dir, 0o755)
    writer = Writer(source, source, [mount.path("batch", "copy")], AS_USER)
    try:
        opens = Opens(source)
        writer.go()
        writer.said("written")
        wait_until(lambda: server.journal(op="create"), "an Upload of that size is made")
        assert opens.count() == 0
        assert server.uploads()[0]["bytes"] == 16 * MIB
    finally:
        writer.end()
        mount.may_fail = True


@pytest.fixture
def hanging(world, server):
    """A file on overlayfs upon a FUSE mount; and what makes that mount answer nobody."""
    lower = world.mount(server)
    data = make_file(world.path("data"), 4 * MIB)
    run(["cp", data, lower.path("batch", "source")])
    for name in ("empty", "overlay"):
        os.mkdir(world.path(name))
    where = world.path("overlay")
    if run(["mount", "-t", "overlay", "overlay", "-o",
            f"lowerdir={lower.mnt}:{world.path('empty')}", where], check=False).returncode:
        pytest.skip("no overlayfs here")
    try:
        yield os.path.join(where, "batch", "source"), data, lower
    finally:
        os.kill(lower.pid, signal.SIGCONT)
        run(["umount", "-l", where])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: overlayfs")
def test_a_source_that_hangs(world, hanging):
    """
    As many writers as there are threads that serve requests: none of these waits for it, nor
    does the end of the daemon.
    """
    source, data, lower = hanging
    other = world.server()
    mount = world.mount(other)
    files = [mount.path("batch", f"copy{n}") for n in range(8)]
    writer = Writer(source, data, files)
    try:
        os.kill(lower.pid, signal.SIGSTOP)
        writer.go()
        writer.said("written")
        assert run(["ls", mount.path("batch")]).stdout.split() == [f"copy{n}" for n in range(8)]
        mount.may_fail = True
        mount.proc.terminate()
        assert mount.wait() == 1  # what is still open is kept
    finally:
        os.kill(lower.pid, signal.SIGCONT)
        writer.end()


@pytest.fixture
def hangfs(world):
    """A mount of hangfs.py: a file in it, and the process."""
    where = world.path("hangfs")
    os.mkdir(where)
    os.chmod(world.dir, 0o755)
    script = os.path.join(os.path.dirname(__file__), "hangfs.py")
    with subprocess.Popen(["/usr/bin/python3", "-B", script, where],
                          stdout=subprocess.PIPE) as proc:
        try:
            if proc.stdout.readline() != b"mounted\n":
                pytest.skip("no FUSE mount without fusermount here")
            yield os.path.join(where, "file"), proc
        finally:
            proc.kill()
            run(["umount", "-l", where], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a FUSE mount, and another user")
def test_a_descriptor_that_hangs(world, server, hangfs):
    """Not only files: to tell of an epoll waits for what it asks. No thread that serves does."""
    polled, proc = hangfs
    mount = world.mount(server, "allow_other", f"uid={NOBODY}")
    data = make_file(world.path("data"), 4 * MIB)
    files = [mount.path("batch", f"copy{n}") for n in range(8)]
    writer = Writer(polled, data, [data, *files], AS_USER, POLLER + WRITER.replace("[2]", "[3]")
                    .replace("[3:]", "[4:]"))
    try:
        assert proc.stdout.readline() == b"polled\n"
        writer.go()
        writer.said("written")
        assert run(["ls", mount.path("batch")]).stdout.split() == [f"copy{n}" for n in range(8)]
        mount.may_fail = True
        mount.proc.terminate()
        assert mount.wait() == 1  # what is still open is kept
    finally:
        proc.kill()
        writer.end()


@pytest.mark.plain
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a FUSE mount")
def test_a_path_whose_server_is_down(world, hangfs):
    """The mount, a mountpoint, the subcommands: refused in words; nothing waits for ever."""
    path, proc = hangfs
    source, below = "local:" + world.path("srv"), os.path.join(os.path.dirname(path), "x")
    os.kill(proc.pid, signal.SIGSTOP)
    os.mkdir(world.path("m"))
    runs = [([source, world.path("m"), "-o", "state_dir=" + below], 2),
            ([source, below, "-o", "state_dir=" + world.path("state")], 2),
            (["doctor", "-o", "state_dir=" + world.path("state"), source, below], 2),
            (["wait", below], 4), (["ls", below], 4), (["fetch", below], 4)]
    with ThreadPoolExecutor(len(runs)) as pool:
        for (words, code), result in zip(runs, pool.map(
                lambda x: run([os.path.join(BUILD, "uploadfs"), *x[0]], check=False), runs)):
            assert result.returncode == code, words
            assert "its file system does not answer" in result.stderr, words


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
def test_a_writer_that_becomes_another_program(world, server):
    """execve() waits for the threads that write: nobody waits for execve()."""
    mount = world.mount(server, "allow_other", f"uid={NOBODY}")
    os.chmod(world.dir, 0o755)
    for n in range(5):
        files = [mount.path("batch", f"f{n}.{k}") for k in range(9)]
        run([*AS_USER, "/usr/bin/python3", "-B", "-c", EXECER, *files], cwd="/")
    assert len(os.listdir(mount.path("batch"))) == 45


def read_as_user(path):
    """What cat tells the other user: its exit code and its words."""
    result = run([*AS_USER, "cat", path], check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
@pytest.mark.parametrize("purpose", [None, "user_data"])
def test_by_id_is_the_mounters(world, server, purpose):
    """A File's ID leads nobody around its mode, or that of its directory; not after a remount."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    os.mkdir(mount.path("batch", "closed"), 0o700)
    for name in ("mine", "closed/open"):
        with open(mount.path("batch", name), "w", encoding="ascii") as f:
            f.write("secret")
    os.chmod(mount.path("batch", "mine"), 0o600)
    os.chmod(mount.path("batch", "closed", "open"), 0o644)
    ids = {x["filename"]: x["id"] for x in server.files()}
    mount.umount()
    mount.options["purpose"] = purpose
    mount.remount()
    for file_id in ids.values():
        code, text = read_as_user(mount.path(".by-id", file_id))
        assert code == 1 and "Permission denied" in text and "secret" not in text
    mine = mount.path(".by-id", ids["mine"])
    assert os.stat(mine).st_mode & 0o777 == 0o600
    assert run(["cat", mine]).stdout == "secret"
    assert run(["cat", mount.path(".by-id", ids["closed/open"])]).stdout == "secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
def test_by_id_of_an_owner(world, server):
    """With uid= it is that user's; a File's own mode counts there as well."""
    mount = world.mount(server, "allow_other", f"uid={NOBODY}")
    os.chmod(world.dir, 0o755)
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        with open(mount.path("batch", name), "w", encoding="ascii") as f:
            f.write(name)
        os.chown(mount.path("batch", name), 0, 0)
        os.chmod(mount.path("batch", name), mode)
    ids = {x["filename"]: x["id"] for x in server.files()}
    mount.umount()
    mount.remount()
    assert read_as_user(mount.path(".by-id", ids["open"])) == (0, "open")
    code, text = read_as_user(mount.path(".by-id", ids["closed"]))
    assert code == 1 and "Permission denied" in text
