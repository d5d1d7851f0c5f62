"""Services beside OpenAI's: the core of writing, on each that uploads-server can play."""

import os
import re
import subprocess
import sys

import pytest

from harness import DEADLINE, KEY, MIB, assert_published, bash, make_file, run, wait_until, xattr

# The server's flavor, and what the mount is told.
FLAVORS = {
    "azure": ("azure", {}),
    "azure-dated": ("azure", {"api_version": "2024-10-21"}),
    "sequential": ("sequential", {"parallel": "1", "part_size": "5M"}),
    "files-only": ("files-only", {}),
}
SIZE = 5 * MIB + 12345
# As the server says it, which depends on who is first.
OVERTOOK = {"op": "part", "times": 0, "action": "status", "status": 400, "code": "",
            "message": "Another Part overtook this one: send them one after the other."}


class Rig:
    def __init__(self, world, flavor, **options):
        name, words = FLAVORS[flavor]
        self.world = world
        self.server = world.server("--flavor", name)
        self.mount = world.mount(self.server, **{**words, **options})
        self.source = make_file(world.path("source"), SIZE)
        self.dest = self.mount.path("batch", "out.jsonl")
        # The request with which the File comes to be.
        self.last = "upload_file" if flavor == "files-only" else "complete"


@pytest.fixture
def rig(request, world):
    return Rig(world, request.param, retry_timeout="20")


@pytest.mark.parametrize("rig", FLAVORS, indirect=True)
def test_cp(rig):
    """A File with the right bytes, read back by another mount, replaced, and removed."""
    run(["cp", rig.source, rig.dest])
    assert_published(rig.server, rig.dest, rig.source, purpose="batch")
    other = rig.world.mount(rig.server, **rig.mount.options)
    run(["cmp", rig.source, other.path("batch", "out.jsonl")])
    second = make_file(rig.world.path("second"), 70000)
    run(["cp", second, rig.mount.path("batch", "other")])
    run(["rm", rig.mount.path("batch", "other")])
    run(["cp", second, rig.dest])
    assert_published(rig.server, rig.dest, second)
    run(["rm", rig.dest])
    assert rig.server.files() == []
    if rig.last == "upload_file":
        # Asked twice, for all files.
        assert [x["status"] for x in rig.server.journal(op="create")] == [404, 404]
    if rig.server.base == "/v1":
        return
    dated = "api_version" in rig.mount.options
    paths = [x["path"] for x in rig.server.journal() if x["op"] == "part"]
    assert paths and all(p.startswith("/openai/v1/") != dated for p in paths)


def some(*flavors):
    """These in every build, the others in the plain one: what differs is in few places."""
    return pytest.mark.parametrize("rig", [
        pytest.param(x, marks=() if x in flavors else pytest.mark.plain)
        for x in FLAVORS if x != "azure-dated"], indirect=True)


@some("files-only")
def test_update_and_rename(rig):
    """Written in place, appended to, and renamed: each time one File, with the right bytes."""
    run(["cp", rig.source, rig.dest])
    for path in (rig.source, rig.dest):
        run(["dd", "if=/dev/zero", "of=" + path, "bs=1000", "seek=6000", "count=3", "conv=notrunc"])
        bash('echo "one more line" >> "$1"', path)
    assert_published(rig.server, rig.dest, rig.source)
    # Azure has no user_data, and hands out no content of assistants.
    purpose = "fine-tune" if rig.server.base != "/v1" else "user_data"
    moved = rig.mount.path(purpose, "moved.txt")
    run(["mv", rig.dest, moved])
    assert [(x["filename"], x["purpose"]) for x in rig.server.files()] == [("moved.txt", purpose)]
    run(["cmp", rig.source, moved])
    assert not os.path.exists(rig.dest)


@some("azure")
def test_refused(rig):
    """In words of the service; with the cause gone the bytes that stayed become a File."""
    rig.mount.may_fail = True
    rig.server.faults([{"op": rig.last, "times": 0, "action": "status", "status": 400,
                        "code": "odd", "message": "We do not want it"}])
    result = run(["cp", rig.source, rig.dest], check=False)
    assert result.returncode == 1 and "Invalid argument" in result.stderr
    assert xattr(rig.dest, "status") == "failed"
    assert "HTTP 400 odd: We do not want it" in xattr(rig.dest, "error")
    assert rig.server.files() == []
    rig.server.faults([])
    run(["setfattr", "-n", "user.upload.publish", "-v", "1", rig.dest])
    assert_published(rig.server, rig.dest, rig.source)


@some("files-only")
def test_lost_reply(rig):
    """The work was done, the reply did not come: no second File, no failure."""
    rig.server.faults([{"op": rig.last, "action": "drop"}])
    run(["cp", rig.source, rig.dest])
    assert_published(rig.server, rig.dest, rig.source)


@some("files-only")
def test_killed_daemon(rig):
    """It dies while the service makes the File: the next one finds it, and makes no other."""
    rig.server.faults([{"op": rig.last, "action": "stall", "when": "after"}])
    proc = subprocess.Popen(["cp", rig.source, rig.dest], stderr=subprocess.DEVNULL)
    try:
        wait_until(rig.server.files, "the File is made")
        rig.mount.kill()
        proc.wait(DEADLINE)
    finally:
        proc.kill()
        proc.wait()
    rig.server.faults([])
    rig.mount.remount()
    wait_until(lambda: xattr(rig.dest, "status") == "completed", "the File is found")
    # The MD5 is of what this daemon has published; the bytes are what counts.
    assert [x["bytes"] for x in rig.server.files()] == [SIZE]
    run(["cmp", rig.source, rig.dest])


