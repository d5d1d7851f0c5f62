"""Lists that change while they are fetched, and names that two want."""
import errno
import os
import stat
import threading

import pytest

from accounts import post_file
from harness import DEADLINE, bash, make_file, md5, run, wait_until, xattr


def entries(path):
    """How many names `ls -f` shows, but for . and .."""
    return int(bash('ls -f "$1" | wc -l', path, timeout=110).stdout) - 2


@pytest.mark.plain
@pytest.mark.parametrize("lost", [1, 3])
def test_200000_files_and_the_place_to_go_on_is_gone(world, account, lost):
    """
    Another host deletes the last Files of each page that was handed out: the list is whole
    all the same, and each page is asked for a few times at most.
    """
    for i in range(200000):
        account.add(f"name-{i:08}")
    account.lose = lost
    mount = world.mount(account, list_ttl="0")
    for _ in range(2):
        account.asked = 0
        assert entries(mount.path("batch")) >= len(account.files)
        assert account.asked <= 21 * 3
    account.lose = 0
    # A list that takes longer than ten seconds is shown by a later ls.
    wait_until(lambda: entries(mount.path("batch")) == len(account.files), "ls shows what is left",
               timeout=50)
    assert 200000 - len(account.files) >= 19 * lost


@pytest.mark.parametrize("by", ["close", "rename"])
def test_refreshed_while_names_change(world, server, by):
    """
    The list is fetched again and again while files are published over others: each ls shows
    each name once. What takes its place by a rename is read whole.
    """
    mount = world.mount(server, list_ttl="0")
    top = mount.path("batch")
    names = [f"f{i}" for i in range(3)]
    for name in names:
        run(["cp", make_file(world.path("0"), 20000), os.path.join(top, name)])
    sources = [make_file(world.path(str(i)), 20000 + i) for i in range(5)]
    known = {md5(x) for x in sources}
    over, looks, wrong = threading.Event(), [0], []

    def look():
        while not over.is_set():
            shown = sorted(os.listdir(top))
            looks[0] += 1
            if [x for x in shown if x[0] == "f"] != names:
                wrong.append(shown)
            try:
                sums = [md5(os.path.join(top, x)) for x in names]
                # cp writes into the file: it is read as it stands at that moment.
                wrong.extend(x for x in sums if by == "rename" and x not in known)
            except OSError as exc:
                wrong.append(repr(exc))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for x in threads:
        x.start()
    try:
        for n in range(12):
            dest = os.path.join(top, names[n % 3])
            source = sources[n % 5]
            if by == "close":
                run(["cp", source, dest])
            else:
                run(["cp", source, os.path.join(top, "temporary")])
                os.rename(os.path.join(top, "temporary"), dest)
            assert md5(dest) == md5(source)
    finally:
        over.set()
        for x in threads:
            x.join(DEADLINE)
    assert wrong == [] and looks[0] > 2
    assert sorted(x["filename"] for x in server.files()) == names


def test_attributes_after_an_overwrite_elsewhere(world, server):
    """They belong to the File: the one that another host put in its place has its own."""
    here, there = world.mount(server, list_ttl="0"), world.mount(server, list_ttl="0")
    path = here.path("batch", "f")
    first, second = make_file(world.path("1"), 1000), make_file(world.path("2"), 2000)
    run(["cp", first, path])
    # A listing has named it; else it would be shown for a minute, whatever is listed.
    assert os.listdir(here.path("batch")) == ["f"]
    os.chmod(path, 0o600)
    os.utime(path, (1000000000, 1000000000))
    old = xattr(path, "file_id")
    other = there.path("batch", "f")
    assert os.stat(other).st_mtime != 1000000000 and stat.S_IMODE(os.stat(other).st_mode) != 0o600
    run(["cp", second, other])
    new = xattr(other, "file_id")
    assert [x["id"] for x in server.files()] == [new] and new != old
    for again in (False, True):
        if again:
            here.umount()
            here.remount()
        assert os.listdir(here.path("batch")) == ["f"]
        st = os.stat(path)
        assert (st.st_size, stat.S_IMODE(st.st_mode)) == (2000, 0o644)
        assert st.st_mtime == server.files()[0]["created_at"]
        assert [xattr(path, x) for x in ("file_id", "bytes", "md5", "parts")] == [new, "2000", None,
                                                                                 None]
        assert md5(path) == md5(second)
    # And what is set now is kept for the new one.
    os.chmod(path, 0o640)
    here.umount()
    here.remount()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


@pytest.mark.parametrize("order", ["file first", "directory first"])
def test_a_file_and_a_directory_of_one_name(world, account, order):
    """Both are shown, and read, written and removed each by itself."""
    both = [("x", b"the file"), ("x/y", b"below"), ("x/z/w", b"deeper")]
    ids = {}
    for name, content in both if order == "file first" else reversed(both):
        ids[name] = account.add(name, content)
    mount = world.mount(account, list_ttl="0")
    top = mount.path("batch")
    aside = os.path.join(top, "x~" + ids["x"])
    places = {"x": aside, "x/y": os.path.join(top, "x", "y"), "x/z/w": os.path.join(top, "x", "z", "w")}

    def check(names):
        found = bash('find "$1" -type f', top).stdout.splitlines()
        assert sorted(found) == sorted(places[x] for x in names)
        for name in names:
            assert xattr(places[name], "file_id") == ids[name]
            with open(places[name], "rb") as f:
                assert f.read() == dict(both)[name]

    check(ids)
    with pytest.raises(FileExistsError):
        os.mkdir(os.path.join(top, "x"))
    with pytest.raises(IsADirectoryError):
        open(os.path.join(top, "x"), "wb")
    with pytest.raises(OSError) as failed:
        os.rmdir(os.path.join(top, "x"))
    assert failed.value.errno == errno.ENOTEMPTY
    mount.umount()
    mount.remount()
    check(ids)
    if order == "file first":
        os.unlink(places["x/z/w"])
        check(["x", "x/y"])
        run(["rm", "-r", os.path.join(top, "x")])
        assert account.deleted == [ids["x/z/w"], ids["x/y"]]
    else:
        account.remove(ids["x/z/w"])
        account.remove(ids["x/y"])
    # The directory is gone, so the File has the name.
    places["x"] = os.path.join(top, "x")
    wait_until(lambda: os.listdir(top) == ["x"], "the File has the name")
    check(["x"])
    os.unlink(places["x"])
    assert os.listdir(top) == []


def test_a_directory_comes_where_a_file_is_written(world, server):
    """Another host's x/y while x is written here: neither is lost, and both are read."""
    mount = world.mount(server, list_ttl="0")
    top = mount.path("batch")
    with open(os.path.join(top, "x"), "wb") as f:
        f.write(b"ours")
        f.flush()
        theirs = post_file(server, "x/y", b"theirs")

        def places():
            return {xattr(x, "file_id"): x
                    for x in bash('find "$1" -type f', top).stdout.splitlines()}

        wait_until(lambda: theirs in places(), "theirs shows")
        with open(places()[theirs], "rb") as g:
            assert g.read() == b"theirs"
    ours = wait_until(lambda: {x["filename"]: x["id"] for x in server.files()}.get("x"), "ours")
    assert set(places()) == {ours, theirs}
    for file_id, content in ((ours, b"ours"), (theirs, b"theirs")):
        with open(places()[file_id], "rb") as g:
            assert g.read() == content
    mount.umount()
    mount.remount()
    assert set(places()) == {ours, theirs}
    os.unlink(places()[ours])
    assert [x["id"] for x in server.files()] == [theirs]
    assert list(places()) == [theirs]
