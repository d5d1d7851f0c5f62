"""
A daemon that dies, and what the next mount makes of it.

Life is one run: a daemon with crash_preload.so, some writers, its death at the
n-th step (or not), a second daemon on the same state directory, and the checks
of what must hold then. test_crash.py goes through all n, tests/soak.py picks
them at random.
"""
import errno
import hashlib
import os
import re
import subprocess
import threading
import urllib.error

import harness
from harness import BUILD, Mount, is_mounted, run, wait_until, xattr

PART = 64 << 10
PRELOAD = os.path.join(BUILD, "tests", "crash_preload.so")
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR, errno.ENOENT)
RUN_LIMIT = 60  # seconds until the watchdog ends the daemons of a run
UNDER_WAY = ("writing", "streaming", "held", "publishing")

# How far a writer got.
ABSENT = "absent"    # its open was not answered
PARTIAL = "partial"  # open, and some writes, were answered; it never closed
CLOSING = "closing"  # all writes were answered, the close was not (or with an error)
CLOSED = "closed"    # close() returned 0
HELD = "held"        # close() of a temporary name returned 0, the rename was not answered


def wait_for(condition, seconds):
    """Whether the condition came to hold within that time."""
    try:
        return wait_until(condition, "", seconds)
    except AssertionError:
        return False


class CrashMount(Mount):
    """A mount whose daemon may die at any time, its start included."""

    def __init__(self, world, server, options=(), at=None, when="before", armed=True, **more):
        self.at, self.when, self.armed = at, when, armed
        super().__init__(world, server, options, **more)

    @property
    def notes_path(self):
        return self.state + ".notes"

    def env(self):
        if self.at is None:
            return super().env()
        env = {**super().env(), "LD_PRELOAD": PRELOAD, "UPLOADFS_CRASH_AT": str(self.at),
               "UPLOADFS_CRASH_KIND": self.when, "UPLOADFS_CRASH_NOTES": self.notes_path}
        return env if self.armed else {**env, "UPLOADFS_CRASH_ARM": self.state + ".arm"}

    def arm(self):
        """Steps count from now on; for armed=False."""
        with open(self.state + ".arm", "w", encoding="ascii"):
            pass

    def start(self):
        self.spawn(self.argv(), self.env())

        def answers():
            if not self.alive():
                assert self.crashed(), "uploadfs ended:\n" + self.log()[-5000:]
                return True
            try:
                return is_mounted(self.mnt) and os.path.ismount(self.mnt)
            except OSError:
                return False

        wait_until(answers, "the mount answers")

    def crashed(self):
        """Whether it died of the step it was told to die at (or of kill())."""
        return self.proc.poll() == -9

    def wait_for_death(self, seconds):
        try:
            self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def all_notes(self):
        try:
            with open(self.notes_path, encoding="ascii") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def notes(self, word):
        return [x.split(" ", 1)[1].strip() for x in self.all_notes() if x.startswith(word + " ")]

    def detach(self):
        if is_mounted(self.mnt):
            run(["fusermount3", "-u", "-z", self.mnt])


class Record:
    """What a record on disk says, as far as it matters here."""

    def __init__(self, row):
        self.state, self.path, self.upload_id = row["state"], row["path"], row["upload_id"]
        self.size, self.upload_bytes, self.parts = row["size"], row["upload_bytes"], row["parts"]

    def __repr__(self):
        return f"<{self.path}: {self.state}, {self.upload_id}, Parts {self.parts}>"

    @property
    def parts_total(self):
        return (self.upload_bytes + PART - 1) // PART


def records(state):
    return [Record(x) for x in harness.records(state)]


