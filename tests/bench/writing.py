"""Rows about writing large files."""
import json
import os
import shlex
import sys

from harness import GIB, MIB
from lab import HERE, raw_parts, took
from slowdisk import SlowDisk
from table import Row

# Writes at a given pace to a file whose size it declares; prints how long close() took.
PACED = """
import os, sys, time
path, size, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
block = os.urandom(1 << 18)
fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.setxattr(path, "user.upload.size", str(size).encode())
start = time.monotonic()
done = 0
while done < size:
    done += os.write(fd, block[:size - done])
    time.sleep(max(0, start + done / rate - time.monotonic()))
end = time.monotonic()
os.close(fd)
print(time.monotonic() - end)
"""


class Copies:
    """Copies of one source into one mount, each removed again, unmeasured."""

    def __init__(self, lab, source, server=None, **options):
        self.sink = server or lab.sink()
        self.mount = lab.mount(self.sink, **options)
        self.source, self.number = source, 0
        self.cpu = 0.0

    def _path(self):
        self.number += 1
        return self.mount.path("batch", f"copy{self.number}")

    def _took(self, paths, *commands):
        before = self.mount.cpu()
        result = took(*commands)
        self.cpu = self.mount.cpu() - before
        for path in paths:
            os.unlink(path)
        return result

    def cp(self):
        path = self._path()
        return self._took([path], ["cp", self.source, path])

    def cat(self):
        """Through a pipe: nothing tells the size."""
        path = self._path()
        return self._took([path], ["sh", "-c", f"cat {shlex.quote(self.source)} | "
                                   f"cat >{shlex.quote(path)}"])

    def at_once(self, sources):
        paths = [self._path() for _ in sources]
        return self._took(paths, *[["cp", a, b] for a, b in zip(sources, paths)])


def md5(source):
    return took(["openssl", "md5", source])


def cp(lab):
    """cp and what it costs, against the two limits."""
    source = lab.source(2 * GIB)
    copies = Copies(lab, source)
    copies.cp()  # the pages of a state directory that is used are there already
    ours, limit, cpu, least = [], [], [], []
    for _ in lab.turns():
        ours.append(copies.cp().wall)
        cpu.append(copies.cpu)
        digest, wire = md5(source), raw_parts(lab, copies.sink, source)
        limit.append(max(digest.wall, wire.wall))
        least.append(digest.cpu + wire.cpu)
    gib = os.path.getsize(source) / GIB
    return [Row("cp", "cp of 2 GiB, size observed",
                "the slower of `openssl md5` and four curl with the same Parts", ours, limit,
                aim=1.10),
            Row("cpu", "processor time of the daemon for it",
                "`openssl md5` and those four curl", [x / gib for x in cpu],
                [x / gib for x in least], unit="s/GiB", aim=1.25)]


def slow_disk(lab):
    """The close does not wait for the disk: nobody was promised anything before it returns."""
    rate = 200_000_000
    source = lab.source(GIB)
    disk = lab.until_closed(SlowDisk(lab.ram, 4 * GIB, rate))
    copies = Copies(lab, source, state_dir=disk.at + "/state")
    disk.take(copies.mount.pid)
    copies.cp()
    ours, limit = [], []
    for _ in lab.turns():
        disk.settle()
        ours.append(copies.cp().wall)
        limit.append(max(md5(source).wall, raw_parts(lab, copies.sink, source).wall))
    return [Row("slow-disk", f"cp of 1 GiB, state directory on a disk limited to 200 MB/s (loop device, "
                f"`{disk.by}`)", "the slower of `openssl md5` and four curl with the same Parts", ours,
                limit, aim=1.10)]


def node(lab):
    """The script of thirty lines that the mount replaces."""
    source = lab.source(2 * GIB)
    copies = Copies(lab, source)
    copies.cp()
    ours, theirs, small, large = [], [], [], []
    argv = ["node", os.path.join(HERE, "sdk.mjs"), source]
    env = {"OPENAI_BASE_URL": copies.sink.url, "OPENAI_API_KEY": "none",
           "NODE_PATH": os.path.join(lab.npm, "node_modules")}
    for _ in lab.turns():
        copies.mount.forget_peak()
        ours.append(copies.cp().wall)
        small.append(copies.mount.peak())
        script = took(argv, env=env)
        theirs.append(script.wall)
        large.append(script.resident)
    return [Row("node", "cp of 2 GiB, size observed", "a script with the Node SDK: Parts in sequence, MD5", ours,
                theirs, aim=0.5),
            Row("node-memory", "peak resident memory of the daemon for it", "that of the script", small,
                large, unit="MiB", aim=1 / 15)]


def unknown(lab):
    source = lab.source(2 * GIB)
    copies = Copies(lab, source)
    copies.cat()
    ours, theirs = [], []
    for _ in lab.turns():
        ours.append(copies.cat().wall)
        theirs.append((md5(source) + raw_parts(lab, copies.sink, source)).wall)
    return [Row("unknown", "2 GiB, size unknown (`cat x \\| cat > f`)",
                "`openssl md5`, then four curl", ours, theirs, aim=1.05)]


def wire(lab):
    """A link that is slower than everything else."""
    rate = 25 * MIB
    source = lab.source(GIB)
    sink = lab.sink("--latency", "40", "--rate", str(rate))
    mount = lab.mount(sink, parallel="4")
    ours = []
    for i in lab.turns():
        ours.append(took(["cp", source, mount.path("batch", f"f{i}")]).wall)
    ideal = os.path.getsize(source) / (4 * rate)
    return [Row("wire", "1 GiB, 4 connections of 25 MiB/s, 40 ms to a reply",
                "bytes / (4 × rate)", ours, [ideal] * len(ours), aim=1.10)]


