"""A directory of content that hosts share: looked at before the service is asked."""
import os
import shutil
import signal
import threading

import pytest

from harness import MIB, make_file, md5, run, wait_until, xattr
from shelf import downloads, put
from test_cli import argv

SIZE = 3 * MIB + 77


def names(shared, end=""):
    """The content there, or the files with that ending."""
    found = sorted(os.listdir(shared))
    if end:
        return [n for n in found if n.endswith(end)]
    return [n for n in found if n.count(".") == 1]


def is_settled(shared, count=1):
    return len(names(shared)) == count and not names(shared, ".lock") and not names(shared, ".tmp")


@pytest.fixture
def shared(world):
    path = world.path("shared")
    os.mkdir(path, 0o700)
    return path


@pytest.fixture
def hosts(world, server, shared):
    """Two mounts that keep nothing themselves; the source of the File "f"."""
    source = make_file(world.path("source"), SIZE)
    put(server, f=source)
    mounts = [world.mount(server, list_ttl="1", cache_size="0", shared_cache=shared)
              for _ in range(2)]
    return [m.path("batch", "f") for m in mounts], source


def read(path, source):
    run(["cmp", source, path])


def drop_pages(path):
    """The next read asks the daemon."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def again(path, source):
    drop_pages(path)
    read(path, source)


def test_one_download_for_two_mounts(hosts, server, shared):
    (one, two), source = hosts
    read(one, source)
    read(two, source)
    assert len(downloads(server)) == 1
    wait_until(lambda: is_settled(shared), "it is stored")
    (name,) = names(shared)
    assert md5(os.path.join(shared, name)) == md5(source)
    assert name.startswith(xattr(one, "file_id"))
    assert os.stat(os.path.join(shared, name)).st_mode & 0o777 == 0o600


def test_at_the_same_time(hosts, server, shared):
    """The second waits for what the first downloads."""
    (one, two), source = hosts
    server.faults([{"op": "content", "action": "delay", "ms": 1500}])
    readers = [threading.Thread(target=read, args=(p, source)) for p in (one, two)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    wait_until(lambda: is_settled(shared), "it is stored")
    assert len(downloads(server)) == 1


def damage(path, how):
    os.chmod(path, 0o600)
    if how == "byte":
        with open(path, "r+b") as f:
            f.seek(MIB)
            byte = f.read(1)
            f.seek(MIB)
            f.write(bytes([byte[0] ^ 1]))
        return
    if how == "short":
        os.truncate(path, MIB)
        return
    if how == "long":
        os.truncate(path, SIZE + 1)
        return
    os.rename(path, path + ".was")
    if how == "link":
        os.symlink(path + ".was", path)
    elif how == "fifo":
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["byte", "short", "long", "link", "fifo"])
def test_damaged(hosts, server, shared, how):
    """What is wrong is never read, and is replaced."""
    (one, two), source = hosts
    read(one, source)
    wait_until(lambda: is_settled(shared), "it is stored")
    path = os.path.join(shared, names(shared)[0])
    damage(path, how)
    read(two, source)
    assert len(downloads(server)) == 2
    wait_until(lambda: not os.path.islink(path) and os.path.isfile(path) and
               md5(path) == md5(source), "it was replaced")


def test_damaged_with_its_md5(world, server, shared):
    """A File published by a mount is compared with its own MD5, whatever lies there."""
    source = make_file(world.path("source"), SIZE)
    mount = world.mount(server, cache_size="0", list_ttl="1", shared_cache=shared)
    path = mount.path("batch", "f")
    run(["cp", source, path])
    again(path, source)
    wait_until(lambda: is_settled(shared), "it is stored")
    there = os.path.join(shared, names(shared)[0])
    damage(there, "byte")
    with open(there + ".md5", "w", encoding="ascii") as f:
        f.write(md5(there))
    again(path, source)
    wait_until(lambda: os.path.exists(there) and md5(there) == md5(source), "it was replaced")


@pytest.mark.no_tsan  # it waits most of the time
def test_locks_left_behind(world, server, shared):
    """A dead host's lock does not block for long, and goes; nor does what is no lock."""
    source = make_file(world.path("source"), SIZE)
    kinds = ["file", "link", "fifo"]
    put(server, **dict.fromkeys(kinds, source))
    one, two = (world.mount(server, list_ttl="1", cache_size="0", shared_cache=shared)
                for _ in range(2))
    ids = {k: xattr(one.path("batch", k), "file_id") for k in kinds}
    read(one.path("batch", "file"), source)
    wait_until(lambda: is_settled(shared), "it is stored")
    (name,) = names(shared)
    locks = {k: os.path.join(shared, name.replace(ids["file"], ids[k]) + ".lock") for k in kinds}
    for n in (name, name + ".md5"):
        os.unlink(os.path.join(shared, n))
    with open(locks["file"], "w", encoding="ascii") as f:
        f.write("0123456789abcdef 00000000000000000001")
    os.symlink("/dev/zero", locks["link"])
    os.mkfifo(locks["fifo"])
    readers = [threading.Thread(target=read, args=(two.path("batch", k), source)) for k in kinds]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    wait_until(lambda: is_settled(shared, 3), "they are stored")


