"""Names as a service may send them: all shown, none leads anywhere, each is its own File."""
import json
import os
import random

import pytest

from harness import run, wait_until, xattr

# As str, or as the JSON that stands in the list.
NAMES = [
    "../../etc/passwd", "/etc/passwd", "a/../../b", "a/./b", "a//b", "//", "/", ".", "..", "...", "",
    "trailing/", "trailing%2F", " ", "\t", "new\nline", "\x01", "%01", "\x7f", "\x1b[2J", "\u0085",
    "\u202egpj.exe", "-rf", "~", "%", "%%", "*", "`$(reboot)`", "c:\\x\\y", "ünï/cödé.jsonl",
    "both", "both/inner", "deep/both/x/y", "deep/both", "deep/both/x",
    ".by-id", ".by-id/file-0", ".uploadfs", ".uploadfs/status", "sub/.by-id", "%2Eby-id",
    "x" * 255, "x" * 256, "x" * 10000, "é" * 128, "é" * 127 + "z.jsonl", "y" * 254 + "/z" * 300,
    "d/" * 5000 + "end", "n" * 250 + "." + "e" * 9000, "/" * 10000, "\x02" * 200,
    b'"nul\\u0000name"', b'"\\u0000"', b'"bad\xff\xfe"', b'"cut\xe2\x82"', b'"long\xc0\xae"',
    b'"\\udcff"', b'"\\ud83d half"', b'"half \\ude00"', b'"\\ud83d\\ude00 whole"',
    "same", "same", "same", "case", "CASE",
]
REFUSED_IDS = ["", ".", "..", "y" * 1025]
ODD_IDS = ["../../x", "a/b", "x" * 1024, "x" * 1023, "file-\n", ".hidden", " ", "a%2Fb", "\u00fc?#&"]


def fill(account):
    """ID -> (the name or None where JSON can't say it, content)."""
    want = {}
    for n, name in enumerate(NAMES):
        raw = name if isinstance(name, bytes) else None
        content = b"content of number %d\n" % n
        file_id = account.add(None if raw else name, content, raw=raw)
        want[file_id] = (None if raw else name, content)
    # What the older ones of "same" are shown as, and what is left then.
    same = [x for x in want if want[x][0] == "same"]
    for name in (f"same~{same[0]}", f"same~{same[0]}.1", f"same~{same[1]}"):
        content = name.encode()
        want[account.add(name, content)] = (name, content)
    for n, file_id in enumerate(ODD_IDS):
        # Two of a name: the ID shows in one.
        name, content = f"odd {n // 2}", f"odd {n}".encode()
        want[account.add(name, content, file_id=file_id)] = (name, content)
    for n, file_id in enumerate(REFUSED_IDS):
        account.add(f"refused {n}", b"", file_id=file_id)
    return want


def shown(top):
    """The paths of all files below top, as bytes."""
    found = []
    for path, _, names in os.walk(os.fsencode(top)):
        found += [os.path.join(path, x) for x in names]
    return found


@pytest.mark.parametrize("purpose", [None, "batch"])
def test_hostile_names(world, account, purpose):
    """All shown and distinct; the right bytes; rm removes that File and nothing else."""
    want = fill(account)
    mount = world.mount(account, purpose=purpose)
    top = mount.mnt if purpose else mount.path("batch")
    around = sorted(os.listdir(world.dir))
    ids = {}
    for path in shown(top):
        inside = path[len(os.fsencode(top)) + 1:]
        assert not any(c < 32 or c == 127 for c in inside) and inside.decode()
        assert max(len(x) for x in inside.split(b"/")) <= 255
        file_id = xattr(path, "file_id")
        assert file_id not in ids
        ids[file_id] = path
        name, content = want[file_id]
        with open(path, "rb") as f:
            assert f.read() == content
        if name:
            assert xattr(path, "filename") == name
    assert set(ids) == set(want)
    check_known_places(top, {want[x][0]: x for x in want})
    order = list(ids)
    random.Random(3).shuffle(order)
    for n, file_id in enumerate(order):
        os.unlink(ids[file_id])
        assert account.deleted == order[:n + 1]
    assert shown(top) == []
    assert sorted(os.listdir(world.dir)) == around


def check_known_places(top, by_name):
    """Some of which it is written down what they are shown as."""
    def is_at(name, *path):
        assert xattr(os.path.join(top, *path), "file_id") == by_name[name], path

    is_at("../../etc/passwd", "%2E%2E", "%2E%2E", "etc", "passwd")
    is_at("/etc/passwd", "%2Fetc", "passwd")
    is_at("a//b", "a", "%2Fb")
    is_at(".", "%2E")
    is_at("..", "%2E%2E~" + by_name[".."])
    is_at("both", "both~" + by_name["both"])
    is_at("both/inner", "both", "inner")
    is_at("sub/.by-id", "sub", ".by-id")
    is_at("x" * 255, "x" * 255)


