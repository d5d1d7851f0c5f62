"""
A change of names, and the daemon dies by SIGKILL at every step of it in turn: each name has its
old or its new content after the next mount, whole, and the service holds exactly those Files.
"""
import concurrent.futures
import os
import urllib.error

import pytest

import crash
import harness
from harness import python, wait_let_go, wait_until, xattr
from test_crash import Loop

pytestmark = pytest.mark.plain  # the preloaded library and a sanitizer's do not mix

AT_A_TIME = 4
KILLED = ("import os, sys\n"
          "os.write(os.open(sys.argv[1], os.O_WRONLY | int(sys.argv[3])), sys.argv[2].encode())\n"
          "os.kill(os.getpid(), 9)")
A, B, NEW, HALF = b"a" * 90000, b"the File b", b"n" * 150000, b"half"


class World:
    """What the mount shows, by path, and what the service holds, by name."""

    def __init__(self, shown, files=None):
        self.shown = shown
        self.files = sorted((shown if files is None else files).items())


class Change:
    """run() changes names of a mount; old and new: what there is before and after it."""

    def __init__(self, run, old, new, half=None, fds=()):
        self.run, self.old, self.new, self.fds = run, old, new, fds
        # What a write that was not closed may leave beside the old File: (name, test of its
        # bytes, Files); its status is "aborted".
        self.half = half

    def is_half(self, seen, files, rows):
        if not self.half or self.half[0] not in [x["path"] for x in rows]:
            return False
        name, test, before = self.half
        return list(seen) == [name] and test(seen[name]) and files == sorted(before.items())


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    with open(os.open(path, flags, 0o644), "wb", buffering=0) as f:
        while data:
            data = data[f.write(data):]


def get(path):
    with open(path, "rb") as f:
        return f.read()


def make_file(mount, name, data):
    put(mount.path("batch", name), data)
    wait_let_go(mount, mount.path("batch", name))


def make_half(mount, name, data=HALF, cut=False):
    """A staged file, left by a killed writer; cut: over a File."""
    path = mount.path("batch", name)
    python(KILLED, path, data.decode(), os.O_TRUNC if cut else os.O_CREAT, check=False)
    wait_until(lambda: xattr(path, "status") == "aborted", "the kill is noticed")


def fails(call, *args):
    with pytest.raises(OSError):
        call(*args)


def renames(mount, source, target):
    return lambda: os.rename(mount.path("batch", source), mount.path("batch", target))


def unlinks(mount, name):
    return lambda: os.unlink(mount.path("batch", name))


# ---- the changes: each makes what is there before, and returns a Change


def file_to_new(m):
    make_file(m, "f", A)
    return Change(renames(m, "f", "g"), World({"f": A}), World({"g": A}))


def file_over_file(m):
    make_file(m, "f", A)
    make_file(m, "g", B)
    return Change(renames(m, "f", "g"), World({"f": A, "g": B}), World({"g": A}))


def file_over_staged(m):
    make_file(m, "f", A)
    make_half(m, "g")
    return Change(renames(m, "f", "g"), World({"f": A, "g": HALF}, {"f": A}), World({"g": A}))


def staged_to_new(m):
    make_half(m, "f")
    return Change(renames(m, "f", "g"), World({"f": HALF}, {}), World({"g": HALF}, {}))


def staged_over_staged(m):
    make_half(m, "f")
    make_half(m, "g", b"other")
    return Change(renames(m, "f", "g"), World({"f": HALF, "g": b"other"}, {}),
                  World({"g": HALF}, {}))


def staged_over_file(m):
    make_half(m, "f")
    make_file(m, "g", B)
    return Change(renames(m, "f", "g"), World({"f": HALF, "g": B}, {"g": B}),
                  World({"g": HALF}, {"g": B}))


def held_over_file(m):
    """As rsync does it. Without the rename the file is published under its temporary name."""
    make_file(m, "g", B)
    put(m.path("batch", ".g.aBcDeF"), NEW)
    return Change(renames(m, ".g.aBcDeF", "g"), World({".g.aBcDeF": NEW, "g": B}),
                  World({"g": NEW}))


