#!/usr/bin/python3
"""Runs the fuzz targets of a build, one after the other.

Usage: tests/fuzz/fuzz.py --build DIR (--seconds N | --runs N) [--work DIR] [TARGET...]

DIR is where make SAN=fuzz has built; without TARGET: all of DIR/bin. With
--runs each target gets so many inputs, the same ones each time. A target's
inputs that led to new code are kept in WORK/corpus and are where its next run
begins (WORK is DIR unless told), what it failed at in WORK/crashes. Prints
a line for each target and, of one that failed, its report and the path of the input;
that input is tried again by DIR/bin/TARGET PATH. Exits 1 when one failed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import sanitizer  # noqa: E402

SEEDS = os.path.join(HERE, "seeds")
# Targets whose format ends lines by CR LF: the seeds are plain texts.
CRLF = {"fuzz_http_head", "fuzz_multipart"}
INPUT_TIMEOUT = 60  # seconds for one input, on a machine with other things to do


def seeds(target, seeds_dir=SEEDS):
    """The inputs a target begins with: the texts between lines of "====" of its file."""
    path = os.path.join(seeds_dir, target.replace("fuzz_", "", 1) + ".txt")
    with open(path, "rb") as f:
        text = f.read()
    found = [x.strip(b"\n") for x in re.split(rb"^====$", text, flags=re.M)]
    if target in CRLF:
        found = [x.replace(b"\n", b"\r\n") for x in found]
    # As it is, and with a line end: both are cases of their own to most readers.
    return found + [x + b"\n" for x in found]


def write_seeds(target, folder, seeds_dir):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for n, text in enumerate(seeds(target, seeds_dir)):
        with open(os.path.join(folder, f"seed-{n:03}"), "wb") as f:
            f.write(text)


def command(target, args, crashes, corpus, seed_dir):
    limit = [f"-max_total_time={args.seconds}"] if args.seconds else \
        [f"-runs={args.runs}", "-seed=1", "-entropic_scale_per_exec_time=0"]
    return sanitizer.wrap("asan", [
        os.path.join(args.build, "bin", target), *limit, f"-timeout={INPUT_TIMEOUT}",
        "-print_final_stats=1", f"-artifact_prefix={crashes}/{target}-", corpus, seed_dir])


def run(target, args):
    """(exit code, inputs tried, output, paths of inputs that failed)"""
    crashes, corpus, seed_dir = [os.path.join(args.work, *x) for x in (
        ("crashes",), ("corpus", target), ("seeds", target))]
    for folder in (crashes, corpus):
        os.makedirs(folder, exist_ok=True)
    write_seeds(target, seed_dir, args.seeds)
    # Also removed after a crash. In memory: some targets make four files an input.
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="uploadfs-fuzz-", dir=where) as tmp:
        done = subprocess.run(command(target, args, crashes, corpus, seed_dir),
                              env=dict(os.environ, TMPDIR=tmp), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    out = done.stdout.decode("utf-8", "replace")
    tried = re.search(r"^stat::number_of_executed_units: (\d+)", out, re.M)
    kept = re.findall(r"Test unit written to (\S+)", out)
    return done.returncode, int(tried.group(1)) if tried else 0, out, kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--work")
    parser.add_argument("--seeds", default=SEEDS, help="a folder of texts, TARGET.txt each")
    limit = parser.add_mutually_exclusive_group(required=True)
    limit.add_argument("--seconds", type=int)
    limit.add_argument("--runs", type=int)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    args = parser.parse_args()
    if not (args.seconds or args.runs or 0) > 0:
        parser.error("--seconds and --runs want at least 1")
    args.work = os.path.abspath(args.work or args.build)
    failed = []
    for target in args.targets or sorted(os.listdir(os.path.join(args.build, "bin"))):
        code, tried, out, kept = run(target, args)
        print(f"{target}: {tried} inputs, {'exit code ' + str(code) if code else 'ok'}", flush=True)
        if code or not tried:
            failed.append(target)
            # Without its progress: what is left is the report.
            print(re.sub(r"^#\d+\t.*\n", "", out, flags=re.M)[-8000:])
            print("\n".join("kept: " + x for x in kept), flush=True)
    print(f"fuzz: {len(failed)} failed" + "".join(" " + x for x in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
