"""
The model of a mount: the same calls on a path below it and on a local directory.

A Machine does one step after the other on both sides, from one process, and
compares what the calls returned (or their errno), then sizes, positions,
attributes and bytes. Beside that it keeps what the service should hold by
docs/semantics.md, and compares that with what the server has on its disk: after
each step where a close is told the outcome, within a deadline where the contract
says "in the background".

Where a mount differs from a local directory the difference stands here, as
narrow as the contract has it; look for "contract:".

A step that makes no sense where the machine stands (a slot that is not open) does
nothing, so that any step can be left out of a list of them: that is how a failure
is made short (model_runs.py, which makes the steps, too).
"""
import ctypes
import errno
import hashlib
import json
import os
import random
import re
import signal
import stat

from harness import DEADLINE, wait_until, xattr

MNT, REF = 0, 1     # the two sides
TEMPORARY = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}$")
RENAME_NOREPLACE = 1
PATIENCE = DEADLINE  # seconds for what comes in the background
LIBC = ctypes.CDLL(None, use_errno=True)


class Mismatch(AssertionError):
    pass


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def attempt(call, *args):
    """(result, 0) or (None, errno)"""
    try:
        return call(*args), 0
    except OSError as exc:
        return None, exc.errno


def name_of(err):
    return errno.errorcode.get(err, err)


def renameat2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


def fallocate(fd, mode, off, size):
    if LIBC.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(size)):
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


def write_mapped(fd, length, off, data, sync):
    """Without Python's mmap, which closes a descriptor of its own: that would publish."""
    LIBC.mmap.restype = ctypes.c_void_p
    at = LIBC.mmap(None, ctypes.c_size_t(length), 3, 1, fd, ctypes.c_long(0))   # RW, shared
    if at in (None, ctypes.c_void_p(-1).value):
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))
    ctypes.memmove(at + off, data, len(data))
    if sync:
        LIBC.msync(ctypes.c_void_p(at), ctypes.c_size_t(length), 4)     # and wait
    LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(length))


class Truth:
    """What the server has on its disk: no request, so no fault and no delay gets in between."""

    def __init__(self, server, purpose, prefix):
        self.dir, self.purpose, self.prefix = server.dir, purpose, prefix
        self.known = {}     # by id: (name, MD5), which never changes
        self.over = set()   # Uploads that can't become pending again

    def _records(self, kind):
        folder = os.path.join(self.dir, kind)
        for name in os.listdir(folder):
            if name.endswith(".json"):
                yield name[:-5], os.path.join(folder, name)

    def _digest(self, record):
        digest = hashlib.md5()
        for part in record["parts"]:
            with open(os.path.join(self.dir, "data", record["data"], part["id"]), "rb") as f:
                digest.update(f.read())
        return digest.hexdigest()

    def files(self):
        """The Files below prefix, by id: (name, MD5)."""
        found = {}
        for file_id, path in self._records("files"):
            if file_id not in self.known:
                try:
                    with open(path, "rb") as f:
                        record = json.loads(f.read())
                    self.known[file_id] = (record["purpose"], record["filename"],
                                           self._digest(record))
                except FileNotFoundError:
                    continue    # deleted meanwhile
            purpose, name, digest = self.known[file_id]
            if purpose == self.purpose and name.startswith(self.prefix):
                found[file_id] = (name, digest)
        return found

    def pending(self):
        """The names of the Uploads below prefix that are neither complete nor cancelled."""
        found = set()
        for upload_id, path in self._records("uploads"):
            if upload_id in self.over:
                continue
            with open(path, "rb") as f:
                record = json.loads(f.read())
            if record["status"] != "pending":
                self.over.add(upload_id)
            elif record["purpose"] == self.purpose and record["filename"].startswith(self.prefix):
                found.add(record["filename"])
        return found


class File:
    """One file of the model, with or without a name."""

    def __init__(self, path):
        self.path = path        # None: removed
        self.writers = 0        # open file descriptions that may write
        self.dirty = False      # written since the last close that published
        self.touched = False    # made or cut to nothing, and not closed since
        self.state = "new"      # or file, empty, held, aborted: what its last close left
        self.own = None         # (name, MD5) of the File behind it
        self.olds = []          # of those that go once it is published: it was renamed onto them
        self.mtime = None       # as it was set, until it is written
        self.quiet = False      # nobody waited for its last publication

    def settled(self):
        return self.state == "file" and not self.dirty and not self.touched


