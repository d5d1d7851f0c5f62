"""Rows about reading, and about memory."""
import json
import os
import random
import shutil
import sys

from harness import GIB, MIB
from lab import took
from table import Row


def read(lab):
    """A File that is not there yet, then one that is."""
    size = lab.bytes(GIB)
    sink = lab.sink("--sink-files", f"{2 * lab.reps + 1}:{size}")
    mount = lab.mount(sink)
    names = sorted(os.listdir(mount.path("batch")))
    local = os.path.join(lab.directory("local"), "file")
    ids = [os.getxattr(mount.path("batch", x), "user.upload.file_id").decode() for x in names]
    url = f"{sink.url}/files/{ids[-1]}/content"
    cold, again, fetched, near = [], [], [], []
    for i in lab.turns():
        path = mount.path("batch", names[i])
        cold.append(took(["cat", path]).wall)
        if os.path.exists(local):
            os.unlink(local)
        fetched.append(took(["curl", "-sS", "-f", "-o", local, url]).wall)
        # What is read for the second time costs more than what was only written: the kernel
        # moves its pages to those in use. So each of the two has been read once.
        took(["cat", local])
        again.append(took(["cat", path]).wall)
        near.append(took(["cat", local]).wall)
    return [Row("cold", "cold read of 1 GiB", "curl to a file", cold, fetched, aim=1.10),
            Row("again", "second read of it", "second cat from the local disk", again, near, aim=1.2)]


# argv: file, size of a read, offsets. Reads there.
READS = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for offset in sys.argv[3:]:
    assert len(os.pread(fd, int(sys.argv[2]), int(offset))) == int(sys.argv[2])
"""


def content_bytes(journal):
    """Bytes of content that the server has sent."""
    with open(journal, encoding="ascii") as f:
        lines = [json.loads(x) for x in f]
    return sum(x["bytes"] for x in lines if x["op"] == "content")


def random_reads(lab):
    """A training host's reads of records in a large File that is not there yet."""
    size, reads, length = lab.bytes(GIB), lab.count(1000), 64 << 10
    journal = os.path.join(lab.directory("journal"), "lines")
    sink = lab.sink("--journal", journal, "--sink-files", f"{2 * lab.reps + 1}:{size}")
    mount = lab.mount(sink)
    names = sorted(os.listdir(mount.path("batch")))
    url = f"{sink.url}/files/" + os.getxattr(mount.path("batch", names[-1]),
                                             "user.upload.file_id").decode() + "/content"
    config = os.path.join(lab.directory("ranges"), "config")
    ours, theirs, fetched, wanted = [], [], [], []
    for i in lab.turns():
        rng = random.Random(i)
        offsets = [rng.randrange(size - length) for _ in range(reads)]
        before = content_bytes(journal)
        ours.append(took([sys.executable, "-c", READS, mount.path("batch", names[i]), str(length),
                          *map(str, offsets)]).wall)
        fetched.append(content_bytes(journal) - before)
        wanted.append(reads * length)
        with open(config, "w", encoding="ascii") as f:
            f.write("next\n".join(f'url = "{url}"\nrange = {x}-{x + length - 1}\n'
                                  f'output = "{os.devnull}"\nsilent\nfail\n' for x in offsets))
        theirs.append(took(["curl", "-K", config]).wall)
    return [Row("random", f"{reads:,} random reads of 64 KiB of 1 GiB, cold",
                "one curl with as many ranges", ours, theirs),
            Row("random-bytes", "bytes fetched for it", "bytes read", fetched, wanted, unit="MiB",
                aim=2.0)]


def readers(lab):
    """Many large Files at once."""
    count, size = 8, lab.bytes(256 * MIB)
    sink = lab.sink("--sink-files", f"{count}:{size}")
    local = lab.directory("local")
    ours, theirs = [], []
    for _ in lab.turns():
        mount = lab.mount(sink)
        paths = [mount.path("batch", x) for x in os.listdir(mount.path("batch"))]
        ids = [os.getxattr(x, "user.upload.file_id").decode() for x in paths]
        ours.append(took(*[["cat", x] for x in paths]).wall)
        # The disk has to write neither's bytes while the other is measured.
        mount.umount()
        shutil.rmtree(mount.state)
        theirs.append(took(*[["curl", "-sS", "-f", "-o", os.path.join(local, x),
                              f"{sink.url}/files/{x}/content"] for x in ids]).wall)
        for name in ids:
            os.unlink(os.path.join(local, name))
    return [Row("readers", "8 readers of 8 cold Files of 256 MiB", "8 curl to files", ours, theirs)]


def memory(lab):
    """Peak resident memory with so many files in flight."""
    source = lab.source(64 * MIB)
    rows = []
    for count, aim in ((1, 32), (16, 48), (64, 64)):
        peaks = []
        for _ in range(max(lab.reps // 2, 1)):
            mount = lab.mount(lab.sink())
            took(*[["cp", source, mount.path("batch", f"f{i}")] for i in range(count)])
            peaks.append(mount.peak())
            mount.umount()
            mount.server.stop()
        rows.append(Row(f"memory-{count}",
                        f"peak resident memory, {count} file{'s' * (count > 1)} of 64 MiB in flight",
                        "–", peaks, unit="MiB", aim=aim))
    return rows


ROWS = {"read": read, "random": random_reads, "readers": readers, "memory": memory}
