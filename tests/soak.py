#!/usr/bin/python3
"""A long life of two mounts, and beside it daemons that die at random points, for a given time.

Usage: tests/soak.py [--seconds N] [--seed N] [--at-a-time N]
                     [--model | --power | --readers | --many | --long]

The long life is that of tests/mount/long_run.py: a table of memory, descriptors, threads, staged
bytes and pending Uploads over time, which must not grow. --long: that alone, from --seed.
The others are short, see tests/mount/crash.py.

Each run is made from a seed: its writers, their sizes, the server's latency and
passing faults, when the daemon is killed, and whether the next one is, too.
What must hold then is what test_crash.py checks. A run that fails prints its
seed; --seed does that one run again (as far as threads allow). UPLOADFS_BUILD
names the build directory; SOAK_SECONDS is the default of --seconds (600). Every
fourth seed is a run of readers beside another host, see tests/mount/reading_runs.py;
with --readers every one is.
With --model: the same calls on a mount and on a local directory, see
tests/mount/model.py; what fails there prints its seed and its steps.
With --many: 10,000 small files through close=async, by several writers, with passing faults and a
daemon that is killed on the way; each becomes one File with its bytes.
With --power: the power cuts of tests/mount/test_power.py on xfs and btrfs, as root;
without options this comes first.
"""
import argparse
import concurrent.futures
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [TESTS, os.path.join(TESTS, "mount")]
import crash  # noqa: E402
import harness  # noqa: E402
import long_run  # noqa: E402
import model_runs  # noqa: E402
import reading_runs  # noqa: E402
from crash import PART  # noqa: E402

FAILURES_MAX = 5
STATUS = [{"action": "status", "status": x} for x in (500, 503, 429, 408)]
FAULTS = STATUS + [{"action": "reset", "when": x} for x in ("before", "during", "after")] + [
    {"action": x} for x in ("drop", "truncate", "invalid_json")]
KINDS = (crash.Cp, crash.Dd, crash.Unknown, crash.Shrunk, crash.Open, crash.Held)


class World(harness.World):
    """One run's; the watchdog of its Life is enough."""

    def __init__(self):
        super().__init__()
        self.watchdog.cancel()
        self.numbers = itertools.count(1)

    def next_number(self):
        return next(self.numbers)   # several threads ask


def make_writer(world, rng, name):
    kind = rng.choice(KINDS)
    size = rng.choice([1, rng.randrange(1, PART), PART, rng.randrange(PART, 7 * PART)])
    source = harness.make_file(world.path("source-" + name), size)
    if issubclass(kind, crash.Cp):
        return kind(name, source)
    with open(source, "rb") as f:
        data = f.read()
    if kind is crash.Open:
        return kind(name, data, rng.randrange(size + 1))
    return kind(name, data)


def make_faults(rng):
    """A few that pass. Not for cancel: a cancel that fails ends nothing, and is not told."""
    return [{"op": rng.choice(["create", "part", "complete", "list"]),
             "nth": rng.randrange(1, 12), "times": rng.randrange(1, 3), **rng.choice(FAULTS)}
            for _ in range(rng.choice([0, 0, 1, 2, 4]))]


def write_all(rng, life, writers):
    """Side by side, and the death in between when it does not come by itself."""
    timer = threading.Timer(rng.uniform(0.01, 1.0), life.mount.kill)
    if not life.mount.at:
        timer.start()
    with concurrent.futures.ThreadPoolExecutor(len(writers)) as pool:
        for done in [pool.submit(x.write, life.mount) for x in writers]:
            done.result()
    # 1: with its faults the server may have refused something for good.
    lived = life.unmount(writers, (0, 1)) if life.mount.alive() else False
    timer.cancel()
    return lived


def live_and_die(seed):
    """One run. AssertionError, with the story, when something does not hold."""
    rng = random.Random(seed)
    world = World()
    life = None
    writers = []
    try:
        server = world.server("--latency", str(rng.choice([0, 0, 0, 5, 30])))
        server.faults(make_faults(rng))
        writers = [make_writer(world, rng, f"f{x}") for x in range(rng.randrange(1, 6))]
        at = rng.choice([0, rng.randrange(1, 30), rng.randrange(1, 100)])
        life = crash.Life(world, server, at, rng.choice(["before", "after"]),
                          close_async=rng.random() < 0.4, parallel=str(rng.randrange(1, 5)))
        life.strict = False
        lived = write_all(rng, life, writers)
        if not lived and rng.random() < 0.4:
            life.crash_again(rng.randrange(1, 25), rng.choice(["before", "after"]),
                             rng.uniform(0.05, 1.5))
        server.faults([])
        life.remount()
        life.check(writers)
        assert life.umount(), "the last daemon died"
    except (AssertionError, OSError) as exc:
        log = life.mount.log()[-6000:] if life else ""
        steps = crash.step_of(life.mount) if life else ""
        raise AssertionError(f"seed {seed}: {exc}\n--- it died at: {steps}\n"
                             f"--- the daemons\n{log}") from exc
    finally:
        for writer in writers:
            if getattr(writer, "fd", -1) >= 0:
                crash.close_quietly(writer.fd)
        if life:
            life.end()
        world.close()