def test_a_reader_of_a_part(hosts, server, shared):
    """Who reads only the start holds nobody up, and stores nothing."""
    (one, two), source = hosts
    server.faults([{"op": "content", "action": "stall", "when": "during", "after_bytes": MIB,
                    "times": 1}])
    with open(one, "rb") as f:
        f.read(4096)
        read(two, source)
    wait_until(lambda: is_settled(shared), "it is stored")


@pytest.mark.parametrize("how", ["gone", "a file"])
def test_directory_out_of_order(hosts, server, shared, how):
    (one, two), source = hosts
    if how == "gone":
        os.rmdir(shared)
    else:
        os.rmdir(shared)
        make_file(shared, 1)
    read(one, source)
    read(two, source)
    if how == "a file":
        os.unlink(shared)


def test_directory_that_hangs(world, server):
    """A file server that does not answer: the mount starts, and content comes from the service."""
    source = make_file(world.path("source"), SIZE)
    put(server, f=source)
    slow = world.mount(server)
    os.kill(slow.pid, signal.SIGSTOP)
    try:
        mount = world.mount(server, cache_size="0", shared_cache=slow.path("batch"))
        read(mount.path("batch", "f"), source)
    finally:
        os.kill(slow.pid, signal.SIGCONT)
    mount.umount()
    assert "it does not answer" in mount.log()


def test_two_services(world, server, shared):
    """A File of another service with the same id is another File."""
    source, other = (make_file(world.path(n), SIZE) for n in ("source", "other"))
    ids = put(server, f=source)
    two = world.server()
    shutil.rmtree(two.dir)
    shutil.copytree(server.dir, two.dir)
    two.kill()
    (data,) = os.listdir(os.path.join(two.dir, "data", ids["f"]))
    os.unlink(os.path.join(two.dir, "data", ids["f"], data))
    shutil.copy(other, os.path.join(two.dir, "data", ids["f"], data))
    two.restart()
    for service, content in ((server, source), (two, other)):
        mount = world.mount(service, shared_cache=shared)
        read(mount.path("batch", "f"), content)
    wait_until(lambda: is_settled(shared, 2), "both are stored")


def test_refused(world, server, shared):
    """A directory where every user may write, or none at all."""
    mnt = world.path("m")
    os.mkdir(mnt)
    os.chmod(shared, 0o1777)
    for path, word in ((shared, "every user of this host may write there"),
                       (shared + "/none", "No such file or directory")):
        result = run([*argv(server.url, mnt, "-o"),
                      f"state_dir={world.path('s')},shared_cache={path}"], check=False,
                     env=server.environment("sk-x"))
        assert result.returncode == 1 and word in result.stderr
