"""
What the mounted tests stand on: a server, a mount, and their orderly end.

A World owns a private directory and every Server and Mount
started in it. World.close() unmounts, ends the processes, reads the sanitizers'
reports, removes the directory, and says what went wrong on the way; a test in
which a daemon died, leaked or printed its key can't pass.

Everything that touches a mount may hang when the daemon does. World's watchdog
kills the daemons after TEST_LIMIT seconds, which ends such calls with an errno.
"""
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)
import sanitizer  # noqa: E402

BUILD = os.environ.get("UPLOADFS_BUILD") or os.path.join(ROOT, "build")
SAN = os.environ.get("UPLOADFS_SAN", "")
KEY = "sk-test-4f9c2d7e81b3a650"
SLOW = {"": 1, "asan": 2, "tsan": 4}[SAN]
DEADLINE = 30 * SLOW  # seconds until a condition must hold
TEST_LIMIT = 120 * SLOW  # seconds until the watchdog ends a test
MIB = 1 << 20
GIB = 1 << 30


def wait_until(condition, what, timeout=DEADLINE):
    """The first true value of condition(), asked every 10 ms; AssertionError at the deadline."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.01)


def run(argv, timeout=DEADLINE * 2, check=True, **kwargs):
    """A command in the C locale with its output as text; must exit 0 when check is set."""
    env = {**os.environ, "LC_ALL": "C", **kwargs.pop("env", {})}
    proc = subprocess.Popen(argv, env=env, start_new_session=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    try:
        out, err = proc.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, signal.SIGKILL)
        out, err = proc.communicate()
        raise AssertionError(f"not within {timeout} s: {argv}\n{out}{err}") from None
    if check and proc.returncode:
        raise AssertionError(f"exit code {proc.returncode}: {argv}\n{out}{err}")
    return subprocess.CompletedProcess(argv, proc.returncode, out, err)


STATES = ["writing", "held", "sealed", "completing", "completed", "failed", "aborted", "empty",
          "removed"]


def query(state, sql):
    """
    Rows of the store in a state directory, as dictionaries. Reads a copy, since a daemon keeps
    others out. A copy of a WAL that is being written ends with the last whole commit.
    """
    folder = tempfile.mkdtemp()
    try:
        for ending in ("", "-wal"):
            try:
                shutil.copyfile(os.path.join(state, "state.db" + ending),
                                os.path.join(folder, "state.db" + ending))
            except FileNotFoundError:
                pass
        db = sqlite3.connect(os.path.join(folder, "state.db"))
        db.text_factory = os.fsdecode
        db.row_factory = sqlite3.Row
        try:
            return [dict(x) for x in db.execute(sql)]
        except sqlite3.OperationalError as exc:
            # Before the first daemon made them.
            if "no such table" in str(exc):
                return []
            raise
        finally:
            db.close()
    finally:
        shutil.rmtree(folder)


def records(state):
    """The rows of staged files, with "state" in words and "parts" as a list of indexes."""
    rows = query(state, "SELECT *, (SELECT group_concat(idx) FROM part WHERE part.file = file.id)"
                        " AS parts FROM file")
    for row in rows:
        row["state"] = "removed" if row["removed"] else STATES[row["state"]]
        row["parts"] = sorted(int(x) for x in row["parts"].split(",")) if row["parts"] else []
    return rows


def data_dir(state):
    return os.path.join(state, "data")


def staged_data(state):
    """Paths of the data of staged files, by their rows; what is set aside is not among them."""
    rows = query(state, "SELECT id FROM file WHERE NOT set_aside")
    paths = [os.path.join(data_dir(state), x["id"] + ".data") for x in rows]
    return [x for x in paths if os.path.exists(x)]


def cached_data(state):
    """{File ID: path} of the content that is kept, by its rows."""
    rows = query(state, "SELECT file_id, data FROM cached")
    found = {x["file_id"]: os.path.join(data_dir(state), x["data"] + ".data") for x in rows}
    return {x: path for x, path in found.items() if os.path.exists(path)}


def arriving_data(mount):
    """Paths, below /proc, of the content on its way that the daemon has open."""
    known = {*staged_data(mount.state), *cached_data(mount.state).values()}
    found, fds = {}, f"/proc/{mount.pid}/fd"
    for fd in os.listdir(fds):
        try:
            path = os.readlink(os.path.join(fds, fd))
        except FileNotFoundError:
            continue
        # What the cache will not keep has no name.
        if re.search(r"/data/[0-9a-f]{16}\.data( \(deleted\))?$", path) and path not in known:
            found[path] = os.path.join(fds, fd)
    return sorted(found.values())


def data_is_empty(state):
    """Whether no data file is left, of whatever kind, but for what was set aside."""
    return not [x for x in os.listdir(data_dir(state)) if x.endswith((".rec", ".data"))]


def wait_let_go(mount, path):
    """
    Until path, which was written and is a File by now, is nothing but that: a close does not
    wait for its RELEASE, and up to that the staged file answers reads and takes writes.
    """
    name = os.path.relpath(path, mount.mnt).split("/", 1)[1]
    wait_until(lambda: name not in [x["path"] for x in records(mount.state)],
               f"{path} is let go of")


def copy_when_room(source, dest):
    """
    cp, after something was removed to make room for it. The close of what was removed did
    not wait for its RELEASE, and only that frees the space.
    """
    wait_until(lambda: run(["cp", source, dest], check=False).returncode == 0, "there is room")


def bash(script, *args, **kwargs):
    """run() for a bash script; args are its $1, $2, …"""
    return run(["bash", "-c", script, "bash", *map(str, args)], **kwargs)


def python(script, *args, **kwargs):
    """run() for a Python script; args are its sys.argv[1:]"""
    return run([sys.executable, "-B", "-c", script, *map(str, args)], **kwargs)


def md5(path):
    digest = hashlib.md5()
    with open(path, "rb") as f:
        while block := f.read(MIB):
            digest.update(block)
    return digest.hexdigest()


_NOISE = os.urandom(MIB)


def make_file(path, size):
    """A file of size bytes in which no two blocks are alike, whatever their alignment."""
    with open(path, "wb") as f:
        left, n = size, 0
        while left > 0:
            block = (b'{"block": %d}\n' % n + _NOISE[n % 4093:] + _NOISE[:n % 4093])[:MIB]
            f.write(block[:left])
            left -= len(block)
            n += 1
    return str(path)


def proc_state(pid):
    """The state letter of /proc/PID/stat, or '' when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Process:
    """A daemon in the foreground, with its output in a file and its pid known."""

    def __init__(self, world, name):
        self.world = world
        self.name = f"{name}{world.next_number()}"
        self.log_path = os.path.join(world.dir, self.name + ".log")
        self.proc = None
        self.killed = False

    def spawn(self, argv, env, **kwargs):
        full = {k: v for k, v in os.environ.items()
                if not k.startswith(("OPENAI_", "AZURE_OPENAI_"))
                and not k.lower().endswith("_proxy") and not k.startswith("SSL_CERT_")}
        full.update(sanitizer.options(self.world.dir), **env)
        self.killed = False
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(sanitizer.wrap(SAN, argv), env=full, stdout=log,
                                         stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                                         start_new_session=True, **kwargs)

    @property
    def pid(self):
        return self.proc.pid

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def memory(self, field="VmRSS"):
        """Bytes, of /proc/PID/status: VmRSS now, VmHWM at the highest."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as f:
            return int(re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024

    def kill(self):
        """SIGKILL, as a crash."""
        if self.alive():
            self.killed = True
            self.proc.kill()
            self.proc.wait()

    def wait(self, timeout=DEADLINE * 2):
        """The exit code (negative: the signal). After the time-out it is killed: None."""
        try:
            return self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.world.note_stacks(self)
            self.kill()
            return None


class Server(Process):
    """build/uploads-server on a directory of its own."""

    def __init__(self, world, args=(), key=KEY, host="127.0.0.1"):
        super().__init__(world, "server")
        self.args, self.key, self.host = list(args), key, host
        self.dir = os.path.join(world.dir, self.name)
        self.journal_path = os.path.join(world.dir, self.name + ".journal")
        self.faults_path = os.path.join(world.dir, self.name + ".faults")
        self.port, self.base = 0, "/v1"
        self.faults([])
        self.start()

    def start(self):
        mark = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        argv = [os.path.join(BUILD, "uploads-server"), "--dir", self.dir, "--listen",
                f"{self.host}:{self.port}", "--journal", self.journal_path, "--faults",
                self.faults_path, *self.args]
        self.spawn(argv, {"OPENAI_API_KEY": self.key} if self.key else {})

        def listening():
            text = self.log()[mark:]
            assert self.alive(), "uploads-server ended:\n" + text
            return re.search(rf"^listening on http://{re.escape(self.host)}:(\d+)(/\S+)$", text,
                             re.M)

        port, self.base = wait_until(listening, "uploads-server listens").groups()
        self.port = int(port)

    @property
    def url(self):
        return f"http://{self.host}:{self.port}{self.base}"

    def environment(self, key):
        """What tells a program of this service, and the key to it."""
        if self.base == "/v1":
            return {"OPENAI_BASE_URL": self.url, **({"OPENAI_API_KEY": key} if key else {})}
        return {"AZURE_OPENAI_ENDPOINT": f"http://{self.host}:{self.port}",
                **({"AZURE_OPENAI_API_KEY": key} if key else {})}

    def stop(self):
        """Ends it in order; its exit code must be 0."""
        if self.alive():
            self.proc.terminate()
            code = self.wait()
            assert code == 0, f"uploads-server exited with {code}:\n{self.log()[-3000:]}"

    def restart(self, key=None):
        """On the same port and directory; with another key when one is given."""
        self.kill()
        self.key = key or self.key
        self.start()

    def faults(self, rules):
        """Replaces the fault rules (docs/fault-rules.md) in one step."""
        with open(self.faults_path + ".new", "w", encoding="utf-8") as f:
            json.dump(rules, f)
        os.rename(self.faults_path + ".new", self.faults_path)

    def journal(self, since=0, **match):
        """The finished requests, oldest first, that began at since (ms) or later and match."""
        try:
            with open(self.journal_path, encoding="utf-8") as f:
                text = f.read()
        except FileNotFoundError:
            return []
        lines = [json.loads(x) for x in text[:text.rfind("\n") + 1].splitlines()]
        return [x for x in lines if x["t_start_ms"] >= since
                and all(x.get(k) == v for k, v in match.items())]

    def listing(self):
        """What is on its disk, asked of the program itself."""
        out = run(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploads-server"), "--dir", self.dir,
                                       "--list"]), env=sanitizer.options(self.world.dir))
        return json.loads(out.stdout)

    def files(self, **match):
        return [x for x in self.listing()["files"]
                if all(x.get(k) == v for k, v in match.items())]

    def uploads(self, **match):
        return [x for x in self.listing()["uploads"]
                if all(x.get(k) == v for k, v in match.items())]

    def get(self, path):
        """The open reply of a GET below /v1."""
        request = urllib.request.Request(self.url + path,
                                         headers={"Authorization": f"Bearer {self.key}"})
        return urllib.request.urlopen(request, timeout=DEADLINE)

    def content_md5(self, file_id):
        """(bytes, MD5) of what the API hands out. Not for purposes it refuses."""
        digest, total = hashlib.md5(), 0
        with self.get(f"/files/{file_id}/content") as reply:
            while block := reply.read(MIB):
                digest.update(block)
                total += len(block)
        return total, digest.hexdigest()


class Mount(Process):
    """build/uploadfs in the foreground on a directory of its own."""

    def __init__(self, world, server, options=(), key=KEY, **more):
        super().__init__(world, "mount")
        self.server, self.key = server, key
        self.mnt = os.path.join(world.dir, self.name)
        self.state = more.pop("state_dir", os.path.join(world.dir, self.name + ".state"))
        self.environment = more.pop("env", {})
        self.options = {"part_size": "1M", "retry_timeout": "2", **more}
        self.flags = list(options)
        # A test that makes a publication fail says so: the daemon's exit code tells, too.
        self.may_fail = False
        os.mkdir(self.mnt)
        self.start()

    def argv(self):
        words = [f"state_dir={self.state}", *self.flags]
        words += [f"{k}={v}" for k, v in self.options.items() if v is not None]
        return [os.path.join(BUILD, "uploadfs"), "-f", self.mnt, "-o", ",".join(words)]

    def env(self):
        if hasattr(self.server, "environment"):
            return {**self.server.environment(self.key), **self.environment}
        key = {"OPENAI_API_KEY": self.key} if self.key else {}
        return {"OPENAI_BASE_URL": self.server.url, **key, **self.environment}

    def start(self):
        self.spawn(self.argv(), self.env())

        def answers():
            assert self.alive(), "uploadfs ended:\n" + self.log()[-5000:]
            return is_mounted(self.mnt) and os.path.ismount(self.mnt)

        wait_until(answers, "the mount answers")

    def path(self, *names):
        return os.path.join(self.mnt, *names)

    def umount(self, codes=(0,)):
        """Unmounts and waits for the daemon, whose exit code must be one of codes."""
        run(["fusermount3", "-u", self.mnt])
        code = self.wait()
        assert code in codes, f"uploadfs exited with {code}:\n{self.log()[-5000:]}"

    def remount(self):
        """A new daemon on the same state directory, after umount() or kill()."""
        if is_mounted(self.mnt):
            run(["fusermount3", "-u", "-z", self.mnt])
        self.start()


def is_mounted(mnt):
    """Asks the kernel's table, so it can't hang."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1] == mnt for line in f)


