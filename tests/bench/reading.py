"""Rows about reading, and about memory."""
import os

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


ROWS = {"read": read, "memory": memory}
