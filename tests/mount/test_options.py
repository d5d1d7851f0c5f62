"""What is shown to whom: owners, modes, ro, allow_other; and directories that change while read."""
import ctypes
import errno
import os
import stat

import pytest

from harness import bash, make_file, run, wait_until, xattr

NOBODY = 65534


def owner_and_mode(path):
    st = os.stat(path)
    return st.st_uid, st.st_gid, f"{stat.S_IMODE(st.st_mode):o}"


@pytest.mark.parametrize("options, of_dir, of_file", [
    ({}, (0, 0, "755"), (0, 0, "644")),
    ({"uid": 1234, "gid": 4321}, (1234, 4321, "755"), (1234, 4321, "644")),
    ({"umask": "027"}, (0, 0, "750"), (0, 0, "640")),
    ({"file_mode": "0600", "dir_mode": "0711"}, (0, 0, "711"), (0, 0, "600")),
    ({"file_mode": "0666", "dir_mode": "0777", "umask": "022", "uid": 7}, (7, 0, "755"),
     (7, 0, "644")),
])
def test_owners_and_modes(world, account, options, of_dir, of_file):
    """Of Files, of the directories in their names, and of those of purposes."""
    account.add("dir/file", b"content")
    account.add("result", b"content", "batch_output")
    mount = world.mount(account, **options)
    for path in (mount.mnt, mount.path("batch"), mount.path("batch", "dir")):
        assert owner_and_mode(path) == of_dir, path
    assert owner_and_mode(mount.path("batch", "dir", "file")) == of_file
    # What only the service makes can be written by nobody.
    mode = f"{int(of_dir[2], 8) & ~0o222:o}"
    assert owner_and_mode(mount.path("batch_output")) == (*of_dir[:2], mode)


def test_read_only(world, server):
    """EROFS for whatever would change something; reading works."""
    writer = world.mount(server)
    source = make_file(world.path("source"), 100000)
    run(["cp", source, writer.path("batch", "f")])
    mount = world.mount(server, "ro")
    path, other = mount.path("batch", "f"), mount.path("batch", "g")
    run(["cmp", source, path])
    for change in (lambda: open(path, "ab"), lambda: open(other, "wb"), lambda: os.unlink(path),
                   lambda: os.rename(path, other), lambda: os.mkdir(other),
                   lambda: os.truncate(path, 0), lambda: os.chmod(path, 0o600),
                   lambda: os.utime(path, (1, 1)),
                   lambda: os.setxattr(path, "user.upload.publish", b"1")):
        with pytest.raises(OSError) as caught:
            change()
        assert caught.value.errno == errno.EROFS
    assert [x["filename"] for x in server.files()] == ["f"]


def as_nobody(script, *args, check=True):
    """A bash script run by another user, who has no groups and no capabilities."""
    return run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "bash", "-c",
                script, "bash", *args], check=check, cwd="/")


def test_allow_other(world, server):
    """Modes count for other users; without the option they see nothing."""
    os.chmod(world.dir, 0o711)
    alone = world.mount(server)
    assert "Permission denied" in as_nobody('ls "$1"', alone.mnt, check=False).stderr
    mount = world.mount(server, "allow_other", dir_mode="0755")
    source = make_file(world.path("source"), 50000)
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    os.chmod(dest, 0o644)
    os.mkdir(mount.path("batch", "open"))
    os.chmod(mount.path("batch", "open"), 0o777)
    as_nobody('test -r "$1" && ! test -w "$1" && cat "$1" > /dev/null', dest)
    for refused in ('echo x > "$1"', 'rm -f "$1"', 'echo x > "${1%/*}/new"', 'mkdir "${1%/*}/dir"',
                    'chmod 777 "$1"'):
        assert as_nobody(refused, dest, check=False).returncode != 0, refused
    os.chmod(dest, 0o600)
    assert as_nobody('cat "$1"', dest, check=False).returncode != 0
    assert [x["filename"] for x in server.files()] == ["f"]
    # Where the mode allows it, it is all theirs.
    theirs = mount.path("batch", "open", "theirs")
    as_nobody('mkdir "${1%/*}/dir" && echo x > "${1%/*}/dir/x" && cat /etc/passwd > "$1"', theirs)
    for path in (theirs, os.path.join(os.path.dirname(theirs), "dir")):
        assert os.stat(path).st_uid == os.stat(path).st_gid == NOBODY
    wait_until(lambda: xattr(theirs, "status") == "completed", "it is published")
    run(["cmp", "/etc/passwd", theirs])
    as_nobody('rm "$1"', theirs)
    assert sorted(x["filename"] for x in server.files()) == ["f", "open/dir/x"]


