#!/usr/bin/python3
"""Lines and branches that the tests reach, by folder.

Usage: tests/cov.py --build DIR [--source DIR/FILE.c] [WHAT...]

The build is one with SAN=cov. WHAT are the C units ("unit") and files of mounted tests
("tests/mount/test_X.py"); without it the units and all mounted tests. --source prints the lines of
one file that nothing reached. What a killed daemon reached counts only until then.
"""
import argparse
import collections
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run_tests(build, what):
    ok = True
    env = dict(os.environ, UPLOADFS_BUILD=build)
    if "unit" in what:
        for program in sorted(glob.glob(os.path.join(build, "unit", "test_*"))):
            ok &= subprocess.run([program], cwd=ROOT, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, check=False).returncode == 0
    files = [x for x in what if x != "unit"]
    if files:
        ok &= subprocess.run(["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-c",
                              "tests/pytest.ini", *files], cwd=ROOT, env=env,
                             check=False).returncode == 0
    return ok


def reports(build):
    """gcov's report of each object that ran."""
    with tempfile.TemporaryDirectory() as folder:
        data = [os.path.abspath(x) for x in glob.glob(os.path.join(build, "**", "*.gcda"),
                                                      recursive=True)]
        for start in range(0, len(data), 50):
            subprocess.run(["gcov", "--json-format", "--branch-probabilities",
                            *data[start:start + 50]], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in glob.glob(os.path.join(folder, "*.gcov.json.gz")):
            with gzip.open(path, "rt") as f:
                yield json.load(f)


def collect(build):
    """{source: {line: [count, [branch counts]]}} of the product."""
    found = collections.defaultdict(dict)
    for report in reports(build):
        for file in report["files"]:
            name = os.path.relpath(os.path.join(ROOT, file["file"]), ROOT)
            if not name.startswith(("fs/", "net/")) or not name.endswith(".c"):
                continue
            for line in file["lines"]:
                branches = [b["count"] for b in line["branches"]]
                known = found[name].setdefault(line["line_number"], [0, [0] * len(branches)])
                known[0] += line["count"]
                if len(branches) == len(known[1]):
                    known[1] = [a + b for a, b in zip(known[1], branches)]
    return found


def rate(part, whole):
    return f"{part:6d}/{whole:<6d} {100 * part / whole if whole else 100:5.1f} %"


def table(found):
    sums = collections.defaultdict(lambda: [0] * 4)
    for name, lines in found.items():
        for key in (os.path.dirname(name), "all"):
            s = sums[key]
            s[0] += sum(1 for count, _ in lines.values() if count)
            s[1] += len(lines)
            s[2] += sum(1 for _, b in lines.values() for x in b if x)
            s[3] += sum(len(b) for _, b in lines.values())
    print(f"{'':14s} {'lines':>21s} {'branches':>22s}")
    for key in sorted(sums, key=lambda k: (k == "all", k)):
        s = sums[key]
        print(f"{key:14s} {rate(s[0], s[1])}  {rate(s[2], s[3])}")


def missed(found, source):
    with open(os.path.join(ROOT, source), encoding="utf-8") as f:
        text = f.read().split("\n")
    for number, (count, _) in sorted(found[source].items()):
        if not count:
            print(f"{number:5d}  {text[number - 1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--source")
    parser.add_argument("what", nargs="*")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    ok = True
    if not args.source:
        for path in glob.glob(os.path.join(build, "**", "*.gcda"), recursive=True):
            os.unlink(path)
        ok = run_tests(build, args.what or ["unit", "tests/mount"])
    found = collect(build)
    if args.source:
        missed(found, args.source)
    else:
        table(found)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
