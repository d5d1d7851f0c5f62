"""Trees of files: made, looked at, and compared with what a server holds."""
import collections
import hashlib
import os
import random

from harness import assert_nothing_pending, md5, wait_until

NAMES = ("f{}.txt", "with blank {}", ".hidden{}", "ünïcode{}-日本.json", "quo'te\"{}", "-dash{}",
         "glob*?[{}]", "{}" + "n" * 246, "per%41cent{}", "tilde~{}", "back\\{}.jsonl", "{}.md")
DIRS = ("", "a", "a/b c", "a/b c/ünï", "日本/深い", ".hid", "x/y/z/w", "d" * 250)
SIZES = (1, 10, 300, 5000, 70000)


def make_tree(top, count, sizes=SIZES):
    """
    count files in nested directories, of names as users have them; every 29th is
    empty. Modes and times to the nanosecond. Some directories are empty.
    """
    dice = random.Random(7)
    for i in range(count):
        folder = os.path.join(top, DIRS[i % len(DIRS)])
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, NAMES[i % len(NAMES)].format(i))
        with open(path, "wb") as f:
            f.write(dice.randbytes(dice.choice(sizes)) if i % 29 else b"")
        os.chmod(path, dice.choice([0o644, 0o600, 0o755]))
        os.utime(path, ns=(10**18, 10**18 + i * 1234567891))
    os.makedirs(os.path.join(top, "empty", "inner"))
    for folder, _, _ in os.walk(top, topdown=False):
        os.utime(folder, (5 * 10**8, 5 * 10**8))
    return str(top)


def regular_files(top):
    """The path below top of each regular file."""
    return sorted(os.path.relpath(os.path.join(folder, name), top)
                  for folder, _, names in os.walk(top) for name in names)


def content_of(top):
    """{path below top: (bytes, MD5)} of what has a byte: an empty file is no File."""
    found = ((x, os.path.join(top, x)) for x in regular_files(top))
    return {x: (os.path.getsize(path), md5(path)) for x, path in found if os.path.getsize(path)}


def attributes_of(top):
    """{path below top: (kind and mode, mtime in ns)} of all files and directories."""
    found = {}
    for folder, dirs, names in os.walk(top):
        for name in dirs + names:
            st = os.lstat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), top)] = (st.st_mode, st.st_mtime_ns)
    return found


def assert_held(server, purpose, folder, top):
    """
    Of what is called folder/…, the server holds exactly one File for each file of
    the directory top that has a byte, with its bytes; and no Upload is pending.
    """
    want = {f"{folder}/{path}": what for path, what in content_of(top).items()}
    prefix = folder + "/"

    def named():
        return collections.Counter(x["filename"] for x in server.files(purpose=purpose)
                                   if x["filename"].startswith(prefix))

    # What was superseded is deleted behind the close, or by a release nobody waits for.
    try:
        wait_until(lambda: named() == collections.Counter(want.keys()), "one File for each name")
    except AssertionError:
        pass
    assert named() == collections.Counter(want.keys())
    held = {x["filename"]: server.content_md5(x["id"]) for x in server.files(purpose=purpose)
            if x["filename"].startswith(prefix)}
    assert held == want
    assert_nothing_pending(server)


def published_names(server):
    """The names of all the Files that were ever made, also of those that are deleted."""
    return {x["filename"] for x in server.uploads(status="completed")}


def write_bytes(path, data):
    """The file anew, with these bytes."""
    with open(path, "wb") as f:
        f.write(data)
    return str(path)


def noise(size, seed=1):
    """The same random bytes each time."""
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.md5(data).hexdigest()