class LibcDir:
    """opendir() and what can be done with it, which Python has not."""

    class Dirent(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_ushort),
                    ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]

    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.opendir.argtypes = [ctypes.c_char_p]
    libc.readdir.restype = ctypes.POINTER(Dirent)
    libc.readdir.argtypes = libc.telldir.argtypes = [ctypes.c_void_p]
    libc.rewinddir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.telldir.restype = ctypes.c_long
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def __init__(self, path):
        self.handle = self.libc.opendir(os.fsencode(path))
        assert self.handle, os.strerror(ctypes.get_errno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.libc.closedir(self.handle)

    def read(self):
        """The next name, or None."""
        entry = self.libc.readdir(self.handle)
        return entry.contents.name.decode() if entry else None

    def rest(self):
        names = []
        while (name := self.read()) is not None:
            names.append(name)
        return names

    def tell(self):
        return self.libc.telldir(self.handle)

    def seek(self, position):
        self.libc.seekdir(self.handle, position)

    def rewind(self):
        self.libc.rewinddir(self.handle)


def test_directory_that_changes_while_it_is_read(world, account):
    """No name twice, none left out that was there all the time; seekdir() and rewinddir()."""
    count = 3000  # more than the kernel or libc read at once
    names = [f"name-{i:04}-{'x' * (i % 50)}" for i in range(count)]
    for name in names:
        account.add(name)
    mount = world.mount(account)
    top = mount.path("batch")
    with LibcDir(top) as d:
        seen, removed, places = [], [], {}
        while (name := d.read()) is not None:
            if name in (".", ".."):
                continue
            seen.append(name)
            places[name] = d.tell()
            # Every second one goes, and new ones come, before and behind where we are.
            if len(seen) % 2 == 0 and len(seen) <= 400:
                os.unlink(os.path.join(top, name))
                removed.append(name)
                os.mkdir(os.path.join(top, f"new-{len(seen)}"))
        assert len(seen) == len(set(seen))
        assert set(names) <= set(seen) <= set(names) | {f"new-{i}" for i in range(401)}
        # Back to a place: the names behind it, in the same order.
        for at in (0, 1, 700, count - 1):
            d.seek(places[seen[at]])
            assert d.rest() == seen[at + 1:]
        d.rewind()
        now = [x for x in d.rest() if x not in (".", "..")]
        assert sorted(now) == sorted(os.listdir(top))
        assert set(now) == set(names) - set(removed) | {f"new-{2 * i}" for i in range(1, 201)}
    assert account.deleted and len(account.deleted) == len(removed) == 200


def test_find_and_du(world, account):
    """Types, sizes and the depth of a tree as on any disk."""
    sizes = {}
    for i in range(200):
        name = "/".join(["tree", *[f"d{(i >> k) % 3}" for k in range(i % 6)], f"f{i}"])
        sizes[name] = i * 37
        account.add(name, b"x" * sizes[name])
    mount = world.mount(account)
    top = mount.path("batch")
    out = run(["find", ".", "-type", "f", "-printf", "%P %s\n"], cwd=top).stdout
    assert dict(x.split() for x in out.splitlines()) == {k: str(v) for k, v in sizes.items()}
    dirs = {os.path.dirname(x)[:k] for x in sizes for k in range(len(os.path.dirname(x)) + 1)
            if (os.path.dirname(x) + "/")[k] == "/"}
    assert set(run(["find", "tree", "-type", "d"], cwd=top).stdout.split()) == dirs
    assert run(["find", "tree", "-name", "f150"], cwd=top).stdout.count("\n") == 1
    assert run(["find", "tree", "-size", "+2k", "-newermt", "2001-01-01"], cwd=top).stdout
    total = run(["du", "-sb", "tree"], cwd=top).stdout.split()[0]
    assert int(total) == sum(sizes.values())
    blocks = sum((x + 511) // 512 for x in sizes.values())
    assert int(run(["du", "-s", "--block-size=512", "tree"], cwd=top).stdout.split()[0]) == blocks
    assert bash('find "$1" -type f -delete && ls "$1"', top).stdout == "tree\n"
    assert account.files == []
