"""
What the rows of `make bench` stand on: servers that are sinks, mounts, sources, and what
a command took. Everything that is started or made here is ended and removed by Lab.close().
"""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
ROOT = os.path.dirname(TESTS)
sys.path[:0] = [os.path.join(TESTS, "mount")]
import harness  # noqa: E402
from harness import BUILD, MIB, wait_until  # noqa: E402

PART = 64 * MIB
TICK = os.sysconf("SC_CLK_TCK")
RUN_LIMIT = 300  # seconds for one measured command


class Took:
    """What one or several processes needed: wall, user and system seconds, bytes resident."""

    def __init__(self, wall=0.0, user=0.0, system=0.0, resident=0):
        self.wall, self.user, self.system, self.resident = wall, user, system, resident

    @property
    def cpu(self):
        return self.user + self.system

    def __add__(self, other):
        """One after the other."""
        return Took(self.wall + other.wall, self.user + other.user, self.system + other.system,
                    max(self.resident, other.resident))


def took(*commands, env=None, stdout=subprocess.DEVNULL):
    """Runs commands (argv lists) at once; all must exit 0."""
    env = dict(os.environ, LC_ALL="C", **(env or {}))
    total = Took()
    start = time.monotonic()
    procs = [subprocess.Popen(x, env=env, stdin=subprocess.DEVNULL, stdout=stdout)
             for x in commands]
    codes = []
    try:
        for proc in procs:
            # wait4() and not wait(): it has the resources of this one process.
            _, status, usage = os.wait4(proc.pid, 0)
            proc.returncode = os.waitstatus_to_exitcode(status)
            codes.append(proc.returncode)
            total.user += usage.ru_utime
            total.system += usage.ru_stime
            total.resident += usage.ru_maxrss * 1024
    finally:
        for proc in procs:
            if proc.returncode is None:
                proc.kill()
                proc.wait()
    total.wall = time.monotonic() - start
    if any(codes):
        raise AssertionError(f"exit codes {codes}: {commands}")
    return total


class Daemon(harness.Process):
    """A process in the background whose resources can be asked for."""

    def cpu(self):
        """Seconds of processor time up to now."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def peak(self):
        return self.memory("VmHWM")

    def forget_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")


class Sink(Daemon, harness.Server):
    """uploads-server --sink."""

    def start(self):
        self.spawn([os.path.join(BUILD, "uploads-server"), "--sink", *self.args], {})

        def listening():
            assert self.alive(), "uploads-server ended:\n" + self.log()
            return re.search(r"^listening on http://127\.0\.0\.1:(\d+)/v1 ", self.log(), re.M)

        self.port = int(wait_until(listening, "uploads-server listens").group(1))


class Store(Daemon, harness.Server):
    """uploads-server as users run it: it keeps the bytes and checks their MD5."""


class Mounted(Daemon, harness.Mount):
    """build/uploadfs with its own defaults."""

    def __init__(self, world, server, options=(), **more):
        super().__init__(world, server, options, key=None,
                         **{"part_size": None, "retry_timeout": None, **more})


class Other(Daemon):
    """Some other program that serves until it is ended."""

    def __init__(self, world, name, argv, env=None, mnt=None):
        super().__init__(world, name)
        self.mnt = mnt
        self.spawn(argv, env or {})

    def await_port(self, port):
        def connects():
            assert self.alive(), f"{self.name} ended:\n{self.log()[-3000:]}"
            return not subprocess.run(["curl", "-s", "-o", os.devnull, f"http://127.0.0.1:{port}/"],
                                      check=False).returncode

        wait_until(connects, self.name + " answers")

    def await_mount(self):
        def mounted():
            assert self.alive(), f"{self.name} ended:\n{self.log()[-3000:]}"
            return harness.is_mounted(self.mnt)

        wait_until(mounted, self.name + " mounts")

    def end(self):
        if self.mnt and harness.is_mounted(self.mnt):
            harness.run(["fusermount3", "-u", self.mnt], check=False)
        elif self.alive():
            self.proc.terminate()
        if self.proc:
            self.wait(30)
        if self.mnt and harness.is_mounted(self.mnt):
            harness.run(["fusermount3", "-u", "-z", self.mnt], check=False)


class World(harness.World):
    """Without a watchdog: each measured command has a limit of its own."""

    def __init__(self):
        super().__init__()
        self.watchdog.cancel()


def _busy():
    """Seconds of processor time that the machine used up to now, also what it was denied."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


