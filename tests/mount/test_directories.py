"""What a directory tells of its entries: its time, its group, its links; and a reader that starts over."""
import os
import stat

import pytest

from harness import python, records, run, wait_until
from users import AS_USER, NOBODY

OTHER_GROUP = 4242

# Calls the C library as a program would: Python's own listdir() reads a directory in one go.
REWIND = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
for f in (libc.readdir, libc.rewinddir, libc.closedir):
    f.argtypes = [ctypes.c_void_p]
libc.readdir.restype = ctypes.c_void_p
d = libc.opendir(sys.argv[1].encode())
for k in range(20):
    open("%s/new%d" % (sys.argv[1], k), "w").close()
libc.rewinddir(d)
n = 0
while libc.readdir(d): n += 1
print(n)
libc.closedir(d)
"""


IMPORTS = """
import importlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
for k in range(5):
    name = f"module{k}"
    try:
        importlib.import_module(name)
    except ImportError:
        pass
    with open(f"{sys.argv[1]}/{name}.py", "w") as f:
        f.write(f"value = {k}")
    assert importlib.import_module(name).value == k
print("imported")
"""


def write(path, text="x"):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def time_of(path):
    return os.stat(path).st_mtime_ns


class Times:
    """The times of directories, and which of them have changed since the last look."""

    def __init__(self, *paths):
        self.seen = {p: time_of(p) for p in paths}

    def changed(self):
        now = {p: time_of(p) for p in self.seen}
        moved = [os.path.basename(p) for p in now if now[p] > self.seen[p]]
        assert all(now[p] >= self.seen[p] for p in now)
        self.seen = now
        return moved


def test_each_change_of_entries_sets_the_time(mount):
    """Made, removed, moved in or out, replaced: of both directories, and of no other."""
    batch, a, b = mount.path("batch"), mount.path("batch", "a"), mount.path("batch", "b")
    os.mkdir(a)
    os.mkdir(b)
    times = Times(batch, a, b)
    write(a + "/file")
    assert times.changed() == ["a"]
    write(a + "/file", "again")
    os.utime(a + "/file")
    assert times.changed() == []
    os.rename(a + "/file", a + "/other")
    assert times.changed() == ["a"]
    os.rename(a + "/other", b + "/file")
    assert times.changed() == ["a", "b"]
    write(a + "/file")
    assert times.changed() == ["a"]
    os.rename(a + "/file", b + "/file")  # replaces
    assert times.changed() == ["a", "b"]
    os.unlink(b + "/file")
    assert times.changed() == ["b"]
    os.close(os.open(a + "/empty", os.O_CREAT | os.O_WRONLY, 0o644))
    os.mknod(a + "/node")
    assert times.changed() == ["a"]
    os.rename(a + "/empty", b + "/.empty.abcdef")
    os.unlink(a + "/node")
    assert times.changed() == ["a", "b"]
    os.mkdir(a + "/sub")
    assert times.changed() == ["a"]
    os.rename(a + "/sub", b + "/sub")
    assert times.changed() == ["a", "b"]
    os.rmdir(b + "/sub")
    assert times.changed() == ["b"]
    os.rename(b, batch + "/c")
    os.rename(batch + "/c", b)
    assert times.changed() == ["batch"]


def test_the_time_of_a_directory_is_kept(mount):
    """After a remount, and after the daemon was killed: as it was left, or as it was set."""
    paths = [mount.path("batch", x) for x in ("made", "set", "emptied")]
    for p in paths:
        os.mkdir(p)
        write(p + "/one")
    write(paths[2] + "/two")
    os.unlink(paths[2] + "/two")
    os.utime(paths[1], ns=(10**18, 10**18))
    before = [time_of(p) for p in paths]
    mount.umount()
    mount.remount()
    assert [os.listdir(p) for p in paths] == [["one"]] * 3
    assert [time_of(p) for p in paths] == before
    write(paths[0] + "/another")
    before = [time_of(p) for p in paths]
    mount.kill()
    mount.remount()
    assert sorted(os.listdir(paths[0])) == ["another", "one"]
    assert [time_of(p) for p in paths] == before


def test_files_of_another_host_change_the_time(world, server):
    """Seen by a listing: while mounted, and after a remount."""
    ours = world.mount(server, list_ttl="0")
    theirs = world.mount(server, state_dir=world.path("other-state"))
    directory = ours.path("batch", "shared")
    os.mkdir(directory)
    write(directory + "/ours")
    os.utime(directory, ns=(10**18, 10**18))
    os.listdir(theirs.path("batch"))
    write(theirs.path("batch", "shared", "theirs"))
    wait_until(lambda: "theirs" in os.listdir(directory), "the other host's File is listed")
    assert wait_until(lambda: time_of(directory) > 10**18, "the directory has a new time")
    os.utime(directory, ns=(10**18, 10**18))
    ours.umount()
    write(theirs.path("batch", "shared", "later"))
    ours.remount()
    assert sorted(os.listdir(directory)) == ["later", "ours", "theirs"]
    assert time_of(directory) > 10**18


def test_import_of_a_module_just_written(mount):
    """Python keeps a directory's names until its time changes."""
    assert python(IMPORTS, mount.path("batch")).stdout == "imported\n"


def test_rewinddir_before_the_first_read(mount):
    """Shows what was made since opendir()."""
    assert run(["/usr/bin/python3", "-B", "-c", REWIND, mount.path("batch")]).stdout == "22\n"