def read_along(seed):
    """One run of readers. AssertionError, with the story, when something does not hold."""
    world = World()
    try:
        reading_runs.read_along(world, seed)
    finally:
        world.close()


def live(seed):
    """The run with this seed."""
    (read_along if seed % 4 == 3 else live_and_die)(seed)


def write_many(mount, count, first):
    """Writers beside each other: numbered files, each with its number as content."""
    def write(start):
        for n in range(start, first + count, 8):
            with open(mount.path("user_data", f"d{n % 10}", f"f{n}"), "wb", buffering=0) as f:
                f.write(b"%d\n" % n)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, first + k) for k in range(8)]:
            done.result()


def check_many(server, count):
    """Each is there once, with its bytes, and nothing else is."""
    names = {f"d{n % 10}/f{n}": len(str(n)) + 1 for n in range(count)}
    found = [(x["filename"], x["bytes"]) for x in server.files()]
    assert len(found) == len(set(found)), "a file was made twice"
    assert dict(found) == names, f"{len(found)} Files of {count}"


def many(count=10000):
    """One run of small files. AssertionError when something does not hold."""
    world = World()
    try:
        server = world.server()
        server.faults([{"op": x, "nth": n, "times": 3, "action": "status", "status": 503}
                       for n, x in ((50, "create"), (70, "part"), (90, "complete"))])
        mount = world.mount(server, close="async", retry_delay="1")
        mount.may_fail = True
        for k in range(10):
            os.makedirs(mount.path("user_data", f"d{k}"))
        write_many(mount, count // 2, 0)
        mount.kill()
        mount.remount()
        write_many(mount, count - count // 2, count // 2)
        harness.run([os.path.join(harness.BUILD, "uploadfs"), "wait", mount.mnt], timeout=1800)
        check_many(server, count)
        mount.umount()
    finally:
        world.close()
    print(f"{count} small files: all is well")
    return 0


def soak(seconds, at_a_time=4, first=None, one=live, least=0):
    """(runs, stories of those that failed); longer if there were not so many runs by then."""
    seeds = itertools.count(first if first is not None else random.randrange(10 ** 9))
    end = time.monotonic() + seconds
    runs, failures = 0, []
    with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
        under_way = set()
        while True:
            while len(under_way) < at_a_time and len(failures) < FAILURES_MAX and \
                    (time.monotonic() < end or runs + len(under_way) < least):
                under_way.add(pool.submit(one, next(seeds)))
            if not under_way:
                return runs, failures
            over, under_way = concurrent.futures.wait(
                under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            runs += len(over)
            failures += [str(x.exception()) for x in over if x.exception()]


def soak_model(seconds, seed):
    """One run after the other, each kind of mount in turn; ends with the first that fails."""
    end = time.monotonic() + seconds
    for run, variant in enumerate(itertools.cycle(model_runs.VARIANTS)):
        if time.monotonic() >= end:
            print(f"{run} runs, 0 failed")
            return 0 if run else 1
        print(f"{variant}, seed {seed + run}", flush=True)
        try:
            model_runs.run(variant, seed + run, 1000)
        except AssertionError as exc:
            print(exc)
            return 1


def power():
    """0 if all is well on each file system that can be made here."""
    codes = []
    for fs, package in (("xfs", "xfsprogs"), ("btrfs", "btrfs-progs")):
        if os.geteuid() or not shutil.which("mkfs." + fs):
            print(f"power cuts on {fs}: left out; they need root, and the package {package}")
            continue
        print(f"power cuts on {fs}", flush=True)
        codes.append(subprocess.run(
            [sys.executable, "-B", "-m", "pytest", "-q", "-c", os.path.join(TESTS, "pytest.ini"),
             os.path.join(TESTS, "mount", "test_power.py")],
            env=dict(os.environ, UPLOADFS_POWER_FS=fs), check=False).returncode)
    return 1 if any(codes) else 0


def live_long(seconds, seed):
    """0 if one long life of that many seconds is well."""
    world = World()
    try:
        report, story = long_run.live_long(world, seconds, seed)
    finally:
        try:
            world.close()
        except AssertionError as exc:
            story += f"\n{exc}"
    print(f"{report}\n{story}", flush=True)
    return 1 if story.strip() else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("SOAK_SECONDS") or 600))
    parser.add_argument("--seed", type=int, help="only the run with this seed")
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--readers", action="store_true")
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--long", action="store_true")
    args = parser.parse_args()
    # As timeout(1) ends it: its mounts and daemons go, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if args.model:
        return soak_model(args.seconds, args.seed or random.randrange(10 ** 9))
    if args.many:
        return many()
    if args.long:
        return live_long(args.seconds, args.seed or random.randrange(10 ** 9))
    one = read_along if args.readers else live
    if args.seed is not None:
        one(args.seed)
        print(f"seed {args.seed}: all is well")
        return 0
    lost = 0 if args.readers else power()
    if args.power:
        return lost
    first = random.randrange(10 ** 9)
    print(f"for {args.seconds:.0f} s, seeds from {first}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        long = None if args.readers else pool.submit(live_long, args.seconds, first)
        runs, failures = soak(args.seconds, args.at_a_time, first, one)
        lost |= long.result() if long else 0
    for story in failures:
        print(story)
    print(f"{runs} runs, {len(failures)} failed")
    return 1 if failures or lost or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
