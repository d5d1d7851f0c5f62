"""Many closes at once, and memory that does not grow with the file."""
import os
import subprocess

import pytest

from harness import (GIB, MIB, SLOW, assert_nothing_pending, make_file, md5, run, wait_until, xattr)

CLOSERS = 32


@pytest.mark.no_tsan  # its requests are those of test_races
def test_ls_while_32_files_close(world, server, mount):
    """ls and stat answer while not one of the 32 closes has."""
    source = make_file(world.path("source"), MIB + 1)
    server.faults([{"op": "complete", "nth": 1, "times": 0, "action": "delay",
                    "ms": 5000 + 5000 * SLOW}])
    names = [f"f{i:02}.jsonl" for i in range(CLOSERS)]
    copies = [subprocess.Popen(["cp", source, mount.path("batch", x)]) for x in names]
    try:
        def all_closing():
            # Both parts of each are there: all that is left is to wait for the replies.
            return len(server.journal(op="part", status=200)) == 2 * CLOSERS and all(
                xattr(mount.path("batch", x), "status") == "publishing" for x in names)

        wait_until(all_closing, "all files are closing")
        assert run(["ls", mount.path("batch")]).stdout.split() == names
        assert set(run(["ls", mount.mnt]).stdout.split()) >= {"batch", "fine-tune"}
        stat = run(["stat", "-c", "%n %s", *[mount.path("batch", x) for x in names]]).stdout
        assert stat.splitlines() == [f"{mount.path('batch', x)} {MIB + 1}" for x in names]
        assert len(run(["ls", "-l", mount.path("batch")]).stdout.splitlines()) == CLOSERS + 1
        # No clock is needed to say that this was at once: nobody's close was answered before it.
        assert [x.poll() for x in copies] == [None] * CLOSERS
        assert server.journal(op="complete") == []
        assert [x.wait(timeout=60 * SLOW) for x in copies] == [0] * CLOSERS
    finally:
        for copy in copies:
            copy.kill() if copy.poll() is None else None
            copy.wait()
    assert sorted(x["filename"] for x in server.files()) == names
    want = md5(source)
    assert {xattr(mount.path("batch", x), "md5") for x in names} == {want}
    assert_nothing_pending(server)


@pytest.mark.plain
@pytest.mark.parametrize("tool", ["cp", "cat"])
def test_memory_with_1_gib(world, tool):
    """By a size that is observed (cp streams), and one that is not known (a pipe)."""
    server = world.server()
    mount = world.mount(server, part_size=None)
    source = world.path("big")
    with open(source, "wb") as f:
        f.truncate(GIB)
        for i in range(0, GIB, 16 * MIB):
            f.seek(i)
            f.write(b"%d" % i)
    dest = mount.path("batch", "big")
    if tool == "cp":
        run(["cp", "--sparse=never", source, dest], timeout=110)
    else:
        run(["bash", "-c", 'cat "$1" | cat > "$2"', "bash", source, dest], timeout=110)
    assert mount.memory("VmHWM") < 64 * MIB
    assert (xattr(dest, "parts"), xattr(dest, "md5")) == ("19/19", md5(source))
    assert [x["bytes"] for x in server.files()] == [GIB]
    assert_nothing_pending(server)


@pytest.mark.plain  # TSan's runtime has a thread of its own
def test_threads_give_way_to_md5(mount):
    """MD5 is what a close waits for: the others leave it the processor."""
    os.stat(mount.mnt)
    nice = []
    for tid in os.listdir(f"/proc/{mount.pid}/task"):
        with open(f"/proc/{mount.pid}/task/{tid}/stat", encoding="ascii") as f:
            nice.append(int(f.read().rpartition(")")[2].split()[16]))
    base = os.getpriority(os.PRIO_PROCESS, 0)
    cores, lower = min(os.sysconf("SC_NPROCESSORS_ONLN"), 8), min(base + 5, 19)
    # Of the others at least these: the network's, two for the disk, publisher, signals, FUSE.
    assert len(nice) >= cores + 6
    assert sorted(nice) == [base] * cores + [lower] * (len(nice) - cores)
