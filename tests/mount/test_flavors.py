"""Services beside OpenAI's: the core of writing, on each that uploads-server can play."""

import pytest

from harness import KEY, MIB, assert_published, make_file, run

# The server's flavor, and what the mount is told.
FLAVORS = {
    "azure": ("azure", {}),
    "azure-dated": ("azure", {"api_version": "2024-10-21"}),
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