class Lab:
    """
    scale: what sizes are divided by, for a trial of the rows themselves. reps: how often
    each thing is done. quiet: which share of the processors somebody else may use meanwhile.
    """

    def __init__(self, reps, scale=1, npm=None, quiet=0.1):
        self.reps, self.scale, self.npm, self.quiet = reps, scale, npm, quiet
        self.shares = []  # of the processors, that somebody else used in each turn
        self.world = World()
        self.ram = tempfile.mkdtemp(prefix="u-bench-",
                                    dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.others, self.last = [], []
        self.sources = {}

    def _own(self):
        """Seconds of processor time that went into this process and what it started."""
        usage = [resource.getrusage(x) for x in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(x.ru_utime + x.ru_stime for x in usage) + sum(
            x.cpu() for x in self.world.processes + self.others if x.alive())

    def turns(self):
        """
        Yields once for each turn of ours and theirs: until there were enough quiet ones, or
        twice as many as asked for. kept() then says which count.
        """
        while sum(x <= self.quiet for x in self.shares) < self.reps and \
                len(self.shares) < 2 * self.reps:
            start, busy, own = time.monotonic(), _busy(), self._own()
            yield len(self.shares)
            others = _busy() - busy - (self._own() - own)
            self.shares.append(max(0, others / (time.monotonic() - start) / os.cpu_count()))

    def kept(self):
        """The numbers of the quietest turns, in their order, and the highest share in them."""
        best = sorted(range(len(self.shares)), key=self.shares.__getitem__)[:self.reps]
        return sorted(best), max((self.shares[x] for x in best), default=None)

    def sink(self, *args):
        return self.world._add(Sink, args, key=None)

    def store(self):
        return self.world._add(Store, key=None)

    def mount(self, server, **options):
        return self.world._add(Mounted, server, **options)

    def other(self, name, argv, **more):
        self.others.append(Other(self.world, name, argv, **more))
        return self.others[-1]

    def until_closed(self, thing):
        """thing.end() is called when all processes have ended."""
        self.last.append(thing)
        return thing

    def directory(self, name):
        path = self.world.path(f"{name}{self.world.next_number()}")
        os.mkdir(path)
        return path

    def bytes(self, size):
        return max(size // self.scale, MIB)

    def count(self, number):
        return max(number // self.scale, 2)

    def source(self, size):
        """A file in memory of size bytes (after scaling), made once."""
        size = self.bytes(size)
        if size not in self.sources:
            path = os.path.join(self.ram, f"source-{size}")
            self.sources[size] = harness.make_file(path, size)
        return self.sources[size]

    def parts(self, source):
        """The same bytes in files of a Part each, in memory."""
        folder = source + ".parts"
        if not os.path.isdir(folder):
            os.mkdir(folder)
            size = min(PART, -(-os.path.getsize(source) // 4))
            harness.run(["split", "-b", str(size), "-d", "-a", "4", source, folder + "/p"],
                        timeout=RUN_LIMIT)
        return [os.path.join(folder, x) for x in sorted(os.listdir(folder))]

    def close(self):
        try:
            for other in reversed(self.others):
                other.end()
        finally:
            try:
                self.world.close()
            finally:
                for thing in self.last:
                    thing.end()
                shutil.rmtree(self.ram, ignore_errors=True)


def post(url, body, field, options=()):
    """A JSON request by curl that is not measured; the value of a field of the reply."""
    out = harness.run(["curl", *options, "-sS", "-f", "-H", "Content-Type: application/json", "-d", body,
                       url]).stdout
    return re.search(rf'"{field}":"([^"]+)"', out).group(1)


def raw_create(server, source):
    """The id of a new Upload for source."""
    return post(server.url + "/uploads", '{"filename":"raw","purpose":"batch","bytes":%d,'
                '"mime_type":"text/plain"}' % os.path.getsize(source), "id", getattr(server, "curl", ()))


def raw_parts(lab, server, source, processes=4, upload=None, replies=None):
    """
    Took of the Parts of source sent by so many curl at once, over a connection each; to a new
    Upload if none is named. replies: a folder for what was answered to each Part, by its number.
    """
    parts = lab.parts(source)
    url = f"{server.url}/uploads/{upload or raw_create(server, source)}/parts"
    commands = []
    for first in range(min(processes, len(parts))):
        argv = []
        for nr in range(first, len(parts), processes):
            argv += ["--next"] if argv else ["curl"]
            argv += [*getattr(server, "curl", ()), "-sS", "-f", "-o", f"{replies}/{nr}" if replies else os.devnull,
                     "-H", "Expect:", "-F",
                     f"data=@{parts[nr]};filename=p;type=application/octet-stream", url]
        commands.append(argv)
    return took(*commands)
