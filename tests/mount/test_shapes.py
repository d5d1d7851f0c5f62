"""Sizes at the borders of a part, and writes that are not one after the other."""
import pytest

from harness import MIB, assert_published, make_file, python, run

PART = 64 * MIB
BLOCK = 16 * MIB


@pytest.mark.parametrize("size,parts", [
    (1, [1]), (BLOCK, [BLOCK]), (BLOCK + 1, [BLOCK, 1]), (PART, [BLOCK] * 4), (PART + 1, [PART, 1]),
])
def test_size_at_the_border(world, size, parts):
    """With the real part size. The end of the file goes in Parts of a quarter of it."""
    server = world.server()
    mount = world.mount(server, part_size=None)
    source = make_file(world.path("source"), size)
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    assert_published(server, dest, source, parts=len(parts))
    assert [x["bytes"] for x in server.files()[0]["parts"]] == parts
    assert sorted(x["bytes"] for x in server.journal(op="part", status=200)) == sorted(parts)


@pytest.mark.parametrize("size,parts", [(MIB - 1, 1), (MIB, 1), (MIB + 1, 2), (4 * MIB, 4)])
def test_size_of_small_parts(world, server, mount, size, parts):
    source = make_file(world.path("source"), size)
    dest = mount.path("batch", "f")
    run(["cp", source, dest])
    assert_published(server, dest, source, parts=parts)


# Each writes sys.argv[1], the same in the mount as on the local disk.
SHAPES = {
    "a hole": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b"head")
os.pwrite(f, b"tail", 3 * 1048576 + 5)
os.close(f)
""", 4),
    "a hole at the end": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b"head")
os.ftruncate(f, 2 * 1048576 + 1)
os.close(f)
""", 3),
    "a hole at the start": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.pwrite(f, b"x" * 1000, 2 * 1048576)
os.close(f)
""", 3),
    "written backwards": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
for i in reversed(range(40)):
    os.pwrite(f, (b"%07d." % i) * 12500, i * 100000)
os.close(f)
""", 4),
    "a header rewritten after the body": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b"0" * 4096)
for i in range(45):
    os.write(f, (b"%07d." % i) * 12500)
os.pwrite(f, b"the header, known only now", 0)
os.close(f)
""", 5),
    "a declared size, a header rewritten": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.ftruncate(f, 45 * 100000)
for i in range(45):
    os.write(f, (b"%07d." % i) * 12500)
os.pwrite(f, b"the header, known only now", 0)
os.close(f)
""", 5),
    "the middle rewritten again and again": ("""
import os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
for i in range(45):
    os.write(f, (b"%07d." % i) * 12500)
    os.pwrite(f, b"%d" % i, i * 50000)
os.close(f)
""", 5),
    "cut and appended": ("""
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
os.write(f, b"a" * 3000000)
os.ftruncate(f, 1500000)
os.lseek(f, 0, os.SEEK_END)
os.write(f, b"b" * 1000000)
os.close(f)
""", 3),
    "random order": ("""
import os, random, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
order = list(range(50))
random.Random(7).shuffle(order)
for i in order:
    os.pwrite(f, (b"%07d." % i) * 8192, i * 65536)
os.close(f)
""", 4),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(world, server, mount, shape):
    script, parts = SHAPES[shape]
    plain = world.path("plain")
    python(script, plain)
    dest = mount.path("batch", "f")
    python(script, dest)
    assert_published(server, dest, plain, parts=parts)


def test_declared_by_xattr(server, mount, source):
    """user.upload.size starts the Upload before the first byte; a wrong size is an error."""
    script = """
import os, sys
data = open(sys.argv[1], "rb").read()
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o644)
os.setxattr(sys.argv[2], "user.upload.size", b"%d" % (len(data) + int(sys.argv[3])))
os.write(f, data)
try:
    os.close(f)
except OSError as exc:
    print(exc.errno)
"""
    assert python(script, source, mount.path("batch", "right"), 0).stdout == ""
    assert_published(server, mount.path("batch", "right"), source, parts=6)
    mount.may_fail = True
    assert python(script, source, mount.path("batch", "wrong"), 1).stdout == "5\n"
    assert [x["filename"] for x in server.files()] == ["right"]
    run(["cmp", source, mount.path("batch", "wrong")])
