"""Tools as people use them: the same in the mount as on a disk, and one File a name."""
import os
import shutil

import pytest

from harness import bash, run, wait_until
from parity import Parity
from trees import attributes_of, make_tree, noise, write_bytes


@pytest.fixture
def parity(world, server, mount):
    return Parity(world, server, mount)


@pytest.fixture
def tree(world):
    return make_tree(world.path("tree"), 12)


def test_copies_of_a_tree(parity, tree, world, server, mount):
    """cp, tar, mv into, within, between and out of; times and modes where they are kept."""
    parity("cp-r", 'cp -r "$1" t', tree)
    parity("cp-a", 'cp -a "$1" t && diff -r "$1" t', tree)
    assert attributes_of(mount.path("batch", "cp-a", "t")) == attributes_of(tree)
    parity("tar", 'tar c --format=posix -C "${1%/*}" tree | tar x; tar cf t.tar --sort=name tree'
           '; tar tf t.tar | sort', tree)
    assert attributes_of(mount.path("batch", "tar", "tree")) == attributes_of(tree)
    parity("mv", 'cp -a "$1" t; mv t u; cd u/a; mv "with blank 1" ../moved; cd ../x/y/z; mv w/glob* .; ls -R',
           tree)
    # Into the mount, to another purpose, and out: the two sides are one and the same.
    work = world.path("work")
    shutil.copytree(tree, work)
    for dest in (mount.path("batch", "in"), mount.path("evals", "in"), world.path("out")):
        run(["mv", work, dest])
        assert not os.path.exists(work)
        run(["diff", "-r", tree, dest])
        assert attributes_of(dest) == attributes_of(tree)
        work = dest
    assert server.files(purpose="evals") == []
    assert not [x for x in server.files() if x["filename"].startswith("in/")]


SCRIPTS = {
    "install": """install -m 640 "$1/in" a; install -m 600 "$1/in" a; install -D -m 755 "$1/in" d/e/a
                  stat -c '%n %a %s' a d/e/a""",
    "sed-i": "seq 999 > s; sed -i s/5/FIVE/ s; sed -i.bak s/6/SIX/ s; md5sum *",
    "perl-i": "seq 99 > p; perl -pi -e 's/1/ONE/' p; perl -pi.orig -e 's/2/TWO/' p",
    "patch": """seq 99 > a; sed s/5/x/ a > b; diff a b > p || true; patch -s a p; cmp a b
                diff b p > q || true; patch -sb b < q; ls -A""",
    "gzip": """seq 9999 > n; gzip -nk n; gzip -t n.gz; rm n; gunzip n.gz; gzip -n9 n
               gunzip -c n.gz | md5sum""",
    "split": """split -b 9k "$1/big" part.; cat part.* | cmp - "$1/big"; rm part.a*
                seq 99 | split -n r/3; cat x*""",
    "tee": "echo a | tee t; echo b | tee -a t u; tee < t v w > /dev/null; cat t w",
    "touch": """touch a; echo x > b; touch -d '2001-02-03 04:05:06.123456789' a b; touch -r b c
                stat -c '%n %s %y' a b c; touch -c none; ls""",
    "truncate": """cp "$1/big" t; truncate -s 12345 t; truncate -s +99 t; echo more >> t
                   truncate -s 0 e; truncate -s 3M h; tail -c 9 h | od -c; cp t u; truncate -s 0 u""",
    "dd": """cp "$1/big" d; dd if="$1/in" of=d bs=7 seek=3000 conv=notrunc status=none
             dd if="$1/in" of=d oflag=append conv=notrunc status=none
             dd if="$1/big" of=e bs=4k seek=9 skip=2 conv=fsync status=none
             dd if="$1/big" of=f bs=64k oflag=direct status=none 2>&1 || true; rm -f f; md5sum d e""",
    "rewrite": """sort -r "$1/in" > a; sort a -o a; echo 1 > b; echo 2 > b; echo 3 >> b; cat b
                  exec 3<>b; echo 4 >&3; exec 3>&-; cat b; cat < a > c; cp c a; : > c; cp a d; cp /dev/null d; cp a f; : > g; mv g f""",
    "dirs": """mkdir -p a/b/c/d; mkdir -p a/b/c/d; echo 1 > a/b/c/d/e; cp -r a g; mkdir h; mv h a/i
               rmdir a/i; find . | sort; rm -r a; find g -delete; mkdir k; mv k l; ls""",
    "du": """cp "$1/big" b; cp b c; echo 1 > a; du -b a b c | cut -f1; wc -c *; ls -s --block-size=1M b | cut -d' ' -f1; stat -c %h a""",
    "holes": """dd if="$1/in" of=h bs=1 seek=300000 status=none; cp --sparse=always h i; cmp h i
                cp --sparse=never h j; cp --reflink=auto h k; tail -c 9 k; cmp j k; md5sum h""",
    "shell": """exec 4> log; for i in 1 2 3; do (echo $i >&4); done; exec 4>&-; cat log
                { echo a; echo b 1>&2; } > o 2> e; (sleep 0; echo late) > l & wait; cat o e l""",
    "tails": """seq 9 > a; tail -n 2 a; head -c 5 a; tac a; wc -l a; cut -c1 a | paste -sd+; cmp a a
                grep -c 1 a; awk 'END { print NR > "nr" }' a; cat nr; join a a | head -1; xargs -n3 < a""",
    "exec": """cp /bin/echo e; ./e ran; cp "$1/script" s; chmod +x s; ./s; chmod 755 s; ./s""",
    "names": """echo 1 > 'a b'; echo 2 > "q'\\"x"; echo 3 > 'ü日本'; echo 4 > -- ; echo 5 > '*'
                echo 6 > 'back\\slash'; echo 7 > '~tilde'; echo 8 > 'x~file-1'; cat ./*; ls -A | md5sum""",
    "flock": "flock l echo locked; flock l -c 'echo 1 > m'; flock -n l true; cat m",
}


@pytest.mark.plain
def test_scripts(parity, world):
    """Each of them, on the disk and in the mount."""
    things = world.path("things")
    os.mkdir(things)
    write_bytes(os.path.join(things, "in"), b"some lines\nof text\nto work on\n" * 9)
    write_bytes(os.path.join(things, "big"), noise(70_000))
    write_bytes(os.path.join(things, "script"), b"#!/bin/sh\necho script ran\n")
    for name, script in SCRIPTS.items():
        parity(name, script, things)


def test_moved_with_keep_old(world, server):
    """What is overwritten is kept; the name that a File was moved from is gone all the same."""
    mount = world.mount(server, "keep_old", list_ttl="1")
    work = mount.path("batch", "k")
    os.mkdir(work)

    def names():
        return sorted((x["filename"], x["bytes"]) for x in server.files())

    bash("cd $1; echo 1 > a; echo 22 > b; mv a c; mv b c; mv c d", work)
    wait_until(lambda: names() == [("k/c", 2), ("k/d", 3)], "the moved Files' names are gone")
    bash("cd $1; cat d; echo 333 > d", work)
    assert names() == [("k/c", 2), ("k/d", 3), ("k/d", 4)]
