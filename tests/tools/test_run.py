"""The runner counts what the tests say, and never takes a broken one for a passed one."""
import os
import re
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
sys.path.insert(0, os.path.join(TESTS, "mount"))
import harness  # noqa: E402
import run as runner  # noqa: E402
from private_root import PrivateRoot  # noqa: E402

GROUP = """
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
static void good(void **s) {{ (void)s; }}
static void bad(void **s) {{ (void)s; assert_int_equal(1, 2); }}
static void skips(void **s) {{ (void)s; skip(); }}
static void dies(void **s) {{ (void)s; exit(0); }}
int main(void)
{{
	const struct CMUnitTest tests[] = {{ {tests} }};
	(void)good; (void)bad; (void)skips; (void)dies;
	return cmocka_run_group_tests(tests, NULL, NULL);
}}
"""


@pytest.mark.parametrize("names,passed,failed", [
    (["good", "good"], 2, 0), (["good", "bad"], 1, 1), (["good", "skips"], 1, 1),
    (["good", "dies", "good"], 1, 1)])
def test_cmocka_is_counted(tmp_path, names, passed, failed):
    source, binary = tmp_path / "t.c", tmp_path / "t"
    source.write_text(GROUP.format(tests=", ".join(f"cmocka_unit_test({x})" for x in names)))
    subprocess.run(["gcc", "-w", "-o", binary, source, "-lcmocka"], check=True)
    out = subprocess.run([binary], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False, env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP"))
    good, bad = runner.parse_tap(out.stdout, out.returncode)
    assert (good, len(bad)) == (passed, failed), out.stdout


def test_time_out_is_a_failure():
    assert runner.parse_tap("1..1\nok 1 - x\n", None) == (1, ["did not end in time"])
    assert runner.parse_tap("", 0)[1]
    assert runner.parse_tap("1..1\nok 1 - x\n", 99) == (1, ["exit code 99"])


def test_pytest_is_counted(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n"
        "def test_c(): pytest.skip('no')\n@pytest.fixture\ndef f(): 1 / 0\ndef test_d(f): pass\n")
    report = str(tmp_path / "r.xml")
    subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "--junitxml", report,
                    str(tmp_path / "test_x.py")], stdout=subprocess.DEVNULL, check=False,
                   cwd=tmp_path)
    res = runner.Result()
    runner.parse_junit(report, res)
    assert res.passed == 1
    assert sorted(re.sub(r".*::", "", x) for x, _ in res.failures) == ["test_b", "test_c", "test_d"]


def test_leftovers_are_found_and_removed(tmp_path):
    run = runner.Run(os.path.join(str(tmp_path), "build"))
    try:
        os.mkdir(os.path.join(run.tmp, "left"))
        sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
        proc = subprocess.Popen(sleep)
        proc2 = subprocess.Popen([*sleep, run.tmp + "/x"])
        try:
            # The kernel shows the arguments a moment after the start.
            harness.wait_until(lambda: run.tmp in open(f"/proc/{proc2.pid}/cmdline").read(), "args")
            found = "\n".join(run.leftovers())
            assert "file " + run.tmp + "/left" in found and f"process {proc2.pid}:" in found
            assert f"process {proc.pid}:" not in found
            assert proc2.wait(timeout=30) == -9 and proc.poll() is None
            assert run.leftovers() == []
        finally:
            for p in (proc, proc2):
                p.kill()
                p.wait()
    finally:
        os.rmdir(run.config)
        os.rmdir(run.tmp)


def test_last_line(tmp_path):
    """The totals stand on the last line, and the exit code agrees with them."""
    out = subprocess.run([sys.executable, "-B", os.path.join(TESTS, "run.py"), "--build",
                          str(tmp_path), "lint"], stdout=subprocess.PIPE, text=True, check=False,
                         cwd=ROOT)
    last = re.fullmatch(r"(\d+) passed, (\d+) failed", out.stdout.splitlines()[-1])
    assert last and (int(last.group(2)) == 0) == (out.returncode == 0)


@pytest.mark.parametrize("text,hidden", [("parallel=nonsense\n", True), ("# a comment\n", False)])
def test_options_of_the_host_are_hidden(tmp_path, text, hidden):
    """/etc/uploadfs.conf sets nothing for the tests; a file of comments needs no hiding."""
    inside = PrivateRoot(tmp_path / "private", ROOT)
    try:
        inside.write("/etc/uploadfs.conf", text)
        script = tmp_path / "look.py"
        script.write_text("import sys; sys.path.insert(0, sys.argv[1]); import run\n"
                          "run.hide_host_options(); print(open(run.HOST_OPTIONS).read(), end='')\n")
        inside.write("/look.py", script.read_text())
        out = inside.run(sys.executable, "-B", "/look.py", TESTS).stdout
        assert out == ("" if hidden else text)
        assert inside.run("cat", "/etc/uploadfs.conf").stdout == text
    finally:
        inside.close()