def open_file_over_file(m):
    """A File that is still open for writing."""
    make_file(m, "g", B)
    put(m.path("batch", "f"), A)
    fd = os.open(m.path("batch", "f"), os.O_WRONLY)
    return Change(renames(m, "f", "g"), World({"f": A, "g": B}), World({"g": A}), fds=[fd])


def empty_over_file(m):
    make_file(m, "g", B)
    put(m.path("batch", "f"), b"")
    wait_until(lambda: xattr(m.path("batch", "f"), "status") == "empty", "it is kept")
    return Change(renames(m, "f", "g"), World({"f": b"", "g": B}, {"g": B}), World({"g": b""}, {}))


def file_over_empty(m):
    make_file(m, "f", A)
    put(m.path("batch", "g"), b"")
    wait_until(lambda: xattr(m.path("batch", "g"), "status") == "empty", "it is kept")
    return Change(renames(m, "f", "g"), World({"f": A, "g": b""}, {"f": A}), World({"g": A}))


def directory(m):
    os.makedirs(m.path("batch", "d", "e"))
    for name in ("d/f", "d/e/f"):
        make_half(m, name)
    return Change(renames(m, "d", "n"), World({"d/f": HALF, "d/e/f": HALF}, {}),
                  World({"n/f": HALF, "n/e/f": HALF}, {}))


def directory_over_empty_one(m):
    os.mkdir(m.path("batch", "n"))
    return directory(m)


def unlink_file(m):
    make_file(m, "f", A)
    make_file(m, "g", B)
    return Change(unlinks(m, "f"), World({"f": A, "g": B}), World({"g": B}))


def unlink_staged(m):
    make_half(m, "f")
    return Change(unlinks(m, "f"), World({"f": HALF}, {}), World({}))


def unlink_half_over_file(m):
    """The File shows again."""
    make_file(m, "f", A)
    make_half(m, "f", cut=True)
    return Change(unlinks(m, "f"), World({"f": HALF}, {"f": A}), World({"f": A}))


def unlink_in_doubt(m):
    """Its File exists, but the reply that said so was lost."""
    m.server.faults([{"op": "complete", "action": "drop", "times": 0},
                     {"op": "list", "action": "status", "status": 500, "times": 0}])
    fails(put, m.path("batch", "f"), A)
    m.server.faults([])
    return Change(unlinks(m, "f"), World({"f": A}), World({}))


def unlink_failed(m):
    m.server.faults([{"op": "create", "action": "status", "status": 400, "times": 0}])
    fails(put, m.path("batch", "f"), A)
    m.server.faults([])
    return Change(unlinks(m, "f"), World({"f": A}), World({}))


def overwrite(m):
    make_file(m, "f", A)
    return Change(lambda: put(m.path("batch", "f"), NEW), World({"f": A}), World({"f": NEW}),
                  half=("f", lambda x: NEW.startswith(x), {"f": A}))


def update_in_place(m):
    make_file(m, "f", A)
    new = B + A[len(B):]
    return Change(lambda: put(m.path("batch", "f"), B, os.O_WRONLY), World({"f": A}),
                  World({"f": new}), half=("f", lambda x: x in (A, new), {"f": A}))


def append(m):
    make_file(m, "f", A)
    return Change(lambda: put(m.path("batch", "f"), B, os.O_WRONLY | os.O_APPEND),
                  World({"f": A}), World({"f": A + B}),
                  half=("f", lambda x: x in (A, A + B), {"f": A}))


def write_again(m):
    """A File that is still open is written once more."""
    fd = os.open(m.path("batch", "f"), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, A)
    os.close(os.dup(fd))

    def more():
        os.write(fd, B)
        os.close(os.dup(fd))

    return Change(more, World({"f": A}), World({"f": A + B}), fds=[fd],
                  half=("f", lambda x: x in (A, A + B), {"f": A}))


def truncate_by_name(m):
    make_file(m, "f", A)
    return Change(lambda: os.truncate(m.path("batch", "f"), 70000), World({"f": A}),
                  World({"f": A[:70000]}), half=("f", lambda x: x in (A, A[:70000]), {"f": A}))


CHANGES = [file_to_new, file_over_file, file_over_staged, staged_to_new, staged_over_staged,
           staged_over_file, held_over_file, open_file_over_file, empty_over_file, file_over_empty,
           directory, directory_over_empty_one, unlink_file, unlink_staged, unlink_half_over_file,
           unlink_in_doubt, unlink_failed, overwrite, update_in_place, append, write_again,
           truncate_by_name]


