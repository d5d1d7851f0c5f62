"""Fixtures: world (everything a test starts), server, mount (1 MiB parts), source."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import accounts  # noqa: E402
import harness  # noqa: E402

WORLD = pytest.StashKey()
FAILED = pytest.StashKey()


@pytest.fixture
def world(request):
    world = harness.World()
    request.node.stash[WORLD] = world
    yield world
    if request.node.stash.get(FAILED, False):
        world.let_go()
    world.close()


@pytest.fixture
def server(world):
    return world.server()


@pytest.fixture
def account():
    """A service with Files that uploads-server would not make; without uploads."""
    account = accounts.Account()
    yield account
    account.close()


@pytest.fixture
def mount(world, server):
    return world.mount(server)


@pytest.fixture
def source(world):
    """A file of 5 MiB and a bit: six parts of 1 MiB, the last one short."""
    return harness.make_file(world.path("source.jsonl"), 5 * harness.MIB + 12345)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its daemons had to say."""
    outcome = yield
    report = outcome.get_result()
    world = item.stash.get(WORLD, None)
    if report.failed:
        item.stash[FAILED] = True
    if report.when == "call" and report.failed and world:
        for name, text in world.logs():
            report.sections.append((name, text))
