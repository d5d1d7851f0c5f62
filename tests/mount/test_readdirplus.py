"""A directory with attributes: one request a page of entries, not one LOOKUP a File."""
import os
import re
import time

import pytest

from harness import DEADLINE, Mount, bash, wait_until
from accounts import Filler

FILES = 2000


class TracedMount(Mount):
    """A mount with the trace of libfuse in its log."""

    def argv(self):
        return [*super().argv(), "-d"]


def requests(mount, opcode):
    """How many requests of that kind the trace of libfuse shows."""
    return len(re.findall(rf"opcode: {opcode} \(", mount.log()))


@pytest.mark.no_tsan  # counts requests
def test_ls_l_looks_up_no_file(world):
    """ls -l of 2,000 Files takes few LOOKUPs, shows right attributes, and leaks no inode."""
    server = world.server()
    server.stop()
    newest = int(time.time()) - 86400
    filler = Filler(server, newest)
    try:
        for i in range(FILES):
            filler.add(f"file-{i:04}.jsonl")
    finally:
        filler.close()
    server.start()
    mount = world._add(TracedMount, server, list_ttl="3600")
    batch = mount.path("batch")
    os.stat(batch)

    before = requests(mount, "LOOKUP")
    lines = bash('TZ=UTC ls -ln --time-style=+%s "$1"', batch, timeout=DEADLINE).stdout.splitlines()
    looked_up = requests(mount, "LOOKUP") - before
    assert requests(mount, "READDIRPLUS") > 0
    assert looked_up <= FILES // 10, looked_up
    shown = {x.split()[6]: x.split() for x in lines[1:]}
    assert len(shown) == FILES
    for i in (0, 1, FILES // 2, FILES - 1):
        mode, links, uid, gid, size, mtime, _ = shown[f"file-{i:04}.jsonl"]
        assert (mode[0], links, size, mtime) == ("-", "1", "0", str(newest - i))
        assert (int(uid), int(gid)) == (os.getuid(), os.getgid())
    empty = os.statvfs(mount.mnt).f_files - FILES

    # unlink makes the kernel forget; an inode with a lookup too many would stay.
    for name in shown:
        os.unlink(os.path.join(batch, name))
    assert os.listdir(batch) == []
    wait_until(lambda: os.statvfs(mount.mnt).f_files == empty, "the inodes to be freed")
    mount.umount()
    os.truncate(mount.log_path, 0)  # the trace is long, and the end of each test reads all logs


def test_file_being_written_is_not_cached(world, server):
    """A size that readdirplus told while the file was written is not believed afterwards."""
    mount = world.mount(server)
    with open(mount.path("batch", "growing.jsonl"), "wb", buffering=0) as f:
        for size in range(100, 600, 100):
            f.write(b"x" * 100)
            with os.scandir(mount.path("batch")) as entries:
                assert [x.name for x in entries] == ["growing.jsonl"]
            assert os.stat(mount.path("batch", "growing.jsonl")).st_size == size
