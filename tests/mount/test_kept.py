"""Files that are kept and only wait: what they cost, and what they do to others."""
import errno
import os
import sqlite3
import subprocess

import pytest

import crash
from harness import Mount, assert_published, bash, records, run, wait_until
from test_false_alarms import totals

COUNT = 260
LIMIT = 200

# Opens a file for each name that sys.argv[2:] and a number make, writes a little, and waits to be killed.
WRITER = """
import os, sys
files = []
for k in range(int(sys.argv[2])):
    files.append(os.open(f"{sys.argv[1]}/half{k}", os.O_WRONLY | os.O_CREAT, 0o644))
    os.write(files[-1], b"half a file")
print("ready", flush=True)
sys.stdin.readline()
"""


def killed_writer(directory, count):
    """count files that a killed writer leaves."""
    proc = subprocess.Popen(["/usr/bin/python3", "-B", "-c", WRITER, directory, str(count)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert proc.stdout.readline() == b"ready\n"
    finally:
        proc.kill()
        proc.communicate()


def descriptors(mount):
    """The daemon's open descriptors."""
    return len(os.listdir(f"/proc/{mount.pid}/fd"))


def wait_totals(mount, **expected):
    def all_there():
        now = totals(mount)
        return all(now[k] == v for k, v in expected.items())

    wait_until(all_there, f"the status counts {expected}")


@pytest.fixture
def kept(mount):
    """A mount with empty files and files of a killed writer."""
    bash('cd "$1" && mkdir empty && cd empty && touch $(seq $2)', mount.path("batch"), COUNT)
    os.mkdir(mount.path("batch", "half"))
    killed_writer(mount.path("batch", "half"), COUNT)
    wait_totals(mount, empty=COUNT, aborted=COUNT)
    return mount


def test_rows_stay_as_they_are(kept):
    """A mount takes up what is empty or aborted without a write, and shows it as that at once."""
    kept.umount()
    db = sqlite3.connect(os.path.join(kept.state, "state.db"))
    db.execute("UPDATE file SET created = 1")
    db.commit()
    db.close()
    kept.remount()
    first = totals(kept)
    assert (first["empty"], first["aborted"], first["publishing"]) == (COUNT, COUNT, 0)
    # What is made now is answered after all that the start had queued.
    with open(kept.path("batch", "new"), "w", encoding="ascii") as f:
        f.write("new")
    kept.umount()
    # A close does not wait for its RELEASE: the row of what is a File by now may still be there.
    rows = [x for x in records(kept.state) if x["path"] != "new"]
    assert len(rows) == 2 * COUNT and {x["created"] for x in rows} == {1}


@pytest.mark.no_tsan  # many files, one path
def test_no_descriptors(kept, source):
    """At rest they hold none, neither after they were made nor after a remount; then they work."""
    few = descriptors(kept)
    assert few < 60
    kept.umount()
    kept.remount()
    assert descriptors(kept) < 60
    directory = kept.path("batch", "half")
    run(["bash", "-c", 'cd "$1" && for f in *; do [ "$(cat $f)" = "half a file" ] || exit 1; done',
         "bash", directory])
    run(["bash", "-c", 'cd "$1" && for f in *; do echo more >>$f || exit 1; done', "bash",
         kept.path("batch", "empty")])
    run(["cp", source, kept.path("batch", "copy")])


def limit(mount, number):
    """The next daemon may have that many descriptors."""
    mount.argv = lambda: ["prlimit", f"--nofile={number}:{number}", *Mount.argv(mount)]


def test_a_mount_under_a_limit(server, kept, source):
    """It comes up with more kept files than descriptors, and works."""
    kept.umount()
    limit(kept, LIMIT)
    kept.remount()
    assert len(os.listdir(kept.path("batch", "empty"))) == COUNT
    dest = kept.path("batch", "copy")
    run(["cp", source, dest])
    assert_published(server, dest, source)
    assert "no more files" not in kept.log()


def test_the_limit_is_told_once(kept, server):
    """EMFILE to who meets it, one line with the number and the remedy; then others work again."""
    kept.umount()
    limit(kept, LIMIT)
    kept.may_fail = True
    kept.remount()
    files = []
    try:
        with pytest.raises(OSError) as caught:
            while True:
                files.append(os.open(kept.path("batch", f"open{len(files)}"),
                                     os.O_WRONLY | os.O_CREAT))
        assert caught.value.errno == errno.EMFILE and len(files) > LIMIT // 4
        for k in range(20):
            with pytest.raises(OSError):
                os.open(kept.path("batch", f"more{k}"), os.O_WRONLY | os.O_CREAT)
    finally:
        for fd in files:
            os.close(fd)
    lines = [x for x in kept.log().splitlines() if "no more files" in x]
    assert len(lines) == 1 and f" {LIMIT};" in lines[0] and "ulimit -n" in lines[0]
    with open(kept.path("batch", "after"), "w", encoding="ascii") as f:
        f.write("after")
    assert server.files(filename="after")


@pytest.mark.plain  # the preloaded library and a sanitizer's do not mix
def test_a_killed_writer_delays_nobody(world, server):
    """Its files are given up without a sync for each: others would wait for all of them."""
    mount = world._add(crash.CrashMount, server, (), at=0)
    before = len(mount.notes("sync"))
    killed_writer(mount.path("batch"), COUNT)
    wait_totals(mount, aborted=COUNT)
    assert len(mount.notes("sync")) - before < COUNT // 4