def test_links_of_a_directory(mount):
    """1, whatever is below; 0 once it is removed and only open."""
    path = mount.path("batch", "gone")
    os.makedirs(path + "/sub/sub")
    assert {os.stat(p).st_nlink for p in (mount.mnt, mount.path("batch"), path,
                                          path + "/sub", path + "/sub/sub")} == {1}
    os.rmdir(path + "/sub/sub")
    os.rmdir(path + "/sub")
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rmdir(path)
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fd) == []
    finally:
        os.close(fd)
    with open(mount.path("batch", "file"), "w", encoding="ascii") as f:
        assert os.fstat(f.fileno()).st_blksize <= 128 << 10
        assert os.fstat(f.fileno()).st_nlink == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
def test_a_setgid_directory_is_inherited(world, server):
    """The group by all that is made there, the bit by directories; over a remount."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    shared = mount.path("batch", "shared")
    os.mkdir(shared)
    os.chown(shared, 0, OTHER_GROUP)
    os.chmod(shared, 0o2777)
    run([*AS_USER, "bash", "-ec", "umask 022; cd $0; mkdir sub; echo x >file; mkdir sub/deep;"
         " echo x >sub/deep/file; touch empty", shared])
    os.mknod(shared + "/node", 0o2755)

    def look():
        found = {}
        for name in ("sub", "sub/deep", "file", "sub/deep/file", "empty", "node"):
            st = os.stat(f"{shared}/{name}")
            found[name] = (st.st_gid, oct(stat.S_IMODE(st.st_mode)))
        return found

    expected = {"sub": (OTHER_GROUP, "0o2755"), "sub/deep": (OTHER_GROUP, "0o2755"),
                "file": (OTHER_GROUP, "0o644"), "sub/deep/file": (OTHER_GROUP, "0o644"),
                "empty": (OTHER_GROUP, "0o644"), "node": (OTHER_GROUP, "0o2755")}
    assert look() == expected
    mount.umount()
    mount.remount()
    assert look() == expected


TAKE = """
import os, sys
os.umask(0)
os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o2777))
"""

CHANGES = {
    "write": "fd = os.open(p, os.O_WRONLY); os.write(fd, b'x'); os.close(fd)",
    "pwrite of an O_RDWR": "fd = os.open(p, os.O_RDWR); os.pwrite(fd, b'x', 1); os.close(fd)",
    "append": "fd = os.open(p, os.O_WRONLY | os.O_APPEND); os.write(fd, b'x'); os.close(fd)",
    "O_TRUNC": "os.close(os.open(p, os.O_WRONLY | os.O_TRUNC))",
    "O_TRUNC of a reader": "os.close(os.open(p, os.O_RDONLY | os.O_TRUNC))",
    "truncate": "os.truncate(p, 1)",
    "truncate to nothing": "os.truncate(p, 0)",
    "ftruncate": "fd = os.open(p, os.O_RDWR); os.ftruncate(fd, 1); os.close(fd)",
    "fallocate": "fd = os.open(p, os.O_RDWR); os.posix_fallocate(fd, 0, 99); os.close(fd)",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
@pytest.mark.parametrize("how", CHANGES)
def test_a_change_drops_setuid_and_setgid(world, server, how):
    """Of a File and of a file that is still open; the kept attributes have no bit either."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    paths = [mount.path("batch", "file"), mount.path("batch", "open")]
    write(paths[0], "some content")
    with open(paths[1], "w", encoding="ascii") as f:
        f.write("some content")
        f.flush()
        for p in paths:
            os.chmod(p, 0o6777)
            run([*AS_USER, "/usr/bin/python3", "-B", "-c", "import os, sys; p = sys.argv[1]; "
                 + CHANGES[how], p])
            assert oct(stat.S_IMODE(os.stat(p).st_mode)) == "0o777", p
    mount.umount()
    mount.remount()
    for p in paths:
        assert oct(stat.S_IMODE(os.stat(p).st_mode)) == "0o777", p


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
def test_privileges_that_stay(world, server):
    """Of a reader, and of root; a mandatory-lock bit (setgid without x for the group) as well."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    path = mount.path("batch", "file")
    write(path, "content")
    os.chmod(path, 0o6777)
    run([*AS_USER, "cat", path])
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"root's")
    os.close(fd)
    assert oct(stat.S_IMODE(os.stat(path).st_mode)) == "0o6777"
    os.chmod(path, 0o2767)
    run([*AS_USER, "bash", "-c", "echo theirs >$0", path])
    assert oct(stat.S_IMODE(os.stat(path).st_mode)) == "0o2767"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and another user")
def test_a_program_of_a_foreign_group(world, server):
    """A user can't make a setgid program of a group that he is not in by a setgid directory."""
    mount = world.mount(server, "allow_other")
    os.chmod(world.dir, 0o755)
    shared = mount.path("batch", "shared")
    os.mkdir(shared)
    os.chown(shared, 0, OTHER_GROUP)
    os.chmod(shared, 0o2777)
    run([*AS_USER, "/usr/bin/python3", "-B", "-c", TAKE, shared + "/program"])
    st = os.stat(shared + "/program")
    assert (st.st_uid, st.st_gid, oct(stat.S_IMODE(st.st_mode))) == (NOBODY, OTHER_GROUP, "0o777")


def test_a_mode_set_while_it_is_written(mount):
    """Survives a kill of the daemon before the close: nobody reads what its owner has closed off."""
    path = mount.path("batch", "secret")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, b"secret")
        wait_until(lambda: [x["mode"] & 0o777 for x in records(mount.state)] == [0o600],
                   "the mode is recorded")
        mount.kill()
    finally:
        try:
            os.close(fd)
        except OSError:
            pass  # its daemon is dead
    mount.remount()
    assert oct(stat.S_IMODE(os.stat(path).st_mode)) == "0o600"
