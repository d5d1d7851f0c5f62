"""What was promised is there after a power cut: the state directory on a disk of its own (power.py)."""
import concurrent.futures
import os
import signal
import urllib.error

import pytest

from harness import python, records, wait_until, xattr
from power import Disk

pytestmark = [pytest.mark.plain,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a loop device")]

DATA = b"ACCEPTED" * 4096
OTHER = b"other one" * 3000
KILLED = "import os, sys\nos.write(os.open(sys.argv[1], 65), b'only copy')\nos.kill(os.getpid(), 9)"
QUIET = ("completed", "aborted", "empty")


class Computer:
    """A mount whose state directory is on the disk, and the service it talks to."""

    def __init__(self, world, server, disk, *options, **more):
        self.server, self.disk = server, disk
        self.mount = world.mount(server, *options, state_dir=disk.at + "/state",
                                 **{"staging_reserve": "1M", "list_ttl": "1", "retry_delay": "1",
                                    "retry_timeout": "2", "part_size": "64K", **more})
        self.mount.may_fail = True

    def path(self, name="f"):
        return self.mount.path("batch", name)

    def power_cut(self, fd=None):
        """The disk as it is now; then everything else goes."""
        self.disk.cut()
        self.reboot(fd)

    def reboot(self, fd=None):
        self.disk.reboot(self.mount)
        if fd is not None:
            close_dead(fd)

    def there(self, name="f"):
        """(status, content) once it is quiet; None without it."""
        if name not in os.listdir(self.mount.path("batch")):
            return None
        status = wait_until(lambda: (lambda s: s if s in QUIET else None)(
            xattr(self.path(name), "status")), "it is quiet")
        with open(self.path(name), "rb") as f:
            return status, f.read()

    def contents(self):
        return sorted((x["filename"], self.server.get(f"/files/{x['id']}/content").read())
                      for x in self.server.files())


@pytest.fixture
def disk(world):
    with Disk() as made:
        yield made
        # Nothing holds it any more.
        for process in world.processes:
            if hasattr(process, "mnt") and process.alive():
                process.umount(range(99))


@pytest.fixture
def computer(world, server, disk):
    return Computer(world, server, disk)


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def close_dead(fd):
    try:
        os.close(fd)
    except OSError:
        pass


def test_the_power_does_go(computer):
    """What nobody asked to be synced is lost: else the tests below would show nothing."""
    fd = os.open(computer.path(), os.O_WRONLY | os.O_CREAT)
    os.write(fd, DATA)
    computer.power_cut(fd)
    left = computer.there()
    assert left is None or left[1] != DATA


@pytest.mark.parametrize("how", ["fsync", "fdatasync", "O_DSYNC", "O_SYNC", "O_RDWR|O_DSYNC"])
def test_fsync(computer, how):
    """Bytes and name."""
    flags = os.O_RDWR if "RDWR" in how else os.O_WRONLY
    flags |= os.O_DSYNC if "DSYNC" in how else os.O_SYNC if "SYNC" in how else 0
    fd = os.open(computer.path("g"), flags | os.O_CREAT)
    os.write(fd, DATA)
    os.rename(computer.path("g"), computer.path())
    if not how.startswith("O_"):
        getattr(os, how)(fd)
    else:
        os.write(fd, b"!")
    computer.power_cut(fd)
    assert computer.there() == ("aborted", DATA + (b"!" if how.startswith("O_") else b""))
    assert not computer.there("g")


@pytest.mark.parametrize("how", ["rm", "mv"])
def test_removed_bytes(computer, how):
    """Bytes of which an fsync was promised are whole as long as their name may come back."""
    fd = os.open(computer.path(), os.O_WRONLY | os.O_CREAT)
    os.write(fd, DATA)
    os.fsync(fd)
    computer.power_cut(fd)
    assert computer.there() == ("aborted", DATA)
    if how == "mv":
        fd = os.open(computer.path("g"), os.O_WRONLY | os.O_CREAT)
        os.write(fd, OTHER)
        os.fsync(fd)
        os.rename(computer.path("g"), computer.path())
    else:
        os.unlink(computer.path())
    computer.disk.commit()
    computer.power_cut(fd)
    left = [(x, computer.there(x)[1]) for x in sorted(os.listdir(computer.mount.path("batch")))]
    before, after = [("f", DATA)], []
    if how == "mv":
        before, after = [("f", DATA), ("g", OTHER)], [("f", OTHER)]
    assert left in (before, after)
    assert not computer.contents()


@pytest.mark.parametrize("close", ["sync", "async"])
def test_removed_file(world, server, disk, close):
    """A File that was removed does not come back by the row of its publication."""
    computer = Computer(world, server, disk, close=close)
    put(computer.path(), DATA)
    wait_until(lambda: not records(computer.mount.state), "it is cached content")
    os.unlink(computer.path())
    assert not computer.contents()
    computer.power_cut()
    assert not computer.there() and not computer.contents()


@pytest.mark.parametrize("then", ["nothing", "chmod", "written on"])
def test_async_close(world, server, disk, then):
    """It is published, whatever came after the close and was not synced."""
    computer = Computer(world, server, disk, "close=async", retry_delay="600")
    os.listdir(computer.mount.path("batch"))
    server.kill()
    put(computer.path(), DATA)
    if then == "chmod":
        os.chmod(computer.path(), 0o600)
    disk.commit()
    disk.cut()
    server.start()
    computer.reboot()
    assert computer.there() == ("completed", DATA)
    if then == "written on":
        # Bytes that were synced as a File's change: their record says so first.
        fd = os.open(computer.path(), os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"more")
        os.fsync(fd)
        computer.power_cut(fd)
        assert computer.there() == ("aborted", DATA + b"more")
        os.setxattr(computer.path(), "user.upload.publish", b"1")
        assert computer.there() == ("completed", DATA + b"more")
        wait_until(lambda: len(server.files()) == 1, "the former File is deleted")
        assert computer.contents() == [("f", DATA + b"more")]
        return
    assert computer.contents() == [("f", DATA)]


def test_failed_close(computer):
    """"The bytes are kept" is true when it is told."""
    computer.server.faults([{"op": "create", "action": "status", "status": 500, "times": 0}])
    with pytest.raises(OSError):
        put(computer.path(), DATA)
    computer.disk.cut()
    computer.server.faults([])
    computer.reboot()
    assert computer.there() == ("completed", DATA) and computer.contents() == [("f", DATA)]


def test_end_of_the_daemon(computer):
    """What it has not published is on the disk when it ends: held, failed and unclosed files."""
    held = computer.path(".h.AbCdEf")
    put(held, OTHER)
    fd = os.open(computer.path("open"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, DATA)
    computer.server.kill()
    computer.mount.proc.send_signal(signal.SIGTERM)
    computer.mount.wait()
    computer.disk.cut()
    close_dead(fd)
    computer.server.start()
    computer.reboot()
    assert computer.there(".h.AbCdEf") == ("completed", OTHER)
    assert computer.there("open") == ("aborted", DATA)


def test_fsync_of_a_directory(computer):
    """Names: made, moved, removed."""
    for name in "abc":
        python(KILLED, computer.path(name), check=False)
        wait_until(lambda n=name: xattr(computer.path(n), "status") == "aborted", "it is noticed")
        fd = os.open(computer.path(name), os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    top = os.open(computer.mount.path("batch"), os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir(computer.path("d"))
    os.rename(computer.path("a"), computer.path("d/a"))
    os.rename(computer.path("b"), computer.path("b2"))
    os.unlink(computer.path("c"))
    os.fsync(top)
    computer.disk.cut()
    os.close(top)
    computer.reboot()
    assert sorted(os.listdir(computer.mount.path("batch"))) == ["b2", "d"]
    assert os.listdir(computer.path("d")) == ["a"]
    assert computer.there("b2")[1] == b"only copy"


STALLS = [(op, when) for op in ("create", "part", "complete", "delete")
          for when in ("before", "after")]


@pytest.mark.parametrize("op,when", STALLS)
def test_cut_at_each_call(world, server, disk, op, when):
    """
    close=sync: at each call of the service. The File before, or the new one, whole; no other
    bytes, though those on the disk are lost; and no second File.
    """
    computer = Computer(world, server, disk)
    put(computer.path(), OTHER)
    wait_until(lambda: server.journal(op="complete", status=200), "it is a File")
    known = ids(server)
    server.faults([{"op": op, "times": 0, "action": "stall", "when": when}])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(put, computer.path(), DATA)
        wait_until(lambda: arrived(computer, op, when, known), "the call is there")
        disk.commit()
        disk.cut()
        computer.mount.kill()
        server.faults([])
        computer.reboot()
        assert isinstance(done.exception(), OSError)
    left = computer.there()
    made = op == "delete" or (op == "complete" and when == "after")
    if made:
        assert left == ("completed", DATA)
        wait_until(lambda: len(server.files()) == 1, "the former one is deleted")
        assert computer.contents() == [("f", DATA)]
    else:
        assert computer.contents() in ([("f", OTHER)], [("f", DATA)])
        assert left[0] == "aborted" or ("f", left[1]) in computer.contents()
        if left[0] == "aborted":
            os.unlink(computer.path())
            wait_until(lambda: computer.there() == ("completed", OTHER), "it shows again")


def ids(server):
    return {x["id"] for x in server.files()}


def arrived(computer, op, when, known):
    """
    True once that call is at the service, or about to be; after: what it does is done. known: ids
    of the Files before.
    """
    server, step = computer.server, (op, when)
    if step == ("create", "before"):
        return xattr(computer.path(), "status") == "publishing"
    if step in (("create", "after"), ("part", "before")):
        return server.uploads(status="pending")
    if step in (("part", "after"), ("complete", "before")):
        return [x for x in server.uploads(status="pending") if x["parts"]]
    return has_new_file(server, step, known)


def has_new_file(server, step, known):
    """True once the new File is there, beside all of before, or one less."""
    now = ids(server)
    return now - known and len(now) == len(known) + (step != ("delete", "after"))


RENAMES = [(op, when) for op, when in STALLS if (op, when) != ("create", "before")]


@pytest.mark.parametrize("sync", ["auto", "always"])
@pytest.mark.parametrize("op,when", RENAMES)
def test_cut_while_one_file_replaces_another(world, server, disk, op, when, sync):
    """
    mv a b, both published: a new File is made of a copy, which may or may not be on the disk.
    Both as they were, or b with the bytes of a; nothing else, and no other File.
    """
    computer = Computer(world, server, disk, f"sync={sync}")
    put(computer.path("a"), DATA)
    put(computer.path("b"), OTHER)
    wait_until(lambda: len(server.files()) == 2, "both are Files")
    known = ids(server)
    server.faults([{"op": op, "times": 0, "action": "stall", "when": when}])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(os.rename, computer.path("a"), computer.path("b"))
        wait_until(lambda: rename_arrived(server, op, when, known), "the call is there")
        disk.commit()
        disk.cut()
        computer.mount.kill()
        server.faults([])
        computer.reboot()
        assert isinstance(done.exception(), OSError)
    before, after = [("a", DATA), ("b", OTHER)], [("b", DATA)]
    made = op == "delete" or (op == "complete" and when == "after")
    wanted = (after,) if made else (before, after)
    wait_until(lambda: settled(computer, wanted), "it is as it was, or as it should be, here too")


def settled(computer, wanted):
    """True once the service has one of wanted, and the mount shows the same."""
    found = contents_now(computer)
    try:
        return found in wanted and \
            sorted(os.listdir(computer.mount.path("batch"))) == [x for x, _ in found] and \
            [computer.there(x) for x, _ in found] == [("completed", y) for _, y in found]
    except OSError:  # The stalled call may take effect only now.
        return False


def contents_now(computer):
    """None while a File is just being deleted."""
    try:
        return computer.contents()
    except urllib.error.HTTPError:
        return None


def rename_arrived(server, op, when, known):
    """True once that call of the rename is at the service; after: what it does is done."""
    if (op, when) in (("create", "after"), ("part", "before")):
        return server.uploads(status="pending")
    if (op, when) in (("part", "after"), ("complete", "before")):
        return [x for x in server.uploads(status="pending") if x["parts"]]
    return has_new_file(server, (op, when), known)