@pytest.mark.parametrize("raw, shown_as", [
    (b'"nul\\u0000name"', "nul%00name"), (b'"\\u0000"', "%00"), (b'"a/\\u0000\\u0000/b"', "a/%00%00/b"),
    (b'"\\udcff"', "%ED%B3%BF"), (b'"\\ud83d half"', "%ED%A0%BD half"),
    (b'"half \\uDE00"', "half %ED%B8%80"), (b'"\\ude00\\ud83d"', "%ED%B8%80%ED%A0%BD"),
    (b'"\\ud83d\\ude00 whole"', "\U0001f600 whole"), (b'"bad\xff\xfe"', "bad%FF%FE"),
    ('"\u2400\ufffd"'.encode(), "\u2400\ufffd"),
])
def test_no_characters(world, account, raw, shown_as):
    """What is no character is shown as %XX, and the File is opened, written and removed by it."""
    file_id = account.add(None, b"content", raw=raw)
    mount = world.mount(account, list_ttl="0")
    path = mount.path("batch", *shown_as.split("/"))
    assert [os.fsdecode(x) for x in shown(mount.path("batch"))] == [path]
    assert xattr(path, "file_id") == file_id
    with open(path, "rb") as f:
        assert f.read() == b"content"
    os.unlink(path)
    assert account.deleted == [file_id] and shown(mount.path("batch")) == []


def test_the_newest_that_is_left_has_the_name(world, account):
    """NAME is the newest File of that name, and when it goes the next newest is, wherever it went."""
    ids = [account.add("f", b"number %d" % n) for n in range(4)]
    mount = world.mount(account, list_ttl="0")
    top = mount.path("batch")

    def facts():
        return {x: xattr(os.path.join(top, x), "file_id") for x in sorted(os.listdir(top))}

    def one_rule(left):
        assert facts() == {"f": left[-1], **{"f~" + x: x for x in left[:-1]}}
        with open(os.path.join(top, "f"), "rb") as f:
            assert f.read() == b"number %d" % ids.index(left[-1])

    one_rule(ids)
    # An older one goes: nothing else changes.
    os.unlink(os.path.join(top, "f~" + ids[1]))
    one_rule([ids[0], ids[2], ids[3]])
    os.unlink(os.path.join(top, "f"))
    one_rule([ids[0], ids[2]])
    with open(os.path.join(top, "f~" + ids[0]), "rb") as held:
        account.remove(ids[2])
        one_rule([ids[0]])
        assert held.read() == b"number 0"
    newer = account.add("f", b"newer")
    assert facts() == {"f": newer, "f~" + ids[0]: ids[0]}


def test_by_id_tells_the_name(world, account):
    """.by-id shows name, purpose and type of a File, before and after a listing did."""
    first = account.add("dir/data.jsonl", b"{}")
    second = account.add("dir/data.jsonl", b"{ }")
    image = account.add("über.png", b"png", "vision")
    mount = world.mount(account)

    def facts(path):
        return [xattr(path, x) for x in ("filename", "purpose", "mime_type", "file_id")]

    # Nothing can be made of a File that only .by-id shows.
    with pytest.raises(PermissionError):
        os.open(mount.path(".by-id", first), os.O_WRONLY)
    for _ in range(2):
        assert facts(mount.path(".by-id", first)) == ["dir/data.jsonl", "batch", "text/jsonl", first]
        assert facts(mount.path(".by-id", image)) == ["über.png", "vision", "image/png", image]
        run(["find", mount.mnt])
    aside = mount.path("batch", "dir", "data.jsonl~" + first)
    assert facts(aside) == ["dir/data.jsonl", "batch", "text/jsonl", first]
    assert facts(mount.path("batch", "dir", "data.jsonl"))[::3] == ["dir/data.jsonl", second]
    # It has the name again when the newer one is gone.
    os.unlink(mount.path("batch", "dir", "data.jsonl"))
    mount.umount()
    mount.remount()
    assert facts(mount.path("batch", "dir", "data.jsonl"))[::3] == ["dir/data.jsonl", first]


def test_newest_has_the_name(world, account):
    """Also of Files of one second, whether they were listed together or one by one."""
    mount = world.mount(account, list_ttl="0")
    ids = []
    for n in range(3):
        ids.append(account.add("name", b"%d" % n, created_at=1700000000))
        shown_now = sorted(["name"] + ["name~" + x for x in ids[:-1]])
        wait_until(lambda: sorted(os.listdir(mount.path("batch"))) == shown_now, "all are shown")
        wait_until(lambda: xattr(mount.path("batch", "name"), "file_id") == ids[-1],
                   "the newest has the name")
    mount.umount()
    mount.remount()
    assert sorted(os.listdir(mount.path("batch"))) == shown_now
    assert xattr(mount.path("batch", "name"), "file_id") == ids[-1]
