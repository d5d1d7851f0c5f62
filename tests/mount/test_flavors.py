"""Services beside OpenAI's: the core of writing, on each that uploads-server can play."""

import subprocess
import sys

import pytest

from harness import DEADLINE, KEY, MIB, assert_published, bash, make_file, run, wait_until

# The server's flavor, and what the mount is told.
FLAVORS = {
    "azure": ("azure", {}),
    "azure-dated": ("azure", {"api_version": "2024-10-21"}),
    "sequential": ("sequential", {"parallel": "1", "part_size": "5M"}),
}
SIZE = 5 * MIB + 12345


class Rig:
    def __init__(self, world, flavor, **options):
        name, words = FLAVORS[flavor]
        self.world = world
        self.server = world.server("--flavor", name)
        self.mount = world.mount(self.server, **{**words, **options})
        self.source = make_file(world.path("source"), SIZE)
        self.dest = self.mount.path("batch", "out.jsonl")


@pytest.fixture(params=FLAVORS)
def rig(request, world):
    return Rig(world, request.param)


def test_cp(rig):
    """A File with the right bytes, read back by another mount, replaced, and removed."""
    run(["cp", rig.source, rig.dest])
    assert_published(rig.server, rig.dest, rig.source, purpose="batch")
    other = rig.world.mount(rig.server, **rig.mount.options)
    run(["cmp", rig.source, other.path("batch", "out.jsonl")])
    second = make_file(rig.world.path("second"), 70000)
    run(["cp", second, rig.dest])
    assert_published(rig.server, rig.dest, second)
    run(["rm", rig.dest])
    assert rig.server.files() == []
    if rig.server.base == "/v1":
        return
    dated = "api_version" in rig.mount.options
    paths = [x["path"] for x in rig.server.journal() if x["op"] == "part"]
    assert paths and all(p.startswith("/openai/v1/") != dated for p in paths)


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
    assert not [x for x in rig.server.journal(op="part") if x["status"] != 200]