def xattr(path, name):
    """user.upload.NAME as text; None where it has no value."""
    try:
        return os.getxattr(path, "user.upload." + name).decode()
    except OSError as exc:
        if exc.errno == errno.ENODATA:
            return None
        raise


class World:
    """A private directory, what runs in it, and a watchdog over it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="u-")
        self.processes = []
        self.problems = []
        self.number = 0
        self.watchdog = threading.Timer(TEST_LIMIT, self._bite)
        self.watchdog.daemon = True
        self.watchdog.start()

    def program_for_others(self):
        """
        Lets other users into the directory; the path of uploadfs there: the checkout may
        be one that only its owner can read.
        """
        os.chmod(self.dir, 0o755)
        return shutil.copy(os.path.join(BUILD, "uploadfs"), self.path("uploadfs"))

    def next_number(self):
        self.number += 1
        return self.number

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def server(self, *args, **kwargs):
        return self._add(Server, args, **kwargs)

    def mount(self, server, *options, **kwargs):
        return self._add(Mount, server, options, **kwargs)

    def _add(self, kind, *args, **kwargs):
        # Known before it starts, so that a start that fails is cleaned up as well.
        process = kind.__new__(kind)
        self.processes.append(process)
        process.proc = None
        process.log_path = ""
        process.__init__(self, *args, **kwargs)
        return process

    def note_stacks(self, process):
        """The stacks of a process that does not do what it should, for the report."""
        try:
            out = subprocess.run(["gdb", "-nx", "-p", str(process.pid), "-batch",
                                  "-ex", "thread apply all bt 12"], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, timeout=60, text=True, check=False)
            with open(process.log_path, "a", encoding="utf-8") as log:
                log.write("\n--- stacks\n" + out.stdout[-8000:])
        except (FileNotFoundError, subprocess.TimeoutExpired):
            pass

    def _bite(self):
        self.problems.append(f"the test did not end within {TEST_LIMIT} s; daemons were killed")
        for process in self.processes:
            if process.alive():
                self.note_stacks(process)
                process.kill()

    def logs(self):
        """(name, the end of the log) of each process."""
        return [(p.name, p.log()[-6000:]) for p in self.processes
                if p.log_path and os.path.exists(p.log_path)]

    def let_go(self):
        """
        After a failure: what the test left open in a mount, which could not be unmounted, becomes
        /dev/null. The numbers stay in use: Python's objects still hold them.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                path = os.readlink(f"/proc/self/fd/{fd}")
            except FileNotFoundError:
                continue
            if any(f"{path}/".startswith(x.mnt + "/") for x in self.processes
                   if isinstance(x, Mount) and hasattr(x, "mnt")):
                # As a close, this may fail.
                self._try(os.dup2, null, fd, False)
        os.close(null)

    def close(self):
        """Ends everything; AssertionError when anything was not as it should be."""
        for process in [p for p in self.processes if isinstance(p, Mount)]:
            self._end_mount(process)
        for process in [p for p in self.processes if isinstance(p, Server)]:
            self._try(process.stop)
        self.watchdog.cancel()
        self._look_for_traces()
        tails = "".join(f"\n--- {name}\n{text}" for name, text in self.logs())
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.dir):
            self.problems.append("can't remove " + self.dir)
        if self.problems:
            raise AssertionError("\n".join(self.problems) + tails)

    def _try(self, func, *args):
        try:
            return func(*args)
        except (AssertionError, OSError) as exc:
            self.problems.append(str(exc))
            return None

    def _end_mount(self, process):
        if process.alive() and is_mounted(process.mnt):
            self._try(process.umount, range(0, 99) if process.may_fail else (0,))
        elif process.proc and not process.killed and process.proc.poll() not in (0, None):
            if not process.may_fail or process.proc.poll() < 0:
                self.problems.append(f"uploadfs exited with {process.proc.poll()} on its own")
        process.kill() if process.alive() else None
        if hasattr(process, "mnt") and is_mounted(process.mnt):
            run(["fusermount3", "-u", "-z", process.mnt], check=False)

    def _look_for_traces(self):
        """Sanitizer reports, and secrets in logs."""
        for text in sanitizer.reports(self.dir):
            self.problems.append("a sanitizer reported:\n" + text)
        for process in self.processes:
            if process.log_path and os.path.exists(process.log_path) and KEY in process.log():
                self.problems.append(f"the key stands in the log of {process.name}")


