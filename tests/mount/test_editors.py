"""vim and git, sqlite3 and zip: programs with temporary files, locks and renames of their own."""
import os

import pytest

from harness import bash, wait_until, xattr
from parity import Parity
from trees import assert_held, make_tree, write_bytes

VIM = "vim -Nu NONE -i NONE -es --cmd 'set directory=. backupskip= backupdir=.'"


@pytest.fixture
def parity(world, server, mount):
    return Parity(world, server, mount, env={
        "VIM": "", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TEMPLATE_DIR": "", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
        "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z", "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z"})


@pytest.mark.plain
def test_vim(parity, server, mount):
    """With and without swap and backup files, by rename and in place: the text is what is left."""
    for number, options in enumerate(("", "nobackup nowritebackup noswapfile", "backupcopy=yes",
                                      "backupcopy=no", "backup backupcopy=no",
                                      "backup backupcopy=yes", "writebackup fsync")):
        swap = "" if "noswapfile" in options else "-c preserve"
        parity(f"vim{number}", f"""seq 99 > f
               {VIM} -c 'set {options}' -c '%s/7/SEVEN/' {swap} -c wq f
               {VIM} -c 'set {options}' -c '%s/8/EIGHT/' -c w -c '$d' -c wq f; ls -A""")
    assert not [x for x in server.files() if x["filename"].endswith((".swp", ".swx", "4913"))]


def test_vim_killed(world, server, mount):
    """Its swap file is there to recover from, and is no File."""
    folder = mount.path("batch", "v")
    os.mkdir(folder)
    bash(f"""cd "$1"; seq 99 > f
         {VIM} -c '%s/7/SEVEN/' -c preserve -c '!kill -9 $PPID' f""", folder, check=False)
    swap = os.path.join(folder, ".f.swp")
    wait_until(lambda: xattr(swap, "status") == "aborted", "vim is dead")
    assert [x["filename"] for x in server.files()] == ["v/f"]
    ref = world.path("ref")
    os.mkdir(ref)
    bash("seq 99 | sed s/7/SEVEN/ > $1/f", ref)
    bash(f'cd "$1"; {VIM} -r f -c wq; rm .f.swp', folder)
    assert_held(server, "batch", "v", ref)


GIT = """
git init -q -b main repo; cd repo; seq 99 > f; mkdir d; seq 9 > d/g; git add .; git commit -qm one
seq 999 > f; git commit -qam two; git mv f h; git rm -q d/g; git commit -qm three
seq 9 > h; git stash -q; git stash pop -q; git commit -qam four; git checkout -q HEAD~2; ls -R; git checkout -qf main
git gc -q; git fsck --strict 2>&1; git log --format='%H %s'; git status --short
git clone -q . ../clone 2>&1; cd ../clone; git log --format=%H; git pull -q; ls
"""


@pytest.mark.plain
def test_git(parity, server, mount):
    """
    A repository: commit, rename, stash, checkout, gc, clone. What git keeps below
    .git (inodes, times) differs from a disk's, so the server is compared with the
    mount, which git itself has checked.
    """
    dirs = parity.local, mount.path("batch", "git")
    os.mkdir(dirs[1])
    said = [bash("set -eu; cd $1; " + GIT, x, env=parity.env).stdout for x in dirs]
    assert said[1] == said[0] and said[0].count("\n") > 15
    assert_held(server, "batch", "git", dirs[1])
    bash("rm -rf $1/clone $1/repo/.git", dirs[1])
    assert_held(server, "batch", "git", dirs[1])
    assert [x["filename"] for x in server.files()] == ["git/repo/h"]


SQL = """
sqlite3 a.db 'create table t(a, b); insert into t values(1, 2);'
for i in 1 2 3; do sqlite3 a.db "insert into t values($i, 'x'); select count(*) from t"; done
seq 3 | sed 's/.*/insert into t values(&, 1);/' | sqlite3 a.db
sqlite3 a.db 'begin; delete from t; rollback; select count(*) from t; pragma integrity_check'
for mode in delete truncate persist memory off; do
	sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a); insert into t values(1);
		begin; insert into t values(2); insert into t values(3); commit; select sum(a) from t"
done
rm -f *-journal
sqlite3 w.db 'pragma journal_mode=wal; create table t(a); insert into t values(1)'
sqlite3 w.db 'insert into t values(2); select * from t'; ls
sqlite3 a.db '.backup b.db' vacuum "vacuum into 'c.db'"; sqlite3 c.db 'select * from t'
sqlite3 a.db 'begin exclusive' ".shell sqlite3 a.db 'select count(*) from t' 2>&1 | grep -o locked"
sqlite3 w.db 'begin; select a from t' ".shell sqlite3 w.db 'insert into t values(3)'" \
	'select count(*) from t; commit; select count(*) from t'
"""