class Writer:
    """One file: how it is written, how far that got, what it must hold."""

    def __init__(self, name, data, former=None):
        self.name, self.data = name, data
        self.former = former    # bytes of a File of that name that stood before
        self.temporary = None   # the name it has until its rename
        self.state = ABSENT
        self.answered = 0       # bytes that write() accepted
        self.declared = 0       # size given by ftruncate()
        self.error = None

    def write(self, mount):
        try:
            self._write(mount)
        except OSError as exc:
            self.error = exc

    def _write(self, mount):
        raise NotImplementedError

    def path(self, mount):
        return mount.path("batch", self.name)

    def _open(self, path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self.state = PARTIAL
        return fd

    def _put(self, fd, upto=None, block=100000):
        upto = len(self.data) if upto is None else upto
        while self.answered < upto:
            end = min(self.answered + block, upto)
            self.answered += os.pwrite(fd, self.data[self.answered:end], self.answered)

    def _close(self, fd):
        self.state = CLOSING
        os.close(fd)
        self.state = CLOSED


class Cp(Writer):
    """The real cp: its size is observed, Parts leave while it writes."""

    def __init__(self, name, source, former=None):
        with open(source, "rb") as f:
            super().__init__(name, f.read(), former)
        self.source = source

    def _write(self, mount):
        done = run(["cp", self.source, self.path(mount)], check=False, timeout=RUN_LIMIT)
        self.error = done.stderr or None
        if done.returncode == 0:
            self.state, self.answered = CLOSED, len(self.data)
        elif re.fullmatch(r"cp: failed to close .*\n", done.stderr):
            self.state, self.answered = CLOSING, len(self.data)
        elif "cannot create" not in done.stderr:
            self.state = PARTIAL


class Dd(Cp):
    """cat | dd: a size that nobody knows before the close."""

    def _write(self, mount):
        done = harness.bash('cat "$1" | dd of="$2" bs=64K iflag=fullblock status=none',
                            self.source, self.path(mount), check=False, timeout=RUN_LIMIT)
        self.error = done.stderr or None
        if done.returncode == 0:
            self.state, self.answered = CLOSED, len(self.data)
        elif re.fullmatch(r"dd: closing output file .*\n", done.stderr):
            self.state, self.answered = CLOSING, len(self.data)
        elif "failed to open" not in done.stderr:
            self.state = PARTIAL


class Unknown(Writer):
    """Its size is not known before the close."""

    def _write(self, mount):
        fd = self._open(self.path(mount))
        try:
            self._put(fd)
        finally:
            if self.answered < len(self.data):
                close_quietly(fd)
        self._close(fd)


class Shrunk(Writer):
    """Declares two Parts more than it then has: an Upload is given up on the way."""

    def _write(self, mount):
        fd = self._open(self.path(mount))
        ok = False
        try:
            os.ftruncate(fd, len(self.data) + 2 * PART)
            self.declared = len(self.data) + 2 * PART
            self._put(fd)
            self.declared = 0
            os.ftruncate(fd, len(self.data))
            ok = True
        finally:
            if not ok:
                close_quietly(fd)
        self._close(fd)


class Open(Writer):
    """Is still writing when everything else is over; finish() ends it in peace."""

    def __init__(self, name, data, written):
        super().__init__(name, data)
        self.written, self.fd = written, -1

    def _write(self, mount):
        self.fd = self._open(self.path(mount))
        os.ftruncate(self.fd, len(self.data))
        self.declared = len(self.data)
        self._put(self.fd, self.written)

    def finish(self):
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        try:
            self._put(fd)
            self._close(fd)
        except OSError as exc:
            self.error = exc
            if self.state == PARTIAL:
                close_quietly(fd)


class Held(Writer):
    """As rsync does it: a temporary name, then the rename that publishes."""

    def _write(self, mount):
        self.temporary = f".{self.name}.aBcDeF"
        path = mount.path("batch", self.temporary)
        fd = self._open(path)
        try:
            self._put(fd)
        finally:
            if self.answered < len(self.data):
                close_quietly(fd)
        self._close(fd)
        self.state = HELD
        os.rename(path, self.path(mount))
        self.state = CLOSED


def close_quietly(fd):
    try:
        os.close(fd)
    except OSError:
        pass


class Life:
    """One run on a server of the caller's; check() raises AssertionError."""

    def __init__(self, world, server, at, kind, **options):
        self.world, self.server = world, server
        self.settled = {}
        self.strict = True  # no faults but its death, and that once
        self.last_conn = 0
        self.mount = None
        self.watchdog = threading.Timer(RUN_LIMIT, self._bite)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.late = False
        # Set before the constructor ends, so that the watchdog sees it.
        self.mount = world._add(CrashMount, server, ("close=async",) if options.pop("close_async", 0)
                                else (), at=at, when=kind,
                                **{"part_size": "64K", "list_ttl": "1", "retry_delay": "1",
                                   "cache_size": "1M", **options})

    def _bite(self):
        self.late = True
        if self.mount and self.mount.alive():
            self.world.note_stacks(self.mount)
            self.mount.kill()

    def end(self):
        """Whatever happened: no daemon, no mount, no timer stays."""
        self.watchdog.cancel()
        mount = self.mount
        if not mount:
            return
        mount.kill()
        mount.detach()
        # The world need not look after it any more.
        self.world.processes.remove(mount)

    def unmount(self, writers, codes=(0,)):
        """In order, with every writer closed; True when it lived through that as well."""
        for writer in writers:
            if isinstance(writer, Open):
                writer.finish()
        self.wait_published(writers)
        return self.umount(codes)

    def umount(self, codes=(0,)):
        """False when it died of it."""
        if self.mount.alive():
            # A process that was just started may still hold a copy of a file it inherited.
            wait_until(lambda: run(["fusermount3", "-u", self.mount.mnt], check=False).returncode
                       == 0 or not self.mount.alive(), "it can be unmounted")
            self.mount.wait()
        if self.mount.crashed():
            return False
        assert self.mount.proc.poll() in codes, f"uploadfs exited with {self.mount.proc.poll()}"
        return True

    def wait_published(self, writers):
        """close=async: until nothing is under way, or the daemon is dead."""
        def quiet():
            if not self.mount.alive():
                return True
            try:
                return all(xattr(x.path(self.mount), "status") not in UNDER_WAY
                           for x in writers if x.state == CLOSED)
            except OSError as exc:
                if exc.errno not in GONE:
                    raise
                return not self.mount.alive()

        wait_until(quiet, "everything is published", RUN_LIMIT)

    def crash_again(self, at, when, seconds):
        """The next daemon dies as well: at a step, or by SIGKILL after that time at the latest."""
        self.mount.detach()
        self.mount.at, self.mount.when = at, when
        self.mount.start()
        self.strict = False
        self.mount.wait_for_death(seconds)

    def remount(self):
        """After its death: what the records say then, and a daemon that is not to die."""
        self.mount.detach()
        self.records = records(self.mount.state)
        self.before = {x["id"]: x for x in self.server.uploads()}
        self._mark_journal()
        self.mount.at = None
        self.mount.start()

    def _mark_journal(self):
        """A request of our own, accepted behind all that the dead daemon had sent."""
        path = f"/files/file-of-nobody-{self.world.next_number()}"
        try:
            self.server.get(path)
        except urllib.error.HTTPError as exc:
            assert exc.code == 404
        mine = wait_until(lambda: self.server.journal(path="/v1" + path), "our request")
        self.last_conn = mine[0]["conn"]

    # ---- what must hold

    def check(self, writers):
        for writer in writers:
            if isinstance(writer, Open):
                close_quietly(writer.fd) if writer.fd >= 0 else None
                writer.fd = -1
        self._wait_quiet(writers)
        for writer in writers:
            self._check_writer(writer)
        self._check_pending(writers)
        self._check_economy()
        self._check_damaged(writers)
        assert not self.late, f"not over within {RUN_LIMIT} s"

    def _names(self, writer):
        return [x for x in (writer.name, writer.temporary) if x]

    def _wait_quiet(self, writers):
        names = {n for w in writers for n in self._names(w)}

        def quiet():
            # A name that came with the listing can be gone when it is asked.
            there = names & set(os.listdir(self.mount.path("batch")))
            self.settled = {n: xattr(self.mount.path("batch", n), "status") for n in there}
            # With a server that works, what failed is tried again and succeeds.
            return not any(x in UNDER_WAY + ("failed",) for x in self.settled.values())

        wait_until(quiet, "nothing is under way any more")

    def _files(self, writer):
        return [x for x in self.server.files() if x["filename"] in self._names(writer)]

    def _in_mount(self, name):
        with open(self.mount.path("batch", name), "rb") as f:
            return f.read()

    def _is_published(self, writer, files):
        assert len(files) == 1, f"{writer.name} ({type(writer).__name__}, {writer.state}, " \
            f"{len(writer.data)} bytes): not one File but {files}; {self.settled}; {self.records}"
        name = files[0]["filename"]
        if writer.state == CLOSED:
            assert name == writer.name
        if files[0]["bytes"] != len(writer.data):
            return False
        want = hashlib.md5(writer.data).hexdigest()
        if self.server.content_md5(files[0]["id"]) != (len(writer.data), want):
            return False
        assert self.settled.get(name) == "completed", (name, self.settled)
        assert self._in_mount(name) == writer.data
        assert xattr(self.mount.path("batch", name), "file_id") == files[0]["id"]
        return True

    def _check_writer(self, writer):
        files = self._files(writer)
        story = f"{writer.name} ({writer.state}, {writer.error}), Files {files}, {self.settled}, " \
            f"records {self.records}"
        if writer.state in (CLOSED, HELD):
            assert self._is_published(writer, files), story
            return
        if writer.former is not None:
            # What it was to replace, unless the new one came to be.
            assert len(files) == 1, story
            former = hashlib.md5(writer.former).hexdigest()
            if self.server.content_md5(files[0]["id"]) == (len(writer.former), former):
                files = []
        if files:
            assert writer.state == CLOSING and self._is_published(writer, files), story
            return
        kept = [n for n in self._names(writer) if self.settled.get(n) in ("aborted", "empty")]
        if writer.state == ABSENT or not writer.answered:
            assert not files, story
            for name in kept:
                self._check_kept(writer, self._in_mount(name), story)
            return
        assert kept, "its bytes are not in the mount: " + story
        assert len(kept) == 1 and self.settled[kept[0]] == "aborted", story
        self._check_kept(writer, self._in_mount(kept[0]), story)

    @staticmethod
    def _check_kept(writer, there, story):
        """All that write() accepted; behind it what the last, unanswered write left, or nothing."""
        sure = writer.answered
        assert len(there) >= max(sure, writer.declared), f"{len(there)} bytes: {story}"
        assert there[:sure] == writer.data[:sure], f"other bytes: {story}"
        behind, data = there[sure:], writer.data[sure:].ljust(len(there) - sure, b"\0")
        assert all(a in (0, b) for a, b in zip(behind, data)), f"foreign bytes: {story}"

    def _check_damaged(self, writers):
        """The bytes of a File are nowhere set aside: its change of owner is one step."""
        folder = os.path.join(self.mount.state, "data", "damaged")
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            ours = [x.name for x in writers if x.state in (CLOSED, HELD) and x.data == data]
            assert not ours, f"{name} is set aside, though {ours} is a File; {self.records}"

    def _check_pending(self, writers):
        """No Upload stays pending, but one that no record on disk ever named."""
        known = set(self.mount.notes("upload"))
        names = {n for w in writers for n in self._names(w)}

        def left():
            return [x for x in self.server.uploads(status="pending") if x["filename"] in names]

        try:
            wait_until(lambda: not [x for x in left() if x["id"] in known], "Uploads are cancelled",
                       10)
        except AssertionError:
            raise AssertionError(f"pending though a record named them: {left()}; records "
                                 f"{self.records}") from None
        if not self.strict:
            return
        # Of one writing, at most the Upload whose reply the daemon's death swallowed.
        for name in names:
            assert len([x for x in left() if x["filename"] == name]) <= 1, left()

    def _check_economy(self):
        """What was on the server as a living Upload, or a File, is not sent again."""
        lines = [x for x in self.server.journal() if x["conn"] > self.last_conn]
        after = self.server.uploads()
        for rec in self.records:
            upload = self.before.get(rec.upload_id)
            if rec.state not in ("sealed", "completing", "completed", "failed") or not upload:
                continue
            # One of another size or name is of no use.
            if upload["status"] not in ("pending", "completed") or \
                    rec.upload_bytes != rec.size or upload["filename"] != rec.path:
                continue
            anew = [x for x in after
                    if x["filename"] == upload["filename"] and x["id"] not in self.before]
            assert not anew, f"{rec.path} ({rec.state}): a new Upload though {upload} was there"
            sent = [x for x in lines if x["op"] == "part" and x["upload_id"] == rec.upload_id]
            missing = rec.parts_total - len(rec.parts) if upload["status"] == "pending" else 0
            assert len(sent) == missing, \
                f"{rec.path}: {len(sent)} Parts sent, {missing} were missing"


def step_of(mount):
    """What it died of, for the report."""
    return ", ".join(mount.notes("step")) or re.sub(r"\s+", " ", mount.log()[-300:])