class Handle:
    """An open file description, on both sides."""

    def __init__(self, file, flags, may_write):
        self.file, self.flags, self.may_write = file, flags, may_write
        self.count = 0      # descriptors
        self.frail = False  # its File was removed before this one had written
        file.writers += may_write


class Slot:
    def __init__(self, fds, handle):
        self.fds, self.handle = fds, handle
        handle.count += 1


class Machine:
    """
    mount and server: harness's; root: the mount's directory to work in; local: the
    one to compare with; prefix: of the names of Files made below root.
    """

    def __init__(self, mount, server, root, local, options=(), prefix="", purpose="batch"):
        self.mount, self.server = mount, server
        self.roots = (root, local)
        self.prefix = prefix
        self.truth = Truth(server, purpose, prefix)
        self.slots = {}
        self.names = {}         # path: File
        self.kept = []          # Files that keep_old leaves, as (name, MD5)
        self.keep_old = "keep_old" in options
        self.patient = "async" in options   # the File follows the close
        self.lossy = "lossy" in options     # replies get lost: an Upload may stay until it expires
        self.cached = "no_cache" not in options
        self.background = False             # so does the one of this step
        os.makedirs(local, exist_ok=True)

    # ---- comparing ----

    def where(self, side, path):
        return os.path.join(self.roots[side], path)

    def both(self, what, call, allow=()):
        """
        call(side) on both; equal results or errnos. Returns (result, errno). allow:
        errnos that the mount may answer instead; then the other side is not asked.
        """
        got = attempt(call, MNT)
        if got[1] and got[1] in allow:
            return got
        want = attempt(call, REF)
        if got != want:
            raise Mismatch(f"{what}: {self.told(got)}, local: {self.told(want)}")
        return got

    @staticmethod
    def told(outcome):
        result, err = outcome
        if err:
            return str(name_of(err))
        if isinstance(result, bytes):
            return f"{len(result)} bytes, MD5 {hashlib.md5(result).hexdigest()}"
        return repr(result)

    def same_bytes(self, what, got, want):
        if got == want:
            return
        at = next((k for k, (a, b) in enumerate(zip(got, want)) if a != b),
                  min(len(got), len(want)))
        raise Mismatch(f"{what}: {len(got)} bytes, local {len(want)}; different from byte {at} on: "
                       f"{got[at:at + 16].hex()}, local {want[at:at + 16].hex()}")

    def read_range(self, what, fds, off, size):
        got, want = (os.pread(fd, size, off) for fd in fds)
        self.same_bytes(f"{what}, from {off}", got, want)

    def check_bytes(self, slot, salt):
        """Of the file of that slot, by it, by another one, or by its name; whole, or a range."""
        rng = random.Random(salt)
        file = slot.handle.file
        size = os.fstat(slot.fds[REF]).st_size
        off, count = rng.choice([(0, size + 1), (rng.randrange(size + 1), rng.randrange(1, 70000))])
        readers = [x for x in self.slots.values() if x.handle.file is file and self.reads(x.handle)]
        if readers and (file.path is None or rng.random() < 0.7):
            self.read_range("pread", rng.choice(readers).fds, off, count)
        elif file.path is not None:
            self.check_content(file.path, off, count)

    def reads(self, handle):
        """contract: the content of a File that is gone can be read as long as it is in the cache."""
        return handle.flags & os.O_ACCMODE != os.O_WRONLY and (self.cached or not handle.frail)

    def check_content(self, path, off=0, count=None):
        fds = [os.open(self.where(side, path), os.O_RDONLY) for side in (MNT, REF)]
        try:
            self.read_range(f"reading {path}", fds, off, count or os.fstat(fds[REF]).st_size + 1)
        finally:
            for fd in fds:
                os.close(fd)

    def check_stat(self, what, call, file=None):
        got, want = (self.plain(call(side)) for side in (MNT, REF))
        # contract: with keep_old a former File has an entry of its own after the next listing.
        if self.keep_old and file and file.path is None and got[3] == 1:
            got = (*got[:3], 0, *got[4:])
        if file and file.mtime is None:
            got, want = got[:-1], want[:-1]
        if got != want:
            raise Mismatch(f"{what}: kind, mode, owner, links, size, time {got}, local {want}")

    @staticmethod
    def plain(st):
        """What both sides have to agree on. contract: a directory has size 0 and two links."""
        if stat.S_ISDIR(st.st_mode):
            return oct(st.st_mode), st.st_uid, st.st_gid
        return oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_mtime_ns

    def check_slot(self, slot, salt):
        self.check_stat("fstat", lambda side: os.fstat(slot.fds[side]), slot.handle.file)
        self.both("lseek", lambda side: os.lseek(slot.fds[side], 0, os.SEEK_CUR))
        self.check_bytes(slot, salt)

    def check_path(self, path):
        _, err = self.both(f"stat {path}", lambda side: os.stat(self.where(side, path)) and None)
        if not err:
            self.check_stat(f"stat {path}", lambda side: os.stat(self.where(side, path)),
                            self.names.get(path))

    def listed(self, side, path):
        names = os.listdir(self.where(side, path))
        return sorted(x for x in names if not self.is_former(x))

    def is_former(self, name):
        """contract: with keep_old a former File shows as NAME~FILE_ID."""
        return self.keep_old and "~file-" in name

    def check_tree(self):
        """Everything there is: names, attributes, bytes."""
        todo = [""]
        while todo:
            at = todo.pop()
            names, _ = self.both(f"listdir '{at}'", lambda side, at=at: self.listed(side, at))
            for name in names:
                path = os.path.join(at, name)
                self.check_path(path)
                if os.path.isdir(self.where(REF, path)):
                    todo.append(path)
                else:
                    self.check_content(path)
        for path, file in self.names.items():
            self.check_status(path, file)

    # ---- the service ----

    def wanted(self):
        files = {id(x): x for x in self.names.values()}.values()
        each = [y for x in files for y in [x.own, *x.olds] if y] + self.kept
        return sorted((self.prefix + name, digest) for name, digest in each)

    def check_server(self):
        """Each name's File, and no other."""
        want = self.wanted()
        if self.patient or self.background:
            try:
                wait_until(lambda: sorted(self.truth.files().values()) == want, "", PATIENCE)
            except AssertionError:
                pass
        self.background = False
        got = sorted(self.truth.files().values())
        if got != want:
            raise Mismatch(f"the server has {self.extra(got, want)} too many, "
                           f"and lacks {self.extra(want, got)}")

    @staticmethod
    def extra(some, others):
        rest = list(others)
        return [x for x in some if not (x in rest and (rest.remove(x) or True))]

    def check_pending(self):
        """Uploads that nobody needs are cancelled in the background; those of what is written or
        held may be there."""
        may = set()
        for path, file in self.names.items():
            if file.dirty or file.touched or file.state == "held":
                folder, name = os.path.split(path)
                temporary = TEMPORARY.fullmatch(name)
                may.add(self.prefix + os.path.join(folder, temporary.group(1) if temporary
                                                   else name))
        if not self.lossy:
            wait_until(lambda: self.truth.pending() <= may,
                       f"no Upload is pending but of {sorted(may)}", PATIENCE)

    def check_status(self, path, file):
        at = self.where(MNT, path)
        want = {"file": "completed"}.get(file.state, file.state)
        if file.dirty or file.touched or file.state == "new":
            return
        # An empty file under a temporary name is held as well: neither is at the service.
        may = {want, "held"} if want == "empty" and TEMPORARY.search(path) else {want}
        wait_until(lambda: xattr(at, "status") in may,
                   f"{path} has the status {xattr(at, 'status')}, not {want}", PATIENCE)
        if file.state != "file":
            return
        found = self.truth.files().get(xattr(at, "file_id"))
        if found != (self.prefix + file.own[0], file.own[1]):
            raise Mismatch(f"{path}: its file_id is of {found}, not of {file.own}")

    # ---- what a close does (semantics.md, "When the File appears") ----

    def publish(self, file, at_mount=False):
        """Somebody ends the writing of a file that has a name."""
        with open(self.where(REF, file.path), "rb") as f:
            data = f.read()
        file.dirty = file.touched = file.quiet = False
        if TEMPORARY.fullmatch(os.path.basename(file.path)) and not at_mount:
            file.state = "held"     # contract: it is published by its rename, or the next mount
        else:
            if self.keep_old:
                self.kept += [x for x in [file.own, *file.olds] if x]
            file.own = (file.path, hashlib.md5(data).hexdigest()) if data else None
            file.olds = []
            # contract: an empty one stays local, and its former File goes.
            file.state = "file" if data else "empty"

    def changed(self, file):
        file.mtime = None
        if file.path is not None:
            file.dirty = True

    def closed(self, handle):
        """By its opener: a close ends the writing of whatever handle it was."""
        file = handle.file
        if handle.may_write and file.path is not None and file.dirty:
            self.publish(file)

    def released(self, handle):
        """One descriptor less; with the last one of all what is left is published."""
        file = handle.file
        handle.count -= 1
        if handle.count or not handle.may_write:
            return
        file.writers -= 1
        if not file.writers and file.path is not None and (file.dirty or file.touched):
            self.publish(file)
            self.background = file.quiet = True

    def gone(self, file):
        """
        contract: nothing is published any more. A File that was not copied for a
        writer yet can be read and changed if it is in the cache.
        """
        for slot in self.slots.values():
            if slot.handle.file is file and file.settled():
                slot.handle.frail = True
        # contract: if it is being published, its File is deleted as soon as it exists. It may be
        # there before the mount has heard of it.
        self.background |= file.quiet
        file.path = None
        file.dirty = file.touched = False
        file.own, file.olds = None, []

    # ---- steps: files ----

    def do_open(self, slot, path, flags, mode, salt):
        if slot in self.slots:
            return
        before = self.names.get(path)
        fds = [-1, -1]

        def call(side):
            fds[side] = os.open(self.where(side, path), flags, mode)
            return stat.S_ISDIR(os.fstat(fds[side]).st_mode)

        is_dir, err = self.both(f"open {path}", call)
        if err:
            return
        if is_dir:
            for fd in fds:
                os.close(fd)
            return
        file = before or File(path)
        self.names[path] = file
        writes = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC or not before
        if not before or flags & os.O_TRUNC:
            file.touched, file.dirty, file.mtime = True, False, None
        self.slots[slot] = Slot(fds, Handle(file, flags, bool(writes)))
        self.check_slot(self.slots[slot], salt)

    def do_close(self, slot):
        if slot not in self.slots:
            return
        opened = self.slots.pop(slot)
        self.both("close", lambda side: os.close(opened.fds[side]))
        self.closed(opened.handle)
        self.released(opened.handle)
        if opened.handle.file.path is not None:
            self.check_path(opened.handle.file.path)
            self.check_content(opened.handle.file.path)

    def do_dup(self, slot, other):
        if slot not in self.slots or other in self.slots:
            return
        opened = self.slots[slot]
        self.slots[other] = Slot([os.dup(fd) for fd in opened.fds], opened.handle)

    def frail(self, handle):
        return {errno.ENOENT} if handle.frail and not self.cached else ()

    def write(self, slot, what, call, salt):
        """One that changes the content through an open file."""
        if slot not in self.slots:
            return
        opened = self.slots[slot]
        _, err = self.both(what, lambda side: call(opened.fds[side]), self.frail(opened.handle))
        if not err:
            self.changed(opened.handle.file)
        if err != errno.ENOENT:
            self.check_slot(opened, salt)

    def do_write(self, slot, size, seed, salt):
        self.write(slot, "write", lambda fd: os.write(fd, noise(seed, size)), salt)

    def do_pwrite(self, slot, size, off, seed, salt):
        self.write(slot, "pwrite", lambda fd: os.pwrite(fd, noise(seed, size), off), salt)

    def do_ftruncate(self, slot, size, salt):
        self.write(slot, "ftruncate", lambda fd: os.ftruncate(fd, size), salt)

    def do_fallocate(self, slot, mode, off, size, salt):
        if slot not in self.slots:
            return
        opened = self.slots[slot]
        file = opened.handle.file
        _, err = self.both("fallocate", lambda side: fallocate(opened.fds[side], mode, off, size),
                           self.frail(opened.handle))
        if not err:
            self.changed(file)
        self.check_slot(opened, salt)

    def do_mmap(self, slot, size, off, seed, salt):
        """Shared writes, on the bytes that are there."""
        if slot not in self.slots:
            return

        def call(fd):
            length = os.fstat(fd).st_size
            data = noise(seed, size)[:length - off % length]
            write_mapped(fd, length, off % length, data, seed % 2)

        # contract: what came into a page of a file that is gone can't be refused any more.
        if os.fstat(self.slots[slot].fds[REF]).st_size and not self.frail(self.slots[slot].handle):
            self.write(slot, "mmap", call, salt)

    def do_read(self, slot, size, salt):
        if slot not in self.slots or self.slots[slot].handle.frail and not self.cached:
            return
        opened = self.slots[slot]
        self.both("read", lambda side: os.read(opened.fds[side], size))
        self.check_slot(opened, salt)

    def do_seek(self, slot, off, whence):
        if slot in self.slots:
            fds = self.slots[slot].fds
            self.both("lseek", lambda side: os.lseek(fds[side], off, whence))

    def do_fsync(self, slot):
        if slot in self.slots:
            fds = self.slots[slot].fds
            self.both("fsync", lambda side: os.fsync(fds[side]))

    # ---- steps: processes ----

    def in_child(self, work):
        """work() in a child, which inherits every descriptor; its answer, an errno or 0."""
        reads, writes = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.write(writes, json.dumps(attempt(work)[1]).encode())
            finally:
                os._exit(0)
        os.close(writes)
        with open(reads, "rb") as f:
            told = f.read()
        os.waitpid(pid, 0)
        return json.loads(told or "-1")

    def do_child_closes(self, slot):
        """contract: a close by who inherited a file publishes nothing."""
        if slot in self.slots:
            fds = self.slots[slot].fds
            self.both("close in a child",
                      lambda side: self.in_child(lambda: os.close(fds[side])))

    def do_child_writes(self, slot, size, off, seed, salt):
        """What it writes is published by its parent's close."""
        data = noise(seed, size)

        def call(fd):
            err = self.in_child(lambda: os.pwrite(fd, data, off))
            if err:
                raise OSError(err, os.strerror(err))

        self.write(slot, "pwrite in a child", call, salt)

    def do_outlived(self, slot, size, off, seed):
        """The opener closes, and then a child writes and ends: nobody waits for that File."""
        if slot not in self.slots:
            return
        opened = self.slots[slot]
        data = noise(seed, size)
        go_r, go_w = os.pipe()
        told_r, told_w = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(go_w)
                os.read(go_r, 1)
                outcomes = [attempt(os.pwrite, fd, data, off) for fd in opened.fds]
                os.write(told_w, json.dumps(outcomes).encode())
            finally:
                os._exit(0)
        os.close(told_w)
        os.close(go_r)
        opened.handle.count += 1    # the child's
        self.do_close(slot)
        os.close(go_w)
        with open(told_r, "rb") as f:
            got, want = json.loads(f.read())
        os.waitpid(pid, 0)
        if got != want and got[1] not in self.frail(opened.handle):
            raise Mismatch(f"pwrite in a child: {got}, local {want}")
        if not want[1] and got == want:
            self.changed(opened.handle.file)
        self.released(opened.handle)

    def do_killed(self, path, flags, size, seed):
        """contract: a writer that is killed publishes nothing; the file is aborted."""
        file = self.names.get(path)
        if file and file.writers:
            return  # of several writers it spoils what the others do: test_killed.py
        data = noise(seed, size)
        outcome, err = self.both(f"a killed writer of {path}",
                                 lambda side: self.write_and_die(self.where(side, path), flags,
                                                                 data))
        if err or outcome:
            return
        if not file:
            file = self.names[path] = File(path)
        file.dirty = file.touched = False
        file.mtime = None
        file.state = "aborted"
        wait_until(lambda: xattr(self.where(MNT, path), "status") == "aborted",
                   f"{path} becomes aborted", PATIENCE)

    @staticmethod
    def write_and_die(path, flags, data):
        reads, writes = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                def work():
                    fd = os.open(path, flags, 0o644)
                    os.write(fd, data)
                os.write(writes, json.dumps(attempt(work)[1]).encode())
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(writes)
        with open(reads, "rb") as f:
            told = f.read()
        os.waitpid(pid, 0)
        return json.loads(told or "-1")

    # ---- steps: names ----

    def do_truncate(self, path, size):
        """contract: by its name it counts as opened, cut, and closed."""
        _, err = self.both(f"truncate {path}", lambda side: os.truncate(self.where(side, path),
                                                                        size))
        if not err:
            file = self.names[path]
            self.changed(file)
            self.publish(file)
            self.check_content(path)
        self.check_path(path)

    def do_unlink(self, path):
        file = self.names.get(path)
        if file and self.shadowed(file, path):
            return
        _, err = self.both(f"unlink {path}", lambda side: os.unlink(self.where(side, path)))
        if not err:
            if self.keep_old:
                self.kept += file.olds
            self.gone(self.names.pop(path))
        self.check_path(path)

    def shadowed(self, file, path):
        """contract: with keep_old a former File comes forth when the name is taken away."""
        return self.keep_old and any(x[0] == path for x in self.kept + file.olds)

    def do_rename(self, old, new, flags):
        if os.path.isdir(self.where(REF, old)):
            self.rename_dir(old, new, flags)
            return
        file = self.names.get(old)
        if file and (self.shadowed(file, old) or (self.keep_old and file.own)):
            return
        # Left out: a File that gets a temporary name. When its former one goes is not settled.
        if TEMPORARY.search(new) and any(x and (x.own or x.olds)
                                         for x in (file, self.names.get(new))):
            return
        # contract: what is replaced while it is on its way is dropped, as by rm; when it has
        # arrived it is a File, which stays until the new one is there.
        if self.patient and new in self.names:
            self.check_server()
        # contract: a File whose content is not here can't be renamed: mv copies then.
        remote = not self.cached and file and file.settled()
        _, err = self.both(f"rename {old} {new}",
                           lambda side: renameat2(self.where(side, old), self.where(side, new),
                                                  flags),
                           {errno.EXDEV} if remote else ())
        if not err and old != new:
            self.renamed(file, old, new)
        self.check_path(old)
        self.check_path(new)

    def renamed(self, file, old, new):
        other = self.names.pop(new, None)
        if other:
            file.olds += [x for x in [other.own, *other.olds] if x]
            self.gone(other)
        del self.names[old]
        # contract: an empty file makes no File, but the one that it replaces goes at once.
        again = file.settled() or (not file.dirty and not file.touched and
                                   (file.state == "held" or (file.state == "empty" and other)))
        file.path = new
        self.names[new] = file
        if again:
            self.publish(file)

    def rename_dir(self, old, new, flags):
        """contract: one with a File in it, or with one that is on its way, can't be renamed."""
        inside = [x for x in self.names if x.startswith(old + "/")]
        certain = any(self.names[x].own for x in inside)
        _, err = self.both(f"rename {old} {new}",
                           lambda side: renameat2(self.where(side, old), self.where(side, new),
                                                  flags),
                           {errno.EXDEV} if certain else ())
        if not err and certain and old != new:
            raise Mismatch(f"rename {old} {new}: 0, though there is a File in it")
        if not err and old != new:
            for path in inside:
                file = self.names.pop(path)
                file.path = new + path[len(old):]
                self.names[file.path] = file
        self.check_path(old)
        self.check_path(new)

    def do_mkdir(self, path):
        self.both(f"mkdir {path}", lambda side: os.mkdir(self.where(side, path)))
        self.check_path(path)

    def do_rmdir(self, path):
        self.both(f"rmdir {path}", lambda side: os.rmdir(self.where(side, path)))
        self.check_path(path)

    def do_listdir(self, path):
        self.both(f"listdir '{path}'", lambda side: self.listed(side, path))

    def do_stat(self, path):
        self.check_path(path)

    def do_chmod(self, path, mode):
        self.both(f"chmod {path}", lambda side: os.chmod(self.where(side, path), mode))
        self.check_path(path)

    def do_utime(self, path, ns):
        _, err = self.both(f"utime {path}",
                           lambda side: os.utime(self.where(side, path), ns=(ns, ns)))
        if not err and path in self.names:
            self.names[path].mtime = ns
        self.check_path(path)

    # ---- steps: the whole ----

    def do_check(self):
        self.check_tree()
        self.check_server()
        self.check_pending()

    def close_all(self):
        for slot in list(self.slots):
            self.do_close(slot)

    def do_remount(self):
        self.close_all()
        self.check_server()
        # contract: a held file is closed and no File, and that is told.
        held = any(x.state == "held" for x in self.names.values())
        self.mount.umount((1,) if held else (0,))
        self.mount.remount()
        for file in [x for x in self.names.values() if x.state == "held"]:
            self.publish(file, at_mount=True)
            self.background = file.quiet = True
        self.check_server()
        self.do_check()

    def step(self, step):
        getattr(self, "do_" + step[0])(*step[1:])
        if not self.patient or step[0] == "check":
            self.check_server()

    def finish(self):
        """Everything is closed, and held against each other for the last time."""
        self.close_all()
        self.do_check()
        for path in [x for x, file in self.names.items() if file.state == "held"]:
            self.do_unlink(path)

    def let_go(self):
        """After a failure, too: no descriptor stays."""
        for slot in self.slots.values():
            for fd in slot.fds:
                attempt(os.close, fd)
        self.slots.clear()
