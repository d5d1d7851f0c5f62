#!/usr/bin/python3
"""Measures uploadfs against what it can be compared with, and writes the table.

Usage: tests/bench/bench.py [--rows NAME,…] [--reps N] [--scale N] [--results DIR]
                            [--document FILE] [--npm DIR] [--quiet SHARE]

Each row is two things done in turn (ours, theirs, ours, theirs, …), and the ratio of
their medians. The values of a row are kept as JSON in the results directory; the
table is made of all that were taken on this machine, so that it can be put together
in several runs. The document has its table replaced between two marks.
"""
import argparse
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab as labs  # noqa: E402
import machine  # noqa: E402
import peers  # noqa: E402
import reading  # noqa: E402
import secure  # noqa: E402
import small  # noqa: E402
import table  # noqa: E402
import writing  # noqa: E402

ROWS = {**writing.ROWS, **small.ROWS, **reading.ROWS, **secure.ROWS, **peers.ROWS}
ORDER = ["cp", "slow-disk", "node", "node-memory", "unknown", "cpu", "wire", "eight", "eight-md5",
         "eight-cpu", "sixty-four", "sixty-four-cpu", "declared", "check", "check-cpu", "small",
         "small-async", "many-rclone", "many-curl", "writes", "cold", "again", "random",
         "random-bytes", "readers", "tls-cp", "tls-cold", "ls", "ls-warm", "ls-memory", "ls-l",
         "over-raw", "over-s3fs", "over-rclone", "memory-1", "memory-16", "memory-64"]


def measure(name, args):
    """The rows of one group; what it started has ended when it returns."""
    lab = labs.Lab(args.reps, args.scale, args.npm, args.quiet)
    try:
        rows = ROWS[name](lab)
        turns, others = lab.kept()
        for row in rows:
            if len(row.ours) == len(lab.shares):
                row.keep(turns, others)
        for row in rows:
            row.aim = row.aim() if callable(row.aim) else row.aim
        return rows
    finally:
        lab.close()


def parse():
    out = os.path.join(labs.BUILD, "bench")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", default="", help="some of: " + ",".join(ROWS))
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1,
                        help="divides all sizes; needs --results and --document of its own")
    parser.add_argument("--quiet", type=float, default=0.1,
                        help="share of the processors that others may use; beyond it a turn is "
                        "done again, so often that there are twice --reps at most")
    parser.add_argument("--results", default=os.path.join(out, "results"))
    parser.add_argument("--document", default=os.path.join(labs.ROOT, "docs", "performance.md"),
                        help="its table is replaced")
    parser.add_argument("--npm", default=os.path.join(out, "npm"))
    args = parser.parse_args()
    if args.scale != 1 and {args.results, args.document} & {
            parser.get_default("results"), parser.get_default("document")}:
        parser.error("figures of a trial do not belong among the others")
    args.names = [x for x in args.rows.split(",") if x] or list(ROWS)
    for name in args.names:
        if name not in ROWS:
            parser.error(f"no such row: {name}; there are: {' '.join(ROWS)}")
    return args


def write_document(args, where):
    with open(args.document, encoding="utf-8") as f:
        text = f.read()
    text = table.document(text, table.load(args.results, ORDER, where), where)
    with open(args.document, "w", encoding="utf-8") as f:
        f.write(text)
    print("written: " + args.document)


def main():
    args = parse()
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    where = machine.describe(args.npm)
    print(where["host"], flush=True)
    for name in args.names:
        rows = measure(name, args)
        table.save(args.results, rows, where)
        for row in rows:
            print(table.line(row), flush=True)
    write_document(args, where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
