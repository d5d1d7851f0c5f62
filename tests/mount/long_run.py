"""
One long life of two mounts of one account, for tests/soak.py: tools write, move, cut and remove
files side by side, the server fails and is killed, so are writers and one of the two daemons. The
other one lives to the end.

The life has rounds. At the end of each the faults stop, and what is under way ends. Then each name
is what its tools were told, through both mounts and on the server, and the daemons, their state
directories and the server are measured. Figures that grow from round to round are a failure.
"""
import concurrent.futures
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import threading
import time

import harness
from harness import BUILD, MIB, run, wait_until, xattr

PART = 256 << 10
NAMES = 5           # of each writer
WRITERS = 3         # of each mount
ROUND = 8           # seconds of writing
UPLOAD_TTL = 20     # an Upload whose create had no reply is gone after that
SETTLE = 90         # seconds
UNDER_WAY = ("publishing", "streaming", "writing", "held", "failed")
FAULTS = [{"action": "status", "status": x, "headers": {"retry-after-ms": "20"}}
          for x in (500, 502, 503, 429, 408)] + \
    [{"action": "reset", "when": x} for x in ("before", "during", "after")] + \
    [{"action": x} for x in ("drop", "truncate", "invalid_json")] + [{"action": "delay", "ms": 50}]
BLOCKS = "▁▂▃▄▅▆▇█"


def digest(data):
    return None if data is None else (len(data), hashlib.md5(data).hexdigest())


class Name:
    """A file of one writer: what it may be. None: no such file."""

    def __init__(self, name):
        self.name = name
        self.may = [None]
        self.last = []      # what was done to it, for a story

    @property
    def is_sure(self):
        return len(self.may) == 1

    def now(self):
        return self.may[0]


