"""Every tool that writes a file makes exactly one File of it, whole."""
import os
import shutil

import pytest

from harness import (MIB, SLOW, assert_nothing_pending, assert_published, bash, make_file, md5,
                     python, run, wait_until, xattr)

# $1 is the source, $2 the file to be written. Each leaves a plain copy.
SCRIPTS = {
    "cat": 'cat "$1" > "$2"',
    "cat append": 'cat "$1" >> "$2"',
    "dd": 'dd if="$1" of="$2" bs=64K status=none',
    "dd one block": 'dd if="$1" of="$2" bs=16M status=none',
    "dd notrunc fsync": 'dd if="$1" of="$2" bs=1M conv=notrunc,fsync status=none',
    "tee": 'tee "$2" < "$1" > /dev/null',
    "pipe": 'cat "$1" | cat > "$2"',
    "head and tail": '{ head -c 1000000 "$1"; tail -c +1000001 "$1"; } > "$2"',
    "rsync": 'rsync "$1" "$2"',
    "rsync -a": 'rsync -a "$1" "$2"',
    "rsync --inplace": 'rsync --inplace "$1" "$2"',
    "rsync --preallocate": 'rsync --preallocate "$1" "$2"',
    "install": 'install -m 640 "$1" "$2"',
    "cp -p": 'cp -p "$1" "$2"',
    "mv": 'cp "$1" "$1.moving" && mv "$1.moving" "$2"',
    "exec 3>": 'exec 3> "$2"; head -c 2000000 "$1" >&3; tail -c +2000001 "$1" >&3; exec 3>&-',
}

PYTHON_SCRIPTS = {
    "shutil.copyfile": """
import shutil, sys
shutil.copyfile(sys.argv[1], sys.argv[2])
""",
    "open and write": """
import sys
data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "wb") as f:
    for i in range(0, len(data), 50000):
        f.write(data[i:i + 50000])
""",
    "a child that inherits the file": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data[:1500000])
if os.fork() == 0:
    os.close(f)         # a close by another process is not the end of the writing
    os._exit(0)
os.wait()
for i in range(1500000, len(data), 100000):
    os.write(f, data[i:i + 100000])
os.close(f)
""",
    "a child that writes": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data[:1000000])
if os.fork() == 0:
    os.write(f, data[1000000:4000000])
    os._exit(0)
os.wait()
os.write(f, data[4000000:])
os.close(f)
""",
    "fallocate first": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.posix_fallocate(f, 0, len(data))
for i in range(0, len(data), 100000):
    os.write(f, data[i:i + 100000])
os.close(f)
""",
    "a dup closed first": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.close(os.dup(f))
os.write(f, data)
os.close(f)
""",
    "shared mmap": """
import mmap, os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(f, len(data))
with mmap.mmap(f, len(data)) as m:
    m[:] = data
    m.flush()
os.close(f)
""",
}

# Nobody waits for the end of these: the File appears after the writer is gone.
EXIT_SCRIPTS = {
    "exits without close": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data)
os._exit(0)
""",
    "exits without close, with an error": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data)
os._exit(3)
""",
    "leaves it to a child": """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data[:1000000])
if os.fork() == 0:
    os.write(f, data[1000000:])
    os.close(f)
    os._exit(0)
os.wait()
os._exit(0)
""",
}


@pytest.mark.parametrize("tool", SCRIPTS)
def test_tool(server, mount, source, tool):
    dest = mount.path("batch", "out.jsonl")
    bash("set -e; " + SCRIPTS[tool], source, dest)
    assert_published(server, dest, source)
    assert os.listdir(mount.path("batch")) == ["out.jsonl"]
    assert len(server.journal(op="complete", status=200)) == 1


@pytest.mark.parametrize("script", PYTHON_SCRIPTS)
def test_python(server, mount, source, script):
    dest = mount.path("batch", "out.jsonl")
    python(PYTHON_SCRIPTS[script], source, dest)
    assert_published(server, dest, source)
    assert len(server.journal(op="complete", status=200)) == 1


@pytest.mark.parametrize("script", EXIT_SCRIPTS)
def test_exit(server, mount, source, script):
    """file_id waits for the publication that nobody else waits for."""
    dest = mount.path("batch", "out.jsonl")
    python(EXIT_SCRIPTS[script], source, dest, check=False)
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)