def forget(loop, process):
    process.kill()
    if hasattr(process, "detach"):
        process.detach()
    loop.processes.remove(process)


def contents(server):
    """(name, bytes) of each File; None while one is being deleted."""
    try:
        return sorted((x["filename"], server.get(f"/files/{x['id']}/content").read())
                      for x in server.files())
    except urllib.error.HTTPError as exc:
        assert exc.code == 404
        return None


def shown(mount):
    """Path below the purpose -> content; None where it went meanwhile."""
    top, seen = mount.path("batch"), {}
    for folder, _, names in os.walk(top):
        for path in [os.path.join(folder, n) for n in names]:
            try:
                seen[os.path.relpath(path, top)] = get(path)
            except FileNotFoundError:
                seen[os.path.relpath(path, top)] = None
    return seen


def brief(x):
    return x and [(n, d and f"{len(d)} x {d[:4]}") for n, d in (x.items() if isinstance(x, dict) else x)]


def check_now(mount, change):
    """What a name shows is what it had before or after."""
    for name, data in shown(mount).items():
        if data is None:
            continue
        if change.half and name == change.half[0] and change.half[1](data):
            continue
        assert any(w.shown.get(name) == data for w in (change.old, change.new)), \
            (name, brief({name: data}))


def check_end(mount, change, answered):
    worlds = [change.new] if answered else [change.old, change.new]
    seen = {}

    def settled():
        seen["mount"], seen["service"] = shown(mount), contents(mount.server)
        seen["rows"] = harness.records(mount.state)
        return all(x["state"] in ("writing", "aborted", "empty") for x in seen["rows"]) and (
            any(seen["mount"] == w.shown and seen["service"] == w.files for w in worlds)
            or not answered and change.is_half(seen["mount"], seen["service"], seen["rows"]))

    try:
        wait_until(settled, "all is as it was before or after", 8)
    except AssertionError:
        rows = [(x["state"], x["path"], x["size"]) for x in seen["rows"]]
        raise AssertionError(
            f"answered: {answered}; the mount shows {brief(seen['mount'])}, the service holds "
            f"{brief(seen['service'])}, rows {rows}") from None


def run_once(loop, make, n):
    """True when the daemon lived: the change has fewer steps than n."""
    server = loop.server()
    mount = loop._add(crash.CrashMount, server, (), at=n, when="each", armed=False,
                      part_size="64K", list_ttl="1", retry_delay="1", hold_timeout="1")
    mount.may_fail = True
    answered, change, left = False, None, None
    try:
        change = make(mount)
        mount.arm()
        try:
            change.run()
            answered = True
        except OSError as exc:
            assert exc.errno in crash.GONE, exc
        if answered:
            wait_until(lambda: not mount.alive() or contents(server) == change.new.files,
                       "the service holds what it should", 8)
            # What follows the reply on the daemon's threads, if anything does.
            crash.wait_for(lambda: not mount.alive(), 0.1)
        # A call fails before the daemon's death shows.
        lived = answered and mount.alive()
        mount.kill()
        left = (harness.records(mount.state), server.files())
        mount.detach()
        mount.at = None
        mount.start()
        check_now(mount, change)
        check_end(mount, change, answered)
        return lived
    except (AssertionError, OSError) as exc:
        raise AssertionError(f"n = {n} ({crash.step_of(mount)}): {exc}\nIt left {left}\n"
                             f"--- the daemons\n{mount.log()[-3000:]}") from exc
    finally:
        for fd in change.fds if change else ():
            crash.close_quietly(fd)
        forget(loop, mount)
        forget(loop, server)


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("make", CHANGES, ids=lambda x: x.__name__)
def test_every_step(loop, make):
    failures, lived, n = [], False, 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        while not lived:
            runs = [pool.submit(run_once, loop, make, at)
                    for at in range(n + 1, n + 1 + AT_A_TIME)]
            n += AT_A_TIME
            for done in runs:
                try:
                    lived |= done.result()
                except AssertionError as exc:
                    failures.append(str(exc))
            assert n < 200, "the daemon's steps have no end"
    assert not failures, f"{len(failures)} of {n} runs failed\n" + "\n\n".join(failures[:6])