def test_sqlite(parity):
    """Several transactions, every kind of journal, the locks, and a write-ahead log (mapped)."""
    parity("sql", SQL)


ZIP = """
cp -r "$1" src; find src -exec touch -d 2001-02-03 {} +; find src | sort | zip -Xq a.zip -@
unzip -tq a.zip; zip -Xqd a.zip 'src/a/*'; zip -Xqj a.zip "src/f0.txt"; unzip -qo a.zip -d out
find out | sort; unzip -p a.zip f0.txt | cmp - src/f0.txt; cp a.zip b.zip; zip -Xqu b.zip src/a/*
rm -r src out; zip -sf b.zip | tail -1
"""


@pytest.mark.plain
def test_zip(parity, world):
    """Written, updated, cut and extracted."""
    parity("zip", ZIP, make_tree(world.path("tree"), 12))


PYTHON = """
import mmap, os, pathlib, random, shutil, struct, sys, tempfile, zipfile

data = random.Random(1).randbytes(2_300_000)


# As safetensors is saved: a temporary file, its length, a mapping, a rename onto the name.
for turn in range(3):
    fd, name = tempfile.mkstemp(dir=".")
    if turn < 2:
        os.ftruncate(fd, len(data))
        with mmap.mmap(fd, len(data)) as m:
            m[:] = data
            m.flush()
        os.fsync(fd)
    else:
        os.write(fd, data)
    os.fchmod(fd, 0o644)
    os.close(fd)
    os.replace(name, "model.safetensors")

# Temporary files that go, with bytes in them.
with tempfile.NamedTemporaryFile(dir=".") as f:
    f.write(b"x" * 100)
    f.flush()
    assert os.path.getsize(f.name) == 100
with tempfile.TemporaryFile(dir=".") as f:
    f.write(data)
    f.seek(1000)
    assert f.read(2000) == data[1000:3000]
with tempfile.TemporaryDirectory(dir=".") as d:
    pathlib.Path(d, "a").write_text("hello")

p = pathlib.Path("text")
p.write_text("one")
p.write_text("three")
with p.open("a") as f:
    f.write(" more")
print(p.read_text())

# A header that is written when the rest is there.
with open("array.npy", "wb") as f:
    f.write(bytes(128))
    f.write(data)
    f.seek(0)
    f.write(struct.pack("<Q", len(data)))

# Blocks here and there, read back meanwhile, cut at the end.
dice, want = random.Random(2), bytearray(2_500_000)
fd = os.open("data.h5", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
for _ in range(60):
    block = dice.randbytes(dice.randrange(1, 50_000))
    at = dice.randrange(len(want) - len(block))
    os.pwrite(fd, block, at)
    want[at:at + len(block)] = block
    at = dice.randrange(os.fstat(fd).st_size)
    assert os.pread(fd, 999, at) == want[at:min(at + 999, os.fstat(fd).st_size)]
os.ftruncate(fd, 2_200_000)
os.close(fd)
assert pathlib.Path("data.h5").read_bytes() == want[:2_200_000]

with zipfile.ZipFile("z.zip", "w") as z:
    z.writestr(zipfile.ZipInfo("a"), "x" * 1000)
with zipfile.ZipFile("z.zip", "a") as z:
    z.writestr(zipfile.ZipInfo("b"), "y" * 1000)
print(zipfile.ZipFile("z.zip").testzip(), zipfile.ZipFile("z.zip").namelist())

shutil.copytree(sys.argv[1], "one")
shutil.move("one", "two")
shutil.copytree("two", "three")
shutil.rmtree("two")
shutil.copy2("text", "three/text")
shutil.move("three/text", "text2")
os.replace("text2", "text")
os.rename("text", "text3")
print(sorted(os.listdir(".")), os.stat("three").st_mode & 0o777)
"""


def test_python(parity, world):
    """tempfile and os.replace, mmap, headers last, pwrite here and there, shutil, pathlib."""
    script = write_bytes(world.path("script.py"), PYTHON.encode())
    parity("python", '/usr/bin/python3 -B "$2" "$1"', make_tree(world.path("tree"), 12), script)
