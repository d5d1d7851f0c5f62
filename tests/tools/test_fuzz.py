"""make fuzz in short: its targets hold for a fixed set of inputs, and one that does not is seen."""
import concurrent.futures
import os
import re
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
sys.path.insert(0, os.path.join(TESTS, "fuzz"))
import fuzz  # noqa: E402
import sanitizer  # noqa: E402

BUILD = os.environ.get("UPLOADFS_BUILD_TOP") or os.path.join(ROOT, "build")
RUNS = 9400
# Those that write a file and open it take a hundred times as long.
FEW = {"fuzz_state": 100, "fuzz_words": 1000, "fuzz_status": 1000}

# Reads one byte too far when the input begins with "no".
BROKEN = r"""
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static volatile uint8_t sink;

	if (size > 1 && data[0] == 'n' && data[1] == 'o')
		sink = data[size];
	return sink * 0;
}
"""


def make(*args):
    done = subprocess.run(["make", "-s", "--no-print-directory", "BUILD=" + BUILD, "SAN=fuzz",
                           "CC=clang", "WERROR=1", *args], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_fuzz(*args):
    return subprocess.run([sys.executable, "-B", os.path.join(TESTS, "fuzz", "fuzz.py"), *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=600, check=False)


def targets():
    names = [x[:-2] for x in os.listdir(os.path.join(TESTS, "fuzz"))
             if re.fullmatch(r"fuzz_\w+\.c", x)]
    assert names
    return sorted(names)


def test_each_target_has_seeds():
    assert sorted("fuzz_" + x[:-4] for x in os.listdir(fuzz.SEEDS)) == targets()
    for target in targets():
        assert len([x for x in fuzz.seeds(target) if x.strip()]) >= 4, target
    assert b"\r\n" in fuzz.seeds("fuzz_http_head")[0]


def test_targets_hold(tmp_path):
    make("fuzz-bins")
    def run(target):
        return run_fuzz("--build", os.path.join(BUILD, "fuzz"), "--work", str(tmp_path),
                        "--runs", str(FEW.get(target, RUNS)), target)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(run, targets()))
    assert all(x.returncode == 0 for x in done), "\n".join(x.stdout for x in done)
    text = "\n".join(x.stdout for x in done)
    tried = dict(re.findall(r"^(\w+): (\d+) inputs, ok$", text, re.M))
    assert sorted(tried) == targets()
    assert all(int(n) >= FEW.get(x, RUNS) for x, n in tried.items()), tried


@pytest.fixture
def broken(tmp_path):
    """A build with one target, and that wrong."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "broken.txt").write_text("yes\n====\nnever\n")
    source = tmp_path / "broken.c"
    source.write_text(BROKEN)
    flags = make("print-ALL_CFLAGS").split() + make("print-ALL_LDFLAGS").split()
    subprocess.run(["clang", *flags, "-o", tmp_path / "bin" / "fuzz_broken", source], cwd=ROOT,
                   check=True, timeout=120)
    return tmp_path


def test_a_failure_is_seen_and_kept(broken):
    done = run_fuzz("--build", str(broken), "--work", str(broken / "work"), "--seeds",
                    str(broken / "seeds"), "--runs", "1000000")
    assert done.returncode == 1, done.stdout
    assert "heap-buffer-overflow" in done.stdout and done.stdout.endswith(" failed fuzz_broken\n")
    kept = re.search(r"^kept: (.*)$", done.stdout, re.M).group(1)
    assert kept.startswith(str(broken / "work" / "crashes") + "/fuzz_broken-")
    with open(kept, "rb") as f:
        assert f.read(2) == b"no"
    # The path is enough to see it again.
    again = subprocess.run(sanitizer.wrap("asan", [broken / "bin" / "fuzz_broken", kept]),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=120, check=False)
    assert again.returncode != 0 and "heap-buffer-overflow" in again.stdout
