"""Two mounts of one account, as on two hosts: each with a state directory of its own."""
import contextlib
import errno
import os
import random
import subprocess
import time

import pytest

from accounts import delete_file, post_file
from harness import MIB, SLOW, make_file, md5, records, run, wait_until, xattr
from odd import Odd


@pytest.fixture
def here(world, server):
    return world.mount(server, list_ttl="1")


@pytest.fixture
def there(world, server):
    return world.mount(server, list_ttl="1")


@pytest.fixture
def odd():
    service = Odd()
    yield service
    service.close()


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


def test_removed_elsewhere_before_it_is_written(server, here):
    """A File open to be written keeps its name; one that the kernel only looked up can't be opened."""
    held, looked_up = here.path("batch", "held"), here.path("batch", "looked-up")
    for path in (held, looked_up):
        post_file(server, os.path.basename(path), b"x" * 1000)
        wait_until(lambda path=path: os.path.exists(path), "the File shows")
        # Into the cache: the service won't have it at the first write.
        assert md5(path)
    inode = os.open(looked_up, os.O_PATH)
    try:
        with open(held, "ab") as f:
            for x in server.files():
                delete_file(server, x["id"])
            wait_until(lambda: os.listdir(here.path("batch")) == ["held"], "a list without both")
            f.write(b"more")
        # Nothing that is written is lost without an error.
        assert [(x["id"], x["bytes"]) for x in server.files()] == [(xattr(held, "file_id"), 1004)]
        with pytest.raises(OSError) as exc:
            os.close(os.open(f"/proc/self/fd/{inode}", os.O_WRONLY | os.O_APPEND))
        assert exc.value.errno in (errno.ESTALE, errno.ENOENT)
    finally:
        os.close(inode)
    with open(looked_up, "ab") as f:
        f.write(b"new")
    assert sorted((x["filename"], x["bytes"]) for x in server.files()) == [("held", 1004),
                                                                         ("looked-up", 3)]


def exchange(odd, here, name, gone):
    """
    Another host puts a new File in the place of one that `here` knows: the ids of both, and when
    the kernel saw the former one last; None if `here` has not listed the new one.
    """
    path = here.path("batch", name)
    old = odd.add(name, b"old", created_at=1)["id"]
    wait_until(lambda: os.path.exists(path), "the File shows here")
    listed = time.monotonic()
    wait_until(lambda: time.monotonic() > listed + 1.1, "the list is old")
    if gone:
        odd.delete(old)
    began = time.monotonic()
    os.stat(path)
    new = odd.add(name, b"newer")["id"]
    odd.add(name, b"", purpose="user_data")
    asked = odd.count("list")
    for n in range(20):
        os.path.exists(here.path("user_data", f"{name}-{n}"))
        if odd.count("list") > asked:
            break
    os.path.exists(here.path("user_data", f"{name}-more"))
    return (old, new, began) if odd.count("list") > asked else None


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("how", ["rm", "mv"])
def test_by_a_name_that_went_to_another(world, odd, how, gone):
    """What the kernel looked up a moment ago is removed or renamed, not the File that came since."""
    here = world.mount(odd, list_ttl="1")
    for name in (f"f{n}" for n in range(8)):
        seen = exchange(odd, here, name, gone)
        if not seen:
            continue
        old, new, began = seen
        path = here.path("batch", name)
        left = {x["id"] for x, _ in odd.made}
        error = 0
        try:
            os.unlink(path) if how == "rm" else os.rename(path, path + "-moved")
        except OSError as exc:
            error = exc.errno
        if time.monotonic() - began > .8:
            continue  # The kernel may have looked the new one up.
        assert error == (0 if how == "rm" and not gone else errno.ENOENT)
        if not error:
            left.remove(old)
        assert {x["id"] for x, _ in odd.made} == left and new in left
        wait_until(lambda: name in os.listdir(here.path("batch")), "it has the name")
        assert xattr(path, "file_id") == new
        os.unlink(path)
        assert odd.deleted[-1] == new
        return


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


class Pair:
    """
    Two hosts that write and remove under faults and deaths. All contents have one size, and
    each names its maker, so that the oracle needs no ids: a close of 0 means that those bytes are a
    File, once, until somebody touches its name.
    """

    NAMES = ("a", "b")
    FAULTS = ([{"op": "complete", "action": "drop"}],
              [{"op": "complete", "action": "status", "status": 500, "when": "after"}],
              [{"op": "complete", "action": "status", "status": 503}],
              [{"op": "complete", "action": "drop"},
               {"op": "list", "action": "invalid_json", "times": 2,
                "body": '{"object":"list","data":[],"has_more":false}'}],
              [{"op": "complete", "action": "drop"}, {"op": "cancel", "action": "drop"}],
              [])

    def __init__(self, world, server, seed):
        self.server, self.luck, self.count = server, random.Random(seed), 0
        self.log = [f"seed {seed}"]
        self.hosts = [world.mount(server, list_ttl="600", retry_timeout="3", retry_delay="1")
                      for _ in range(2)]
        self.have = [{}, {}]  # per host: name -> content that a close of 0 has promised
        for host in self.hosts:
            host.may_fail = True
            assert os.listdir(host.path("batch")) == []

    def contents(self):
        files = []
        for x in self.server.files():
            with self.server.get(f"/files/{x['id']}/content") as reply:
                files.append((x["filename"], reply.read()))
        return files

    def touch(self, *names):
        """An entry stands for the newest File of its name, whoever made it."""
        for have in self.have:
            for name in names:
                have.pop(name, None)

    def write(self, k, name):
        self.count += 1
        self.touch(name)
        data = f"host {k} wrote {self.count:04d}".encode()
        try:
            with open(self.hosts[k].path("batch", name), "wb") as f:
                f.write(data)
        except OSError as exc:
            assert exc.errno in (errno.EIO, errno.ETIMEDOUT)
        else:
            self.have[k][name] = data

    def remove(self, k, name):
        self.touch(name)
        with contextlib.suppress(OSError):
            os.unlink(self.hosts[k].path("batch", name))

    def die(self, k):
        self.hosts[k].kill()
        self.hosts[k].remount()

    def step(self):
        faults = self.luck.choice(self.FAULTS)
        self.server.faults(faults)
        k, name = self.luck.randrange(2), self.luck.choice(self.NAMES)
        what = self.luck.random()
        self.say(k, name, f"{what:.2f}", [(x["op"], x["action"]) for x in faults])
        if what < 0.6:
            self.write(k, name)
        elif what < 0.85:
            self.remove(k, name)
        else:
            self.die(k)
        self.check()

    def say(self, *words):
        self.log.append(" ".join(str(x) for x in words))

    def check(self):
        """What a close of 0 promised is there, once, under its name; nobody else's is gone."""
        files = self.contents()
        self.say("   ", files)
        assert len(files) == len(set(files)), "\n".join(self.log)
        for k in range(2):
            for name, data in self.have[k].items():
                assert (name, data) in files, "\n".join([*self.log, f"{k} {name} {data}"])


@pytest.mark.plain
@pytest.mark.parametrize("seed", [1, 2, 4])
def test_model_of_two(world, server, seed):
    pair = Pair(world, server, seed)
    for _ in range(40):
        pair.step()
    server.faults([])
    wanted = {x for have in pair.have for x in have.items()}
    wait_until(lambda: not any(records(x.state) for x in pair.hosts) or
               all(r["state"] in ("completed", "aborted") for x in pair.hosts
                   for r in records(x.state)), "nothing is in doubt", timeout=110)
    assert wanted <= set(pair.contents())