@pytest.mark.no_tsan  # many programs, the same paths
def test_large_by_every_tool(world):
    """200 MiB in 64 MiB parts again, by tools whose size is known and those whose is not."""
    server = world.server()
    mount = world.mount(server, part_size="64M")
    source = make_file(world.path("big.jsonl"), 200 * MIB)
    want = md5(source)
    tools = ["cat", "dd", "pipe", "rsync"] if SLOW > 1 else [
        "cat", "dd", "tee", "pipe", "rsync", "rsync --inplace"]
    for tool in tools:
        dest = mount.path("batch", tool.replace(" ", ""))
        bash("set -e; " + SCRIPTS[tool], source, dest)
        assert (xattr(dest, "parts"), xattr(dest, "md5")) == ("4/4", want), tool
        found = server.files(filename=tool.replace(" ", ""))
        assert [x["bytes"] for x in found] == [200 * MIB], tool
        assert server.content_md5(found[0]["id"]) == (200 * MIB, want), tool
        run(["rm", dest])
    assert_nothing_pending(server)


def test_tar(world, server, mount, source):
    """The archive is the one that tar writes elsewhere."""
    folder = world.path("folder")
    os.mkdir(folder)
    shutil.copyfile(source, os.path.join(folder, "one"))
    shutil.copyfile(source, os.path.join(folder, "two"))
    plain = world.path("plain.tar")
    run(["tar", "-cf", plain, "-C", folder, "one", "two"])
    dest = mount.path("user_data", "all.tar")
    run(["tar", "-cf", dest, "-C", folder, "one", "two"])
    assert xattr(dest, "md5") == md5(plain)
    files = server.files()
    assert [(x["filename"], x["bytes"]) for x in files] == [("all.tar", os.path.getsize(plain))]
    assert run(["tar", "-df", dest, "-C", folder]).stdout == ""
    assert_nothing_pending(server)


def test_group_of_commands(world, server, mount, source):
    """(echo a; cat f; echo b) > file: the shell's close is the one that counts."""
    whole = world.path("whole")
    script = '(echo a; cat "$1"; echo b) > "$2"'
    bash(script, source, whole)
    dest = mount.path("batch", "group.jsonl")
    bash(script, source, dest)
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, whole)


def test_killed_writer_publishes_nothing(server, mount, source):
    """SIGKILL in the middle: status aborted, no File; `publish` ends that state."""
    dest = mount.path("batch", "partial.jsonl")
    python("""
import os, signal, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, data)
os.kill(os.getpid(), signal.SIGKILL)
""", source, dest, check=False)
    wait_until(lambda: xattr(dest, "status") == "aborted", "the file is aborted")
    assert server.files() == []
    assert server.journal(op="complete") == []
    run(["cmp", source, dest])
    run(["setfattr", "-n", "user.upload.publish", "-v", "1", dest])
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)


def test_empty_file_stays_here(server, mount):
    """The API knows no empty File: it is listed, and nothing is sent."""
    dest = mount.path("batch", "empty")
    bash(': > "$1"', dest)
    wait_until(lambda: xattr(dest, "status") == "empty", "the file is found empty")
    assert os.listdir(mount.path("batch")) == ["empty"]
    assert server.journal(op="create") == []


def test_written_again(server, mount, source):
    """The second version supersedes the first: one File in the end."""
    dest = mount.path("batch", "out.jsonl")
    bash('echo first > "$1"', dest)
    first = xattr(dest, "file_id")
    run(["cp", source, dest])
    wait_until(lambda: len(server.files()) == 1, "the first File is deleted")
    assert assert_published(server, dest, source) != first


def test_fallocate_command(server, mount, source):
    """A file of zeros is a file; what dd then writes into it supersedes that."""
    dest = mount.path("batch", "out.jsonl")
    bash('fallocate -l $(stat -c %s "$1") "$2" && dd if="$1" of="$2" conv=notrunc bs=100K',
         source, dest)
    wait_until(lambda: len(server.files()) == 1, "the first File is deleted")
    assert_published(server, dest, source)


def test_late_write(world, server, mount):
    """Bytes written after a close that published make a new File of the whole."""
    dest = mount.path("batch", "log.jsonl")
    python("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
g = os.dup(f)
os.write(f, b"one" * 500000)
os.close(f)
os.write(g, b"two")
os.close(g)
""", dest)
    whole = world.path("whole")
    with open(whole, "wb") as f:
        f.write(b"one" * 500000 + b"two")
    wait_until(lambda: len(server.files()) == 1, "the first File is deleted")
    assert_published(server, dest, whole)
