"""What make releases makes of a release's log. The runs themselves want root, network and minutes."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import releases  # noqa: E402

BUILT = "I: Base system installed\n== packages\n== versions gcc=10.2.1 fuse3=3.10.3\n== build\n"
GOOD = BUILT + "== unit\nunit 587 passed\n588 passed, 0 failed\n== demo\nequal\n"


def test_all_is_well():
    assert releases.outcome(GOOD + "== end\n") == (True, [
        "gcc 10.2.1", "fuse3 3.10.3", "packages ok", "build ok", "unit 588 passed, 0 failed",
        "demo ok"])


def test_what_failed_is_said():
    """The step that did not get to its end, and none behind it; never a pass."""
    assert releases.outcome("E: no such mirror\n") == (False, ["the root FAILED"])
    assert releases.outcome("== packages\nE: no\n") == (False, ["packages FAILED"])
    assert releases.outcome(BUILT + "x.c:1: error\n")[1][-1] == "build FAILED"
    ok, words = releases.outcome(BUILT + "== unit\n586 passed, 2 failed\nmake: *** [unit] Error 1\n")
    assert not ok and words[-1] == "unit 586 passed, 2 failed"
    assert releases.outcome(GOOD)[1][-1] == "demo FAILED" and not releases.outcome(GOOD)[0]


def test_no_fuse_is_said():
    ok, words = releases.outcome(GOOD.replace("equal", "== no-fuse") + "== end\n")
    assert ok and words[-1] == "no /dev/fuse, so no demo"


def test_the_mirror_is_asked_for(tmp_path, monkeypatch):
    """From apt, or the environment; none is written down here."""
    own = tmp_path / "apt-get"
    own.write_text("#!/bin/sh\necho http://mirror.example/debian\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("MIRROR", raising=False)
    assert releases.mirror() == "http://mirror.example/debian"
    monkeypatch.setenv("MIRROR", "http://other.example/debian")
    assert releases.mirror() == "http://other.example/debian"
