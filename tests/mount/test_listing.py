"""The list of Files: complete at any size, and not fetched again and again."""
import os
import signal
import subprocess
import time

import pytest

from harness import DEADLINE, bash, make_file, wait_until, xattr
from accounts import Filler, post_file

BYTES_A_FILE = 400  # beyond its name


def filled(world, fill):
    """A server whose store fill(filler) has filled."""
    server = world.server()
    server.stop()
    filler = Filler(server, int(time.time()) - 86400)
    try:
        fill(filler)
    finally:
        filler.close()
    server.start()
    return server


def entries(path):
    """How many names `ls -f` shows, but for . and .."""
    return int(bash('ls -f "$1" | wc -l', path, timeout=110).stdout) - 2


@pytest.mark.plain
def test_100000_files(world, account):
    """60,000 in one directory, 20,000 in twenty others, 20,000 of 10,000 names; memory for each."""
    for i in range(60000):
        account.add(f"name-{i:08}.jsonl")
    for i in range(20000):
        account.add(f"d{i % 20:02}/part-{i:08}.jsonl")
    older = [account.add(f"twice-{i % 10000:08}.jsonl", b"", "vision") for i in range(20000)]
    names = 80000 * len("name-00000000.jsonl") + 20000 * len("twice-00000000.jsonl")
    names += sum(len("~" + x) for x in older[:10000])
    mount = world.mount(account, list_ttl="3600")
    before = mount.memory()
    assert entries(mount.path("batch")) == 60000 + 20
    assert entries(mount.path("vision")) == 20000
    assert [entries(mount.path("batch", f"d{i:02}")) for i in range(20)] == [1000] * 20
    assert bash('ls -f "$1" | grep -c "^twice-[0-9]*.jsonl~file-[0-9a-f]*$"',
                mount.path("vision")).stdout == "10000\n"
    assert bash('find "$1" -type f | wc -l', mount.mnt).stdout == "100000\n"
    # The whole list was fetched once: ten full pages.
    assert account.pages == [10000] * 10
    each = (mount.memory() - before - names) / 100000
    assert each <= BYTES_A_FILE, f"{each:.0f} bytes a File"
    assert xattr(mount.path("vision", "twice-00000007.jsonl"), "file_id") == older[10007]
    aside = mount.path("vision", "twice-00000007.jsonl~" + older[7])
    assert xattr(aside, "filename") == "twice-00000007.jsonl"


@pytest.mark.plain
def test_names_of_many_directories(world, account):
    """6 MB of names that would make two million directories: bounded, told, and all are shown."""
    count, depth = 30000, 62
    for i in range(count):
        account.add(f"{i:x}/" + "d/" * (depth - 1) + "f", b"content" if i == 7 else b"")
    mount = world.mount(account, list_ttl="3600")
    before = mount.memory()
    top = os.listdir(mount.path("batch"))
    assert len(top) == count
    # 270 bytes a directory, of which there are 4 a File and 20000, and a File with its name.
    assert mount.memory("VmHWM") - before < (4 * count + 20000) * 270 + count * 900 + (8 << 20)
    flat = [x for x in top if "~" in x]
    assert len(flat) > count // 2
    assert f"{len(flat)} Files are shown in the directory of their purpose" in mount.log()
    deep = mount.path("batch", f"{count - 1:x}", *["d"] * (depth - 1), "f")
    assert os.stat(deep).st_size == 0
    shown = [x for x in flat if x.startswith("7%2F")]
    with open(mount.path("batch", shown[0]), encoding="ascii") as f:
        assert f.read() == "content"
    assert xattr(mount.path("batch", shown[0]), "filename").startswith("7/d/d/")


@pytest.mark.plain
def test_new_files_among_20000(world):
    """cp of 200 files looks for 200 names that are not there; it does not list 20,000 each time."""
    server = filled(world, lambda filler: [filler.add(f"old-{i}.jsonl") for i in range(20000)])
    mount = world.mount(server, list_ttl="3600")
    os.mkdir(world.path("tree"))
    for i in range(200):
        make_file(world.path("tree", f"new-{i}.jsonl"), 1000 + i)
    assert entries(mount.path("batch")) == 20000
    start = time.monotonic()
    bash('cp "$1"/* "$2"', world.path("tree"), mount.path("batch"), timeout=DEADLINE * 3)
    fetches = time.monotonic() - start + 2  # one a second at most
    pages = [x["items"] for x in server.journal(op="list")]
    assert pages[:2] == [10000, 10000]
    # None where all of it took less than a second.
    assert max(pages[2:], default=0) <= 220 and len(pages[2:]) <= 2 * fetches, pages
    assert entries(mount.path("batch")) == 20200
    assert len(server.files()) == 20200

    # Another host's File is found by its name, by the newest page alone.
    before = len(server.journal(op="list"))
    post_file(server, "theirs.jsonl", b"theirs")
    wait_until(lambda: os.path.exists(mount.path("batch", "theirs.jsonl")), "their File shows")
    assert bash('cat "$1"', mount.path("batch", "theirs.jsonl")).stdout == "theirs"
    assert max(x["items"] for x in server.journal(op="list")[before:]) <= 220
    assert entries(mount.path("batch")) == 20201


def first_listing(world, account, held):
    """A mount, and an ls of it that waits for page number held; 25 Files on pages of 10."""
    for i in range(25):
        account.add(f"name-{i:02}.jsonl")
    account.page_max = 10
    account.hold_from = held
    mount = world.mount(account, list_ttl="1")
    before = os.statvfs(mount.mnt).f_files
    ls = subprocess.Popen(["ls", "-f", mount.path("batch")], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: account.asked == held, f"page {held} is asked for")
        wait_until(lambda: os.statvfs(mount.mnt).f_files == before + 10 * (held - 1),
                   "the pages before it are taken in")
        assert ls.poll() is None
    except BaseException:
        ls.kill()
        ls.communicate()
        raise
    return mount, ls


def test_first_listing_page_by_page(world, account):
    """What has come is there while the rest is on its way; who asked for all gets all."""
    mount, ls = first_listing(world, account, 3)
    newest = os.path.exists(mount.path("batch", "name-24.jsonl"))
    account.go.set()
    out = ls.communicate(timeout=DEADLINE)[0]
    assert newest and ls.returncode == 0
    assert sorted(out.split()) == [".", ".."] + [f"name-{i:02}.jsonl" for i in range(25)]
    assert account.pages == [10, 10, 5]
    # The next listing is compared with this one: what is gone leaves its name to what came.
    account.remove(account.files[0]["id"])
    account.add("name-00.jsonl", b"new")
    wait_until(lambda: bash('cat "$1"', mount.path("batch", "name-00.jsonl")).stdout == "new",
               "the new File has the name")
    assert len(os.listdir(mount.path("batch"))) == 25


def test_end_while_it_is_listed(world, account):
    """The daemon ends in the middle of a first listing; who waits for it hears of it."""
    mount, ls = first_listing(world, account, 2)
    mount.proc.send_signal(signal.SIGTERM)
    err = ls.communicate(timeout=DEADLINE)[1]
    assert ls.returncode != 0 and err.startswith("ls: ")
    assert mount.wait() == 0