def eight(lab):
    """Many files: the MD5 of one can't be computed in parts, those of several go side by side."""
    whole, eighth = lab.source(2 * GIB), lab.source(GIB // 4)
    copies = Copies(lab, whole)
    copies.cp()
    ours, theirs, digest, cpu = [], [], [], []
    for _ in lab.turns():
        ours.append(copies.at_once([eighth] * 8).wall)
        cpu.append(copies.cpu)
        theirs.append(copies.cp().wall)
        digest.append(md5(whole).wall)
    gib = os.path.getsize(whole) / GIB
    what = "8 files of 256 MiB by 8 cp at once"
    return [Row("eight", what, "the same bytes as one file", ours, theirs, aim=0.45),
            Row("eight-md5", what, "`openssl md5` of the same bytes", ours, digest),
            Row("eight-cpu", "processor time of the daemon for them", "–", [x / gib for x in cpu],
                unit="s/GiB", aim=1.6)]


def sixty_four(lab):
    eighth, small = lab.source(GIB // 4), lab.source(32 * MIB)
    copies = Copies(lab, eighth)
    copies.at_once([eighth] * 8)
    ours, theirs, cpu = [], [], []
    for _ in lab.turns():
        ours.append(copies.at_once([small] * 64).wall)
        cpu.append(copies.cpu)
        theirs.append(copies.at_once([eighth] * 8).wall)
    gib = 64 * os.path.getsize(small) / GIB
    return [Row("sixty-four", "64 files of 32 MiB by 64 cp at once", "the same bytes as 8 files", ours,
                theirs, aim=1.10),
            Row("sixty-four-cpu", "processor time of the daemon for them", "–", [x / gib for x in cpu],
                unit="s/GiB", aim=1.6)]


def declared(lab):
    """What is left to do at the close of a file that came slower than the wire takes it."""
    size, rtt = lab.bytes(128 * MIB), 0.040
    sink = lab.sink("--latency", "40", "--rate", "25M")
    mount = lab.mount(sink)
    ours, allowed = [], []
    for i in lab.turns():
        path = mount.path("batch", f"f{i}")
        out = os.path.join(lab.ram, "paced")
        with open(out, "w", encoding="ascii") as f:
            took([sys.executable, "-c", PACED, path, str(size), "10e6"], stdout=f)
        with open(out, encoding="ascii") as f:
            ours.append(float(f.read()))
        allowed.append(3 * rtt + 1)
    return [Row("declared", "close() of 128 MiB of declared size, written at 10 MB/s over a wire "
                "of 25 MiB/s and 40 ms", "3 round trips + 1 s", ours, allowed, aim=1)]


def requests(lab, size):
    """A file of so many bytes at least, as for a batch: a line for each request."""
    path = os.path.join(lab.ram, "requests.jsonl")
    text = "In a few sentences, what is this text about, and who wrote it for whom? " * 4
    body = {"model": "gpt-4o-mini", "max_tokens": 1000,
            "messages": [{"role": "system", "content": "You are a helpful assistant."},
                         {"role": "user", "content": text}]}
    with open(path, "w", encoding="utf-8") as f:
        for i in range(lab.bytes(size) // 500):
            json.dump({"custom_id": f"request-{i}", "method": "POST",
                       "url": "/v1/chat/completions", "body": body}, f)
            f.write("\n")
    return path


def check(lab):
    """What check=jsonl costs."""
    source = requests(lab, GIB)
    plain, checked = Copies(lab, source), Copies(lab, source, check="jsonl")
    plain.cp(), checked.cp()
    ours, theirs, cpu, least = [], [], [], []
    gib = os.path.getsize(source) / GIB
    for _ in lab.turns():
        ours.append(checked.cp().wall)
        cpu.append(checked.cpu / gib)
        theirs.append(plain.cp().wall)
        least.append(plain.cpu / gib)
    return [Row("check", "cp of 1 GiB of batch requests with `check=jsonl`", "the same without", ours, theirs,
                aim=1.5),
            Row("check-cpu", "processor time of the daemon for it", "the same without", cpu, least,
                unit="s/GiB", aim=1.5)]


def writes(lab):
    """write(2) of 4 KiB each, without the close."""
    size = lab.bytes(256 * MIB)
    sink = lab.sink()
    mount = lab.mount(sink)
    below, mnt = lab.directory("below"), lab.directory("bindfs")
    lab.other("bindfs", ["bindfs", "-f", below, mnt], mnt=mnt).await_mount()
    script = os.path.join(HERE, "write4k.py")
    out = os.path.join(lab.ram, "writes")

    def one(path):
        with open(out, "w", encoding="ascii") as f:
            took([sys.executable, script, path, str(size)], stdout=f)
        os.unlink(path)
        with open(out, encoding="ascii") as f:
            return float(f.read())

    ours, theirs = [], []
    for i in lab.turns():
        ours.append(one(mount.path("batch", f"f{i}")))
        theirs.append(one(os.path.join(mnt, f"f{i}")))
    return [Row("writes", "256 MiB in writes of 4 KiB, before the close", "the same into bindfs",
                ours, theirs, aim=1.1)]


ROWS = {"cp": cp, "slow-disk": slow_disk, "node": node, "unknown": unknown, "wire": wire, "eight": eight,
        "sixty-four": sixty_four, "declared": declared, "check": check, "writes": writes}