class FrozenCopy:
    """
    cp, stopped by SIGSTOP after it read `at` bytes of its source and before it
    read the rest: `read` says how many it had read. Where cp was too quick for
    that, it is done again; `since` is the time in ms before the one that counts.
    """

    def __init__(self, source, dest, at, tries=8):
        for _ in range(tries):
            self.since = int(time.monotonic() * 1000)
            self.proc = subprocess.Popen(["cp", source, dest], env=dict(os.environ, LC_ALL="C"),
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, text=True)
            if self._freeze(os.path.realpath(source), at):
                return
            self.finish()
            os.unlink(dest)
        raise AssertionError(f"cp was {tries} times too quick to be stopped")

    def _freeze(self, source, at):
        fds = f"/proc/{self.proc.pid}/fd"
        info = None
        size = os.path.getsize(source)
        while self.proc.poll() is None:
            try:
                if not info:
                    found = [x for x in os.listdir(fds) if os.readlink(f"{fds}/{x}") == source]
                    info = f"/proc/{self.proc.pid}/fdinfo/{found[0]}" if found else None
                elif self._position(info) >= at:
                    self.proc.send_signal(signal.SIGSTOP)
                    break
            except (FileNotFoundError, ProcessLookupError):
                pass
        return self._frozen(info, size)

    def _frozen(self, info, size):
        """Whether it is stopped short of its source's end. In close() it can't be stopped."""
        def settled():
            try:
                self.read = self._position(info) if info else size
            except (FileNotFoundError, ProcessLookupError):
                self.read = size
            return self.read >= size or proc_state(self.proc.pid) == "T"

        wait_until(settled, "cp stops")
        return self.read < size

    @staticmethod
    def _position(info):
        with open(info, encoding="ascii") as f:
            return int(f.readline().split()[1])

    def resume(self):
        self.proc.send_signal(signal.SIGCONT)

    def finish(self, timeout=DEADLINE * 2):
        """Lets it run to its end: (exit code, stderr)."""
        self.resume()
        try:
            _, err = self.proc.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.communicate()
            raise AssertionError(f"cp did not end within {timeout} s") from None
        return self.proc.returncode, err

    def close(self):
        """For the test's end, whatever happened: no process stays."""
        if self.proc.poll() is None:
            self.proc.kill()
            self.resume()
        self.proc.communicate()


def assert_published(server, path, source, purpose=None, parts=None):
    """
    path is the one File on the server, with the bytes of source: by its extended
    attributes, by what the server keeps and hands out, and read through the mount.
    Returns the File ID.
    """
    want, size = md5(source), os.path.getsize(source)
    file_id = xattr(path, "file_id")
    assert file_id, f"no File ID; error: {xattr(path, 'error')}"
    assert xattr(path, "status") == "completed"
    assert xattr(path, "md5") == want
    assert xattr(path, "bytes") == str(size)
    name = os.path.basename(path)
    files = server.files()
    assert [(x["id"], x["filename"], x["bytes"]) for x in files] == [(file_id, name, size)]
    if purpose:
        assert files[0]["purpose"] == purpose
    if parts is not None:
        assert xattr(path, "parts") == f"{parts}/{parts}"
        assert len(files[0]["parts"]) == parts
    assert server.content_md5(file_id) == (size, want)
    assert os.path.getsize(path) == size
    run(["cmp", source, path])
    assert_nothing_pending(server)
    return file_id


def assert_nothing_pending(server):
    wait_until(lambda: not server.uploads(status="pending"), "no Upload is left pending")
