#!/usr/bin/python3
"""Files under random operations on a mount, each compared with a copy in memory; see fsx.c.

Usage: tests/fsx/fsx.py [--operations N] [--seed N] [--files N]

Each file is one process of fsx with a seed of its own, some at a time on one mount. At the end
each File at the server, and what a new mount reads, is the copy in memory. A failure prints its
seed and its last operations. UPLOADFS_BUILD names the build directory; the default of operations
is FSX_OPERATIONS (20000) a file.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "mount")]
import harness  # noqa: E402


class World(harness.World):
    def __init__(self):
        super().__init__()
        self.watchdog.cancel()


def exercise(world, mount, seed, operations):
    """The file's bytes at its end; None after a failure, which is printed."""
    path = mount.path("batch", f"f{seed}")
    out = world.path(f"good{seed}")
    with open(out, "wb") as f:
        proc = subprocess.run([os.path.join(harness.BUILD, "bin", "fsx"), path, str(seed),
                               str(operations)], stdout=f, stderr=subprocess.PIPE, text=True,
                              check=False)
    print(f"seed {seed}: {proc.stderr.splitlines()[-1] if proc.stderr else proc.returncode}")
    if proc.returncode:
        print(proc.stderr)
        return None
    return out


def same(server, mount, other, seed, good):
    path = mount.path("batch", f"f{seed}")
    want = harness.md5(good)
    if os.path.getsize(good) == 0:
        return True
    harness.wait_until(lambda: harness.xattr(path, "status") == "completed", "it is published")
    file_id = harness.xattr(path, "file_id")
    got = [server.content_md5(file_id)[1], harness.md5(other.path("batch", f"f{seed}"))]
    if got != [want, want]:
        print(f"seed {seed}: the File, or what another mount reads, is not the copy: {got}")
    return got == [want, want]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int,
                        default=int(os.environ.get("FSX_OPERATIONS", "20000")))
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--files", type=int, default=4)
    args = parser.parse_args()
    first = args.seed if args.seed is not None else int(time.time())
    seeds = [first] if args.seed is not None else range(first, first + args.files)
    world, good = World(), True
    try:
        server = world.server()
        mount = world.mount(server)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ends = dict(zip(seeds, pool.map(
                lambda s: exercise(world, mount, s, args.operations), seeds)))
        other = world.mount(server)
        for seed, path in ends.items():
            good &= path is not None and same(server, mount, other, seed, path)
        mount.may_fail = not good
    finally:
        world.close()
    print("all the same" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
