#!/usr/bin/python3
"""Changes one line after the other of a source and counts how many changes the unit tests notice.

Usage: tests/mutate.py [--build DIR] [--seconds N] [--sample N] [--seed N] FILE... | FOLDER...

A mutant is one condition turned round, one comparison shifted (< and <=, == and !=), && for ||, or
one call whose result nobody uses dropped. It is compiled into a copy of libfs.a, the unit tests of
that folder (UNITS) are linked with that and run, one after the other, until one fails, does not end
in time or crashes: the mutant is noticed. Those that no test notices are printed, with the line.
A mutant that does not compile, or whose object is the same, does not count. --seconds: no new
mutant after that time; --sample N: N of them, chosen by --seed (1). The sources stay as they are.
"""
import argparse
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The quickest and most telling first.
UNITS = {
    "fs/publish": ["test_publish_state", "test_doubt", "test_layout", "test_publish_budget",
                   "test_publish_spoiled",
                   "test_publish_doubt", "test_publish_refused", "test_publish_sequence",
                   "test_publish", "test_publish_whole", "test_publish_live",
                   "test_publish_durable", "test_publish_same", "test_publish_faults",
                   "test_two_hosts"],
    "fs/stage": ["test_staged_write", "test_staging", "test_md5", "test_jsonl", "test_staged_watch",
                 "test_offline", "test_staged_md5", "test_publish_durable", "test_publish_same",
                 "test_publish", "test_publish_spoiled"],
    "fs/state": ["test_state", "test_state_faults", "test_state_files", "test_state_attrs",
                 "test_staging", "test_cache"],
    "fs/vfs": ["test_names"],
}
TEST_TIMEOUT = 60

CONDITION = re.compile(r"\b(if|while) \((.*)\)( \{)?$")
CALL = re.compile(r"^\t+(?!return|goto|case|assert)[a-z_][\w>.\[\]-]*\(.*\);$")
SWAPS = [(" == ", " != "), (" != ", " == "), (" < ", " <= "), (" <= ", " < "), (" > ", " >= "),
         (" >= ", " > "), (" && ", " || "), (" || ", " && ")]


def mutants(lines):
    """(line number from 0, new line)"""
    for n, line in enumerate(lines):
        if line.lstrip().startswith(("*", "/*", "//", "#")) or not line.startswith("\t"):
            continue
        found = CONDITION.search(line)
        if found and line.count("(") == line.count(")"):
            start, end = found.span(2)
            yield n, f"{line[:start]}!({line[start:end]}){line[end:]}"
        for old, new in SWAPS:
            at = line.find(old)
            while at >= 0:
                yield n, line[:at] + new + line[at + len(old):]
                at = line.find(old, at + 1)
        if CALL.match(line) and "log_" not in line:
            yield n, re.match(r"\t+", line).group(0) + ";"


class Bench:
    """A folder in which mutants are built and tried."""

    def __init__(self, build, folder):
        self.build, self.dir = build, folder
        shutil.copy(os.path.join(build, "libfs.a"), folder)
        self.vars = {x: self.make("print-" + x).split() for x in (
            "CC", "ALL_CFLAGS", "ALL_LDFLAGS", "PKG_LIBS", "CMOCKA_LIBS", "FAKE_API_SRCS",
            "FAKE_API_USERS")}

    def make(self, target):
        return subprocess.run(["make", "-s", "--no-print-directory", "BUILD=" + self.build, target],
                              cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout

    def compile(self, source, text):
        """The object of text in the place of source, or None."""
        path = os.path.join(self.dir, "mutant.c")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#line 1 "{source}"\n{text}')
        obj = os.path.join(self.dir, "mutant.o")
        done = subprocess.run([*self.vars["CC"], *self.vars["ALL_CFLAGS"], "-g0", "-w", "-c", path,
                               "-o", obj], cwd=ROOT, check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        return obj if done.returncode == 0 else None

    def link(self, unit, obj):
        """The test with that object instead of the archive's; the linker takes the first."""
        source = f"tests/unit/{unit}.c"
        objs = [os.path.join(self.build, f"tests/unit/{unit}.o"), obj]
        if source in self.vars["FAKE_API_USERS"]:
            objs += [os.path.join(self.build, x[:-2] + ".o") for x in self.vars["FAKE_API_SRCS"]]
        libs = [os.path.join(self.build, x + ".a") for x in ("libunit", "libserver", "libnet")]
        out = os.path.join(self.dir, "test")
        done = subprocess.run([*self.vars["CC"], *self.vars["ALL_LDFLAGS"], *objs, "-o", out,
                               "-Wl,--start-group", os.path.join(self.dir, "libfs.a"), *libs,
                               "-Wl,--end-group", *self.vars["PKG_LIBS"],
                               *self.vars["CMOCKA_LIBS"]], cwd=ROOT, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return out if done.returncode == 0 else None

    def noticed(self, obj, units):
        """The test that fails, or None."""
        for unit in units:
            binary = self.link(unit, obj)
            if not binary:
                continue
            try:
                code = subprocess.run([binary], cwd=self.dir, timeout=TEST_TIMEOUT, check=False,
                                      env=dict(os.environ, TMPDIR=self.dir),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL).returncode
            except subprocess.TimeoutExpired:
                return unit + " (time)"
            if code:
                return unit
        return None


def sources(paths):
    for path in paths:
        yield from sorted(glob.glob(os.path.join(ROOT, path, "*.c"))
                          if os.path.isdir(os.path.join(ROOT, path)) else
                          [os.path.join(ROOT, path)])


def collect(paths):
    found = []
    for path in sources(paths):
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        found += [(os.path.relpath(path, ROOT), n, line) for n, line in mutants(lines)]
    return found


def try_one(bench, mutant):
    """None: not a mutant; else the test that notices it, or ''."""
    path, n, line = mutant
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        lines = f.read().split("\n")
    obj = bench.compile(path, "\n".join(lines))
    with open(obj, "rb") as f:
        before = f.read()
    lines[n] = line
    obj = bench.compile(path, "\n".join(lines))
    if not obj:
        return None
    with open(obj, "rb") as f:
        if f.read() == before:
            return None
    member = os.path.basename(path)[:-2] + ".o"
    moved = os.path.join(bench.dir, member)
    os.rename(obj, moved)
    return bench.noticed(moved, UNITS[os.path.dirname(path)]) or ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("paths", nargs="*", default=["fs/publish", "fs/stage"])
    args = parser.parse_args()
    todo = collect(args.paths)
    random.Random(args.seed).shuffle(todo)
    todo = todo[:args.sample] if args.sample else todo
    start, noticed, missed = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="uploadfs-m-", dir="/tmp") as folder:
        bench = Bench(os.path.abspath(args.build), folder)
        for mutant in todo:
            if args.seconds and time.monotonic() - start > args.seconds:
                break
            told = try_one(bench, mutant)
            if told is None:
                continue
            noticed += bool(told)
            if not told:
                missed.append(mutant)
                print(f"missed: {mutant[0]}:{mutant[1] + 1}: {mutant[2].strip()}", flush=True)
    print(f"mutate: {noticed + len(missed)} of {len(todo)} tried, {noticed} noticed, "
          f"{len(missed)} missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