@pytest.mark.plain
def test_large_as_a_whole(world):
    """One request, streamed from the staged file: the daemon's memory does not grow."""
    rig = Rig(world, "files-only")
    run(["cp", rig.source, rig.dest])
    before = rig.mount.memory("VmHWM")
    source = make_file(world.path("large"), 150 * MIB)
    run(["cp", source, rig.dest])
    assert_published(rig.server, rig.dest, source)
    assert rig.mount.memory("VmHWM") < before + 40 * MIB


@pytest.mark.parametrize("rig", ["azure"], indirect=True)
def test_purpose_that_azure_does_not_take(rig):
    """Its own words say which it takes; moved there, the bytes become a File."""
    rig.mount.may_fail = True
    dest = rig.mount.path("user_data", "f")
    result = run(["cp", rig.source, dest], check=False)
    assert result.returncode == 1 and "Invalid argument" in result.stderr
    assert re.search("invalidPayload: 'user_data' is not one of .*'fine-tune'", xattr(dest, "error"))
    run(["mv", dest, rig.dest])
    run(["setfattr", "-n", "user.upload.publish", "-v", "1", rig.dest])
    assert_published(rig.server, rig.dest, rig.source, purpose="batch")


def test_azure_key_in_the_environment(world):
    """Not one byte of it stays to be read; OpenAI's own is not sent to Azure."""
    server = world.server("--flavor", "azure")
    mount = world.mount(server)
    with open(f"/proc/{mount.pid}/environ", "rb") as f:
        assert KEY.encode() not in f.read()
    result = run([mount.argv()[0], world.path(), "-f"], check=False,
                 env={"OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "",
                      "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com"})
    assert result.returncode == 2 and "azure:https://me.openai.azure.com" in result.stderr
    assert KEY not in result.stderr


REWRITE = """
import os, sys
data = bytearray(open(sys.argv[1], "rb").read())
with open(sys.argv[2], "wb", buffering=0) as f:
    os.ftruncate(f.fileno(), len(data))
    f.write(data)
    os.read(0, 1)
    f.seek(6 << 20)
    f.write(b"a later thought")
data[6 << 20:(6 << 20) + 15] = b"a later thought"
open(sys.argv[1], "wb").write(data)
"""


@pytest.mark.plain
def test_sequential_rewritten(world):
    """A Part that is in is written to: what lies behind it is sent again as well, in order."""
    rig = Rig(world, "sequential")
    source = make_file(world.path("large"), 16 * MIB)
    proc = subprocess.Popen([sys.executable, "-B", "-c", REWRITE, source, rig.dest],
                            stdin=subprocess.PIPE)
    try:
        wait_until(lambda: len(rig.server.journal(op="part", status=200)) == 4, "all Parts are in")
        proc.stdin.write(b"x")
        proc.stdin.close()
        assert proc.wait(DEADLINE) == 0
    finally:
        proc.kill()
        proc.wait()
    assert_published(rig.server, rig.dest, source, parts=4)
    sent = [x["bytes"] for x in rig.server.journal(op="part", status=200)]
    assert sent == [5 * MIB, 5 * MIB, 5 * MIB, MIB, 5 * MIB, 5 * MIB, MIB]
    assert len(rig.server.journal(op="create")) == 1


@pytest.mark.plain
def test_sequential_files_take_turns(world):
    """Eight files of several Parts at once: no Part overtakes another one of its file."""
    rig = Rig(world, "sequential")
    bash('for i in 1 2 3 4 5 6 7 8; do cp "$1" "$2/f$i" & pids="$pids $!"; done;'
         'for p in $pids; do wait $p || exit 1; done', rig.source, rig.mount.path("batch"))
    assert len(rig.server.files(bytes=SIZE)) == 8
    parts = rig.server.journal(op="part")
    # 0: given up by the daemon, for whole Parts of others while cp paused; sent again later.
    assert not [x for x in parts if x["status"] not in (200, 0)]
    uploads = {x["upload_id"] for x in parts}
    assert len(uploads) == 8
    for upload in uploads:
        done = [x["bytes"] for x in parts if x["upload_id"] == upload and x["status"] == 200]
        assert done == [5 * MIB, SIZE - 5 * MIB]


def test_sequential_with_other_options(world):
    """Parts that are too small, or overtake each other: the next step is an option."""
    for words, rules in (({"part_size": "4M"}, []), ({"parallel": "4"}, [OVERTOOK])):
        server = world.server("--flavor", "sequential")
        server.faults(rules)
        mount = world.mount(server, **{**FLAVORS["sequential"][1], **words})
        mount.may_fail = True
        dest = mount.path("batch", "f")
        source = make_file(world.path("source"), SIZE)
        assert run(["cp", source, dest], check=False).returncode == 1
        assert re.match(r"HTTP 400 .*(smaller than the minimum|overtook).*; check -o parallel "
                        r"\(1 sends Parts one after the other\) and -o part_size",
                        xattr(dest, "error"))
        os.unlink(dest)


@pytest.mark.plain
@pytest.mark.parametrize("status", [405, 501])
def test_other_ways_to_have_no_uploads(world, status):
    """What else servers answer that have none; 501 is not waited for."""
    server = world.server()
    mount = world.mount(server, retry_timeout="60")
    server.faults([{"op": "create", "action": "status", "status": status, "times": 0}])
    source = make_file(world.path("source"), 1000)
    run(["cp", source, mount.path("batch", "a")])
    assert_published(server, mount.path("batch", "a"), source)
    assert "no /uploads" in mount.log()
    assert len(server.journal(op="create")) == 2
