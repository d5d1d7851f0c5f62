#!/usr/bin/python3
"""Lets one allocation or system call after the other fail, in scenes of the cores of net and fs.

Usage: tests/torture/torture.py --build DIR [--points N] [SCENE...]

DIR is where make SAN=asan has built. Each scene of DIR/bin/torture-* is run with the n-th call of
each kind failing, n = 1, 2, 3, … until a run has fewer calls: once, and with all calls after it
failing as well. With --points N: at N points of each, evenly spread. Prints a line for each, the
report of one that failed and the command that repeats it, and the sum. Exits 1 when one failed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import sanitizer  # noqa: E402

WORKERS = (os.cpu_count() or 1) + 2  # they wait for threads more than they compute


def jobs(build, scenes):
    """[binary, scene, kind, mode] for each run."""
    found = []
    for binary in sorted(glob.glob(os.path.join(build, "bin", "torture-*"))):
        out = subprocess.run(sanitizer.wrap("asan", [binary]), stdout=subprocess.PIPE, text=True,
                             check=True).stdout
        for line in out.splitlines():
            scene, kind = line.split()
            if not scenes or scene in scenes:
                found += [[binary, scene, kind, mode] for mode in ("once", "all")]
    # The longest first.
    return sorted(found, key=lambda x: (x[2] != "alloc", x[1] not in ("store", "daemon")))


def run(job, points, env):
    """(exit code, points, output)"""
    more = ["--points", str(points)] if points else []
    done = subprocess.run(sanitizer.wrap("asan", [*job, *more]), env=env, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    tried = re.search(r": (\d+) points$", text, re.M)
    return done.returncode, int(tried.group(1)) if tried else 0, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--points", type=int, default=0)
    parser.add_argument("scenes", nargs="*", metavar="SCENE")
    args = parser.parse_args()
    todo = jobs(args.build, args.scenes)
    if not todo:
        parser.error("no such scene, or nothing built")
    failed, total = [], 0
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    tmp = tempfile.mkdtemp(prefix="uploadfs-t-", dir=where)
    env = dict(os.environ, TMPDIR=tmp, **sanitizer.options(""))
    try:
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            results = pool.map(lambda job: run(job, args.points, env), todo)
            for job, (code, points, text) in zip(todo, results):
                name = " ".join(job[1:])
                total += points
                print(f"{name}: " + (f"exit code {code}" if code else f"{points} points"),
                      flush=True)
                if code:
                    failed.append(name)
                    print(text[-6000:])
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    print(f"torture: {total} points, {len(failed)} failed" + "".join(f"; {x}" for x in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
