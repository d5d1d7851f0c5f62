"""cp of a large file: streamed in parallel parts, checked, and there to be read."""
import errno
import os
import shutil

import pytest

from harness import (DEADLINE, MIB, FrozenCopy, assert_nothing_pending, assert_published, make_file,
                     md5, run, wait_until, xattr)


def overlap(a, b):
    return a["t_start_ms"] < b["t_end_ms"] and b["t_start_ms"] < a["t_end_ms"]


@pytest.mark.no_tsan  # sheer size
def test_200_mib_in_64_mib_parts(world):
    """
    One Upload; parts of 64, 64, 64 and 8 MiB, in parallel; the right MD5. cp is
    stopped in the middle: the first part arrives while the rest is not yet written.
    """
    server = world.server()
    # Its reply takes a while, so that parts sent in parallel are seen to overlap.
    server.faults([{"op": "part", "nth": 2, "action": "delay", "seconds": 3}])
    mount = world.mount(server, part_size="64M", parallel="4")
    source = make_file(world.path("train.jsonl"), 200 * MIB)
    dest = mount.path("fine-tune", "train.jsonl")
    copy = FrozenCopy(source, dest, at=66 * MIB)
    try:
        first = wait_until(lambda: server.journal(copy.since, op="part", status=200),
                           "the first part arrives")
        assert [x["bytes"] for x in first] == [64 * MIB]
        assert copy.read < 200 * MIB
        assert xattr(dest, "status") == "streaming"
        code, err = copy.finish()
    finally:
        copy.close()
    assert (code, err) == (0, "")
    file_id = assert_published(server, dest, source, purpose="fine-tune", parts=4)

    assert len(server.journal(copy.since, op="create")) == 1
    kept = [x["bytes"] for x in server.files()[0]["parts"]]
    assert kept == [64 * MIB, 64 * MIB, 64 * MIB, 8 * MIB]
    parts = server.journal(copy.since, op="part")
    assert sorted(x["bytes"] for x in parts) == [8 * MIB, 64 * MIB, 64 * MIB, 64 * MIB]
    assert all(x["status"] == 200 for x in parts)
    assert any(overlap(a, b) for a in parts for b in parts if a is not b)
    complete = server.journal(copy.since, op="complete")
    assert [(x["status"], x["md5"]) for x in complete] == [(200, md5(source))]
    shown = run(["getfattr", "--only-values", "-n", "user.upload.file_id", dest]).stdout
    assert shown == file_id


def test_small_file_and_getfattr(server, mount, source):
    """Six parts, all the attributes of a completed file."""
    dest = mount.path("batch", "in.jsonl")
    run(["cp", source, dest])
    file_id = assert_published(server, dest, source, purpose="batch", parts=6)
    shown = run(["getfattr", "--absolute-names", "-d", dest]).stdout
    for line in (f'user.upload.file_id="{file_id}"', 'user.upload.status="completed"',
                 f'user.upload.md5="{md5(source)}"', 'user.upload.parts="6/6"',
                 'user.upload.filename="in.jsonl"', 'user.upload.purpose="batch"',
                 f'user.upload.bytes="{os.path.getsize(source)}"'):
        assert line in shown.splitlines()
    assert xattr(dest, "error") is None
    with pytest.raises(OSError) as caught:
        os.setxattr(dest, "user.upload.md5", b"0")
    assert caught.value.errno == errno.EOPNOTSUPP


def test_every_purpose(server, mount, source):
    """The directory is the purpose, for all that can be written to."""
    purposes = ["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]
    assert set(purposes) <= set(os.listdir(mount.mnt))
    for purpose in purposes:
        run(["cp", source, mount.path(purpose, purpose + ".jsonl")])
        run(["cmp", source, mount.path(purpose, purpose + ".jsonl")])
    assert sorted((x["filename"], x["purpose"], x["bytes"]) for x in server.files()) == sorted(
        (x + ".jsonl", x, os.path.getsize(source)) for x in purposes)
    assert_nothing_pending(server)


def test_read_on_another_mount(world, server, mount, source):
    """A completed File, read where nothing is cached: whole, and from the middle."""
    run(["cp", source, mount.path("batch", "in.jsonl")])
    other = world.mount(server)
    path = other.path("batch", "in.jsonl")
    assert os.listdir(other.path("batch")) == ["in.jsonl"]
    assert os.path.getsize(path) == os.path.getsize(source)
    assert xattr(path, "file_id") == xattr(mount.path("batch", "in.jsonl"), "file_id")
    with open(path, "rb") as ours, open(source, "rb") as theirs:
        for offset, size in ((3 * MIB + 17, 70000), (0, 1), (5 * MIB + 12345 - 3, 100)):
            assert os.pread(ours.fileno(), size, offset) == os.pread(theirs.fileno(), size, offset)
    run(["cmp", source, path])
    shutil.copyfile(path, world.path("back"))
    assert md5(world.path("back")) == md5(source)


def test_not_downloadable(world, server, mount, source):
    """What the service does not hand out can be read where it was written, and only there."""
    run(["cp", source, mount.path("user_data", "notes.txt")])
    run(["cmp", source, mount.path("user_data", "notes.txt")])
    other = world.mount(server)
    result = run(["cat", other.path("user_data", "notes.txt")], check=False)
    assert result.returncode == 1 and "Permission denied" in result.stderr


def test_eight_at_once(server, mount, source):
    """Eight cp at once: each its own File, whole."""
    script = 'for i in 1 2 3 4 5 6 7 8; do cp "$1" "$2/f$i.jsonl" & pids="$pids $!"; done;' \
             'for p in $pids; do wait $p || exit 1; done'
    run(["bash", "-c", script, "bash", source, mount.path("batch")], timeout=DEADLINE * 2)
    files = server.files()
    assert sorted(x["filename"] for x in files) == [f"f{i}.jsonl" for i in range(1, 9)]
    want = (os.path.getsize(source), md5(source))
    assert {server.content_md5(x["id"]) for x in files} == {want}
    assert_nothing_pending(server)


def test_unlink(server, mount, source):
    """rm of a published file deletes its File; the other one stays."""
    for name in ("a", "b"):
        run(["cp", source, mount.path("batch", name)])
    run(["rm", mount.path("batch", "a")])
    assert os.listdir(mount.path("batch")) == ["b"]
    wait_until(lambda: [x["filename"] for x in server.files()] == ["b"], "File a is deleted")
