"""
The sanitizers are on: programs with one bug each, built with the very flags of
the product, must be reported. A suite that can't see a report proves nothing.
"""
import os
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
sys.path.insert(0, os.path.join(TESTS, "mount"))
import harness  # noqa: E402
import sanitizer  # noqa: E402

BUGS = {
    "heap-buffer-overflow": ("asan", """
#include <stdlib.h>
int main(int argc, char **argv)
{
	volatile char *volatile p = malloc(4);

	(void)argv;
	p[argc + 3] = 1;
	free((void *)p);
	return 0;
}
"""),
    "heap-use-after-free": ("asan", """
#include <stdlib.h>
int main(int argc, char **argv)
{
	char *volatile p = malloc(4);

	(void)argv;
	free(p);
	return p[argc];
}
"""),
    "detected memory leaks": ("asan", """
#include <stdlib.h>
static void leak(void)
{
	char *volatile p = malloc(40);

	p = NULL;
	(void)p;
}
int main(void)
{
	leak();
	return 0;
}
"""),
    "signed integer overflow": ("asan", """
#include <limits.h>
int main(int argc, char **argv)
{
	volatile int sum = INT_MAX;

	(void)argv;
	sum = sum + argc;
	return 0;
}
"""),
    "data race": ("tsan", """
#include <pthread.h>
static int count;
static void *work(void *arg)
{
	count++;
	return arg;
}
int main(void)
{
	pthread_t t;

	pthread_create(&t, NULL, work, NULL);
	count++;
	pthread_join(t, NULL);
	return 0;
}
"""),
}

QUIET = "int main(void)\n{\n\treturn 0;\n}\n"


def build(folder, san, text):
    def flags(name):
        return subprocess.run(["make", "-s", "--no-print-directory", "SAN=" + san, "print-" + name],
                              cwd=ROOT, stdout=subprocess.PIPE, text=True,
                              check=True).stdout.split()

    source, binary = os.path.join(folder, "x.c"), os.path.join(folder, "x")
    with open(source, "w", encoding="ascii") as f:
        f.write(text)
    subprocess.run([*flags("CC"), *flags("ALL_CFLAGS"), "-w", *flags("ALL_LDFLAGS"), "-o", binary,
                    source], cwd=ROOT, check=True)
    return binary


def start(binary, san, folder):
    with open(os.path.join(folder, "x.log"), "w", encoding="utf-8") as log:
        return subprocess.run(sanitizer.wrap(san, [binary]), check=False, stdout=log, stderr=log,
                              env=dict(os.environ, **sanitizer.options(str(folder)))).returncode


@pytest.mark.parametrize("words", BUGS)
def test_bug_is_reported(tmp_path, words):
    san, text = BUGS[words]
    code = start(build(tmp_path, san, text), san, tmp_path)
    reports = "\n".join(sanitizer.reports(str(tmp_path)))
    assert code != 0 and words in reports


@pytest.mark.parametrize("san", ["asan", "tsan"])
def test_no_bug_no_report(tmp_path, san):
    assert start(build(tmp_path, san, QUIET), san, tmp_path) == 0
    assert sanitizer.reports(str(tmp_path)) == []


def test_report_fails_the_test_that_started_it(tmp_path):
    """A report in a World's directory makes its close() raise, and the directory goes."""
    for words, (san, text) in BUGS.items():
        binary = build(tmp_path, san, text)
        world = harness.World()
        start(binary, san, world.dir)
        with pytest.raises(AssertionError, match=words):
            world.close()
        assert not os.path.exists(world.dir)
    harness.World().close()


@pytest.mark.parametrize("name", ["uploadfs", "uploads-server"])
def test_binaries_are_instrumented(name):
    top = os.environ.get("UPLOADFS_BUILD_TOP") or os.path.join(ROOT, "build")
    for san, symbol in (("asan", "__asan_init"), ("asan", "__ubsan_handle"),
                        ("tsan", "__tsan_init")):
        out = subprocess.run(["nm", "-D", os.path.join(top, san, name)], stdout=subprocess.PIPE,
                             text=True, check=True).stdout
        assert symbol in out
