"""Two mounts of one account, as on two hosts: each with a state directory of its own."""
import errno
import os
import subprocess

import pytest

from accounts import post_file
from harness import MIB, SLOW, make_file, md5, run, wait_until, xattr


@pytest.fixture
def here(world, server):
    return world.mount(server, list_ttl="1")


@pytest.fixture
def there(world, server):
    return world.mount(server, list_ttl="1")


def copy(world, mount, name, size):
    """Publishes a file of that size; its source."""
    source = make_file(world.path(f"source-{size}"), size)
    run(["cp", source, mount.path("batch", name)])
    return source


def test_see_each_other(world, server, here, there):
    """What one makes the other lists and reads; what one removes is gone there."""
    assert os.listdir(there.path("batch")) == os.listdir(here.path("batch")) == []
    first = copy(world, here, "first", 100000)
    second = copy(world, there, "second", 200000)
    for mount in (here, there):
        wait_until(lambda: sorted(os.listdir(mount.path("batch"))) == ["first", "second"],
                   "each lists both")
        assert md5(mount.path("batch", "first")) == md5(first)
        assert md5(mount.path("batch", "second")) == md5(second)
        assert xattr(mount.path("batch", "first"), "file_id") in [x["id"] for x in server.files()]
    os.unlink(there.path("batch", "first"))
    assert [x["filename"] for x in server.files()] == ["second"]
    # Nobody lists the directory there: that its name is looked up is enough.
    wait_until(lambda: not os.path.exists(here.path("batch", "first")), "it is gone here, too")
    os.unlink(here.path("batch", "second"))
    wait_until(lambda: os.listdir(there.path("batch")) == [], "and the other one there")
    # A name is found that no listing has shown.
    third = copy(world, here, "third", 300000)
    wait_until(lambda: os.path.exists(there.path("batch", "third")), "the new name is found")
    assert md5(there.path("batch", "third")) == md5(third)


def test_removed_while_it_is_read(world, server, here, there):
    """The reader gets the right bytes or an error, also when it opens it once more."""
    # Slow enough that the reader is in the middle of it.
    server.faults([{"op": "content", "times": 0, "action": "stall", "when": "during",
                    "after_bytes": 3 * MIB, "ms": 300}])
    source = copy(world, here, "f", 8 * MIB)
    with open(source, "rb") as f:
        want = f.read()
    path = there.path("batch", "f")
    wait_until(lambda: os.path.exists(path), "the File shows there")
    with open(path, "rb") as f:
        got = f.read(MIB)
        os.unlink(here.path("batch", "f"))
        assert server.files() == []
        try:
            while block := f.read(MIB):
                got += block
            assert len(got) == len(want)
        except OSError as exc:
            assert exc.errno in (errno.ENOENT, errno.EIO)
        assert got == want[:len(got)]
    try:
        with open(path, "rb") as f:
            assert f.read() == want
    except OSError as exc:
        assert exc.errno == errno.ENOENT
    wait_until(lambda: not os.path.exists(path), "it is gone there, too")


def test_opened_by_a_name_that_went_to_another(world, server, here):
    """What is opened by its name is published under it, though a newer File took it meanwhile."""
    copy(world, here, "f", 1000)
    path = here.path("batch", "f")
    old = xattr(path, "file_id")
    with open(path, "rb") as held:
        newer = post_file(server, "f", b"newer")
        wait_until(lambda: sorted(os.listdir(here.path("batch"))) == ["f", "f~" + old],
                   "the newer File has the name")
        # The same inode, by the name under which it was opened: as the kernel does
        # which looked the name up a moment ago.
        with open(f"/proc/self/fd/{held.fileno()}", "wb") as again:
            again.write(b"ours")
    wait_until(lambda: xattr(path, "status") == "completed", "it is published")
    ours = xattr(path, "file_id")
    assert {x["id"]: x["filename"] for x in server.files()} == {ours: "f", newer: "f"}
    assert sorted(os.listdir(here.path("batch"))) == ["f", "f~" + newer]
    for name, content in (("f", b"ours"), ("f~" + newer, b"newer")):
        with open(here.path("batch", name), "rb") as f:
            assert f.read() == content
    # By the other name it is that entry that is written.
    with open(here.path("batch", "f~" + newer), "ab") as f:
        f.write(b", changed")
    assert sorted(x["filename"] for x in server.files()) == ["f", "f~" + newer]


def test_both_overwrite(world, server, here, there):
    """Each close is followed by a File with its bytes; both agree on the names in the end."""
    copy(world, here, "f", 1000)
    wait_until(lambda: os.path.exists(there.path("batch", "f")), "the File shows there")
    sources = [make_file(world.path(f"v{i}"), 50000 + i) for i in range(6)]
    for pair in range(0, 6, 2):
        copies = [subprocess.Popen(["cp", sources[pair + i], mount.path("batch", "f")])
                  for i, mount in enumerate((here, there))]
        try:
            assert [x.wait(timeout=60 * SLOW) for x in copies] == [0, 0]
        finally:
            for process in copies:
                process.kill() if process.poll() is None else None
                process.wait()
    last = {md5(x) for x in sources[4:]}
    sums = {x["id"]: server.content_md5(x["id"])[1] for x in server.files()}
    # Each host deletes what it knew and replaced; so the one that opened it last is there.
    assert last & set(sums.values()) and set(sums.values()) <= {md5(x) for x in sources}

    def agree():
        both = []
        for mount in (here, there):
            top = mount.path("batch")
            try:
                both.append({x: xattr(os.path.join(top, x), "file_id") for x in os.listdir(top)})
            except FileNotFoundError:
                return False
        return both[0] == both[1] and set(both[0].values()) == set(sums) and both[0]

    names = wait_until(agree, "both show the same Files by the same names")
    assert "f" in names and set(names) - {"f"} <= {"f~" + x for x in sums}
    for mount in (here, there):
        for name, file_id in names.items():
            assert md5(mount.path("batch", name)) == sums[file_id]