class Writer:
    """Uses tools on its own names, one after the other."""

    def __init__(self, life, mount, names, seed):
        self.life, self.mount, self.rng = life, mount, random.Random(seed)
        self.names = [Name(x) for x in names]
        self.scratch = life.world.path("scratch-" + names[0])
        self.moves = []     # (source, target, bytes) of each mv that did not succeed
        self.done = self.refused = self.killed = self.bytes = 0

    def path(self, name):
        return self.mount.path("batch", name.name)

    def data(self):
        size = self.rng.choice([self.rng.randrange(1, 3000), self.rng.randrange(1, PART), PART,
                                self.rng.randrange(PART, 6 * PART)])
        return self.rng.randbytes(size)

    def write_for(self, end):
        while time.monotonic() < end:
            name = self.rng.choice(self.names)
            # What is not known is found out at the end of the round.
            if name.is_sure:
                what = self.rng.choice((self.copy, self.copy, self.pipe, self.rsync, self.append,
                                        self.cut, self.move, self.remove, self.read))
                name.last = [*name.last[-3:], what.__name__]
                what(name)

    def tool(self, argv, **kwargs):
        """Whether it succeeded; one in a dozen is killed on the way."""
        proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True, **kwargs)
        try:
            if self.rng.random() < 1 / 12:
                try:
                    proc.wait(self.rng.uniform(0.001, 0.1))
                except subprocess.TimeoutExpired:
                    os.killpg(proc.pid, signal.SIGKILL)
                    self.killed += 1
            code = proc.wait(SETTLE)
        except subprocess.TimeoutExpired:
            os.killpg(proc.pid, signal.SIGKILL)
            raise AssertionError(f"not within {SETTLE} s: {argv}") from None
        self.done += code == 0
        self.refused += code > 0
        return code == 0

    def put(self, name, argv, after):
        """A tool that makes name be after, or leaves what is known to be possible."""
        before = name.now()
        name.may = [before, after]
        if self.tool(argv):
            name.may = [after]
            self.bytes += len(after)

    def source(self):
        data = self.data()
        with open(self.scratch, "wb") as f:
            f.write(data)
        return data

    def copy(self, name):
        data = self.source()
        self.put(name, ["cp", self.scratch, self.path(name)], data)

    def pipe(self, name):
        data = self.source()
        script = 'cat "$1" | dd of="$2" bs=64K iflag=fullblock status=none'
        self.put(name, ["sh", "-c", script, "sh", self.scratch, self.path(name)], data)

    def rsync(self, name):
        data = self.source()
        self.put(name, ["rsync", "--whole-file", "--ignore-times", self.scratch, self.path(name)],
                 data)

    def append(self, name):
        if name.now() is None or len(name.now()) > 8 * PART:
            return
        data = self.source()
        self.put(name, ["sh", "-c", 'cat "$1" >> "$2"', "sh", self.scratch, self.path(name)],
                 name.now() + data)

    def cut(self, name):
        if name.now() is None:
            return
        size = self.rng.randrange(1, len(name.now()) + 1)
        self.put(name, ["truncate", "-s", str(size), self.path(name)], name.now()[:size])

    def move(self, name):
        target = self.rng.choice(self.names)
        if target is name or not target.is_sure or name.now() is None:
            return
        before, over = name.now(), target.now()
        # Where it has to copy mv(1) removes the target first.
        name.may, target.may = [before, None], [over, before, None]
        target.last = [*target.last[-3:], "target of " + name.name]
        self.moves.append((name, target, before))
        if self.tool(["mv", "-f", self.path(name), self.path(target)]):
            name.may, target.may = [None], [before]
            self.moves.pop()

    def remove(self, name):
        if name.now() is None:
            return
        name.may = [name.now(), None]
        # Not -f: without a mount there is no such file, either.
        if self.tool(["rm", self.path(name)]):
            name.may = [None]

    def read(self, name):
        """A read gives the bytes, or fails: with the service, or with its daemon."""
        if name.now() is None:
            return
        try:
            with open(self.path(name), "rb") as f:
                data = f.read()
        except OSError:
            return
        assert data == name.now(), f"{name.name}: read {digest(data)}, not {digest(name.now())}"

    # ---- at the end of a round

    def settle(self):
        """Each name is one of what it may be; then that is what it is."""
        for name in self.names:
            if not name.is_sure:
                self.find_out(name)
            found = self.content(name)
            assert found == name.now(), \
                f"{name.name}: is {digest(found)}, not {digest(name.now())}"
        for source, target, data in self.moves:
            assert data in (source.now(), target.now()), f"mv lost {source.name}: {digest(data)}"
        self.moves = []

    def find_out(self, name):
        name.last.append(self.status(name))
        if name.last[-1] in ("aborted", "empty"):
            # Of a writer that was killed; the File behind it shows when that is removed.
            os.unlink(self.path(name))
        # After a remount the File behind it comes with the next listing.
        wait_until(lambda: self.content(name) in name.may, f"{name.name}: "
                   f"is {digest(self.content(name))}, not one of {[digest(x) for x in name.may]} "
                   f"after {name.last}")
        name.may = [self.content(name)]

    def status(self, name):
        try:
            return xattr(self.path(name), "status")
        except FileNotFoundError:
            return None

    def content(self, name):
        try:
            with open(self.path(name), "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None


class Sample:
    """What is measured at one moment of quiet."""

    FIELDS = ("seconds", "operations", "Files", "pending", "RSS a", "RSS b", "fds a", "fds b",
              "threads a", "threads b", "staged", "staged bytes", "cached bytes", "state.db b",
              "WAL b", "RSS server")

    def __init__(self, life):
        a, b = life.mounts
        space = [status(x)["space"] for x in life.mounts]
        self.values = [
            int(time.monotonic() - life.start), sum(x.done for x in life.writers),
            len(life.server.files()), len(life.server.uploads(status="pending")),
            *(x.memory() >> 10 for x in (a, b)), *(descriptors(x) for x in (a, b)),
            *(threads(x) for x in (a, b)), sum(x["staging_files"] for x in space),
            sum(x["staging_used"] for x in space), sum(x["cache_used"] for x in space),
            *(os.path.getsize(os.path.join(b.state, x)) >> 10
              for x in ("state.db", "state.db-wal")),
            life.server.memory() >> 10]

    def __getitem__(self, field):
        return self.values[self.FIELDS.index(field)]


def status(mount):
    return json.loads(run([os.path.join(BUILD, "uploadfs"), "status", "--json", mount.mnt]).stdout)


def descriptors(mount):
    return len(os.listdir(f"/proc/{mount.pid}/fd"))


def threads(mount):
    return len(os.listdir(f"/proc/{mount.pid}/task"))


class Life:
    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        self.server = world.server("--upload-ttl", str(UPLOAD_TTL))
        options = {"part_size": "256K", "list_ttl": "1", "retry_delay": "1", "cache_size": "8M",
                   "retry_timeout": "2"}
        self.mounts = [world.mount(self.server, **options),
                       world.mount(self.server, **options)]
        self.writers = [Writer(self, mount, [f"{which}{n}-{x}" for x in range(NAMES)],
                               self.rng.random())
                        for which, mount in zip("ab", self.mounts) for n in range(WRITERS)]
        for mount in self.mounts:
            mount.may_fail = True
        self.start = time.monotonic()
        self.samples = []
        self.deaths = self.restarts = self.faults = 0

    # ---- a round

    def round(self):
        end = time.monotonic() + ROUND
        with concurrent.futures.ThreadPoolExecutor(len(self.writers) + 1) as pool:
            jobs = [pool.submit(x.write_for, end) for x in self.writers]
            jobs.append(pool.submit(self.trouble, end))
            for job in jobs:
                job.result()
        self.quiet()

    def trouble(self, end):
        """Faults, and deaths of the server and of the first daemon."""
        while (left := end - time.monotonic()) > 0:
            rules = [{"op": self.rng.choice(["create", "part", "complete", "list", "content"]),
                      "nth": self.rng.randrange(1, 20), "times": self.rng.randrange(1, 4),
                      **self.rng.choice(FAULTS)} for _ in range(self.rng.randrange(4))]
            self.faults += len(rules)
            self.server.faults(rules)
            time.sleep(min(left, self.rng.uniform(0.5, 3)))
            which = self.rng.random()
            if which < 0.15:
                self.server.restart()
                self.restarts += 1
            elif which < 0.3:
                self.mounts[0].kill()
                self.mounts[0].remount()
                self.deaths += 1

    def quiet(self):
        """Everything comes to its end, and is what it should be."""
        self.server.faults([])
        for mount in self.mounts:
            self.publish_all(mount)
        for writer in self.writers:
            self.drop_leftovers(writer)
            writer.settle()
        for mount in self.mounts:
            wait_until(lambda mount=mount: self.is_done(mount), f"{mount.name}: all is published",
                       SETTLE)
        wait_until(lambda: not self.server.uploads(status="pending"), "no Upload is pending",
                   SETTLE)
        self.check_server()
        self.check_other_side()
        self.check_data()
        self.samples.append(Sample(self))

    @staticmethod
    def is_done(mount):
        totals = status(mount)["totals"]
        return not any(totals[x] for x in UNDER_WAY + ("aborted", "empty"))

    @staticmethod
    def publish_all(mount):
        """Until nothing is under way; what failed need not wait for its next try."""
        def over():
            found = status(mount)
            for x in found["files"]:
                if x["status"] in ("failed", "held"):
                    try:
                        os.setxattr(mount.path(x["path"]), "user.upload.publish", b"1")
                    except OSError:
                        pass
            return not any(found["totals"][x] for x in UNDER_WAY)

        wait_until(over, f"{mount.name}: nothing is under way", SETTLE)

    @staticmethod
    def drop_leftovers(writer):
        """Temporary names of an rsync that was killed."""
        own = {x.name for x in writer.names}
        for entry in os.listdir(writer.mount.path("batch")):
            if entry.startswith(".") and entry[1:].rpartition(".")[0] in own:
                os.unlink(writer.mount.path("batch", entry))

    def known(self):
        return {x.name: x.now() for w in self.writers for x in w.names if x.now() is not None}

    def check_server(self):
        """One File for each name, with its bytes, and no other."""
        want = sorted((x, *digest(data)) for x, data in self.known().items())

        def there():
            return sorted((x["filename"], x["bytes"]) for x in self.server.files()) \
                == [x[:2] for x in want]

        try:
            wait_until(there, "")
        except AssertionError:
            have = sorted((x["filename"], x["bytes"], x["id"]) for x in self.server.files())
            raise AssertionError(f"Files: {have}\nnames: {want}") from None
        for file in self.server.files():
            assert (file["filename"], *self.server.content_md5(file["id"])) in want, file

    def check_other_side(self):
        """Each mount shows what the other one's tools have written."""
        names = self.known()
        for mount in self.mounts:
            wait_until(lambda mount=mount: set(os.listdir(mount.path("batch"))) == set(names),
                       f"{mount.name} lists every name and no other")
            for name, data in names.items():
                def same(path=mount.path("batch", name), data=data):
                    with open(path, "rb") as f:
                        return f.read() == data

                wait_until(same, f"{name} through {mount.name}")

    def check_data(self):
        """Each data file has its row, and no row is left but those of the cache."""
        for mount in self.mounts:
            def accounted(mount=mount):
                rows = {x["data"] for x in harness.query(mount.state, "SELECT data FROM cached")}
                found = {x[:-5] for x in os.listdir(harness.data_dir(mount.state))
                         if x.endswith(".data")}
                return found == rows and not harness.records(mount.state)

            wait_until(accounted, f"{mount.name}: data files and rows are the same")

    # ---- the end

    def grown(self):
        """What grew; a life of less than nine rounds says nothing."""
        third = len(self.samples) // 3
        if third < 3:
            return []
        early, late = self.samples[third:2 * third], self.samples[2 * third:]
        problems = []
        # Of the threads up to 8 answer FUSE, and stay once they were needed, with a pipe each.
        for field, slack in (("RSS b", 2048), ("threads b", 4), ("fds b", 8)):
            before = statistics.median(x[field] for x in early)
            after = statistics.median(x[field] for x in late)
            if after > before * 1.05 + slack:
                problems.append(f"{field} grew: {before} in the second third, {after} in the last")
        for field in ("staged", "staged bytes", "pending"):
            if any(x[field] for x in self.samples):
                problems.append(f"{field} is not 0 at the end of each round")
        return problems

    def report(self):
        lines = [f"{len(self.samples)} rounds in {time.monotonic() - self.start:.0f} s: "
                 f"{sum(x.done for x in self.writers)} operations that succeeded, "
                 f"{sum(x.bytes for x in self.writers) / MIB:.0f} MiB in them, "
                 f"{sum(x.refused for x in self.writers)} that failed, "
                 f"{sum(x.killed for x in self.writers)} writers killed, "
                 f"{self.deaths} daemons killed, {self.restarts} servers killed, "
                 f"{self.faults} faults", ""]
        rows = self.samples[::max(1, len(self.samples) // 20)]
        if self.samples and rows[-1] is not self.samples[-1]:
            rows.append(self.samples[-1])
        lines.append("| " + " | ".join(Sample.FIELDS) + " |")
        lines.append("|" + "---|" * len(Sample.FIELDS))
        lines += ["| " + " | ".join(f"{v:,}" for v in x.values) + " |" for x in rows]
        lines += [""] + [f"{x:>12} {picture([s[x] for s in self.samples])}"
                         for x in ("RSS a", "RSS b", "fds b", "threads b", "cached bytes",
                                   "WAL b", "RSS server", "Files", "pending")]
        return "\n".join(lines)


def picture(values):
    """A line of blocks from 0 to the highest value."""
    top = max(values, default=0) or 1
    return "".join(BLOCKS[min(len(BLOCKS) - 1, x * len(BLOCKS) // top)] for x in values) + \
        (f" {min(values):,} to {max(values):,}" if values else "")


def live_long(world, seconds, seed):
    """The report of a life of that many seconds, to print, and the story of what went wrong."""
    life = Life(world, seed)
    story = ""
    try:
        while time.monotonic() < life.start + seconds:
            life.round()
        for mount in life.mounts:
            mount.umount((0, 1))
        story = "\n".join(life.grown())
    except (AssertionError, OSError) as exc:
        story = f"round {len(life.samples) + 1}, seed {seed}: {exc}\n" + "".join(
            f"--- {x.name}\n{x.log()[-6000:]}\n" for x in life.mounts)
    return life.report(), story
