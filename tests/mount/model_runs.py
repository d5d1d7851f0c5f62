#!/usr/bin/python3
"""
Runs of the model (model.py): steps from a seed, in a world of their own, and what
a failure is made of.

Usage: tests/mount/model_runs.py [--seed N] [--variant NAME] [--steps N] [--replay FILE]

The same seed, variant and number give the same steps. A run that fails is done
again with less and less of its steps; what is left of them is printed, one a
line, and can be done again by --replay (- is stdin).
"""
import argparse
import ast
import functools
import os
import pickle
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import harness  # noqa: E402
import model  # noqa: E402

PART = 64 << 10
SHRINK_SECONDS = 20     # to make a failure short

FILES = ["f0", "f1", "d 0/f0", "d 0/f\u00fc", "d 0/d1/f0", "d2/f0", ".t.AbCdEf", "t",
         "d2/.t.a1B2c3", "f0/x"]
DIRS = ["d 0", "d 0/d1", "d2", "d2/d3", "f1"]
FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR]
MORE = [0, 0, 0, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_TRUNC, os.O_APPEND,
        os.O_CREAT | os.O_APPEND, os.O_CREAT | os.O_EXCL]
SLOTS = 5

# What a run's mount and server are like: (server's arguments, mount's words, mount's values,
# what the model has to know).
VARIANTS = {
    "plain": ((), (), {}, ()),
    "async": ((), ("close=async",), {}, ("async",)),
    "keep_old": ((), ("keep_old",), {}, ("keep_old",)),
    "fine-tune": ((), (), {"purpose": "fine-tune"}, ()),
    "no_cache": ((), (), {"cache_size": "0"}, ("no_cache",)),
    "relist": ((), (), {"list_ttl": "0", "parallel": "1"}, ()),
    "latency": (("--latency", "5"), (), {"list_ttl": "1"}, ()),
    "faults": ((), (), {"retry_timeout": "20"}, ("lossy",)),
    "async_relist": (("--latency", "3"), ("close=async",), {"list_ttl": "0"}, ("async",)),
}
SOON = {"retry-after-ms": "20"}
FAULTS = [{"action": "status", "status": x, "headers": SOON} for x in (500, 502, 503, 429, 408)]


def some_size(rng):
    return rng.choice([1, rng.randrange(1, 100), rng.randrange(1, 5000), 4096,
                       rng.randrange(1, 2 * PART), PART, PART + 1])


def some_offset(rng):
    near = PART * rng.randrange(1, 4) + rng.randrange(-3, 4)
    return rng.choice([0, 0, rng.randrange(100), rng.randrange(5000), rng.randrange(3 * PART),
                       near])


def some_length(rng):
    return rng.choice([0, rng.randrange(100), rng.randrange(10000), PART, 2 * PART,
                       rng.randrange(4 * PART)])


def some_name(rng):
    return rng.choice(FILES + DIRS[:rng.randrange(len(DIRS))])


def some_flags(rng):
    flags = rng.choice(FLAGS) | rng.choice(MORE)
    # To make one and not to be able to write it: rarely.
    if flags & os.O_CREAT and not flags & os.O_ACCMODE and rng.random() < 0.7:
        flags |= os.O_RDWR
    return flags


KINDS = {
    # name: (how often, its arguments)
    "open": (22, lambda r: (r.randrange(SLOTS), r.choice(FILES), some_flags(r),
                            r.choice([0o644, 0o600, 0o755]), r.getrandbits(32))),
    "close": (14, lambda r: (r.randrange(SLOTS),)),
    "dup": (2, lambda r: (r.randrange(SLOTS), r.randrange(SLOTS))),
    "write": (12, lambda r: (r.randrange(SLOTS), some_size(r), r.getrandbits(32),
                             r.getrandbits(32))),
    "pwrite": (10, lambda r: (r.randrange(SLOTS), some_size(r), some_offset(r),
                              r.getrandbits(32), r.getrandbits(32))),
    "ftruncate": (4, lambda r: (r.randrange(SLOTS), some_length(r), r.getrandbits(32))),
    "fallocate": (2, lambda r: (r.randrange(SLOTS), r.choice([0, 1, 3]), some_offset(r),
                                some_size(r), r.getrandbits(32))),
    "mmap": (3, lambda r: (r.randrange(SLOTS), some_size(r), some_offset(r), r.getrandbits(32),
                           r.getrandbits(32))),
    "read": (6, lambda r: (r.randrange(SLOTS), some_size(r), r.getrandbits(32))),
    "seek": (2, lambda r: (r.randrange(SLOTS), some_offset(r), r.choice([0, 1, 2]))),
    "fsync": (1, lambda r: (r.randrange(SLOTS),)),
    "child_closes": (1, lambda r: (r.randrange(SLOTS),)),
    "child_writes": (1, lambda r: (r.randrange(SLOTS), some_size(r), some_offset(r),
                                   r.getrandbits(32), r.getrandbits(32))),
    "outlived": (1, lambda r: (r.randrange(SLOTS), some_size(r), some_offset(r),
                               r.getrandbits(32))),
    "killed": (1, lambda r: (r.choice(FILES), r.choice([os.O_WRONLY, os.O_RDWR])
                             | r.choice(MORE), some_size(r), r.getrandbits(32))),
    "truncate": (3, lambda r: (some_name(r), some_length(r))),
    "unlink": (4, lambda r: (some_name(r),)),
    "rename": (7, lambda r: (some_name(r), some_name(r),
                             model.RENAME_NOREPLACE if r.random() < 0.1 else 0)),
    "mkdir": (6, lambda r: (r.choice(DIRS),)),
    "rmdir": (2, lambda r: (some_name(r),)),
    "listdir": (3, lambda r: (r.choice(["", *DIRS]),)),
    "stat": (2, lambda r: (some_name(r),)),
    "chmod": (2, lambda r: (some_name(r), r.choice([0o600, 0o644, 0o755, 0o440]))),
    "utime": (2, lambda r: (some_name(r), r.randrange(10 ** 9, 2 * 10 ** 9) * 10 ** 9
                            + r.randrange(10 ** 9))),
    "check": (1, lambda r: ()),
}


def make_steps(rng, count, without=()):
    """With the directories first, since most names are in them."""
    kinds = [x for x in KINDS if x not in without]
    weights = [KINDS[x][0] for x in kinds]
    steps = [("mkdir", x) for x in DIRS[:3]]
    for kind in rng.choices(kinds, weights, k=count):
        steps.append((kind, *KINDS[kind][1](rng)))
    for _ in range(count // 300):
        if "remount" not in without:
            steps.insert(rng.randrange(len(steps)), ("remount",))
    return steps


def make_faults(rng, count):
    """
    Passing ones, now and then. Not for cancel: one that fails is not told. A reply
    to complete that is lost is looked for among the Files.
    """
    more = [{"action": "reset", "when": x} for x in ("before", "after")] + [
        {"action": x} for x in ("drop", "truncate", "invalid_json")]
    at, rules = 0, []
    while at < count:
        at += rng.randrange(10, 60)
        rules.append({"op": rng.choice(["create", "part", "complete", "list", "delete",
                                        "content"]),
                      "nth": at // 6, "times": rng.randrange(1, 3), **rng.choice(FAULTS + more)})
    return rules


class Failure(AssertionError):
    def __init__(self, text, done, steps):
        super().__init__(text)
        self.done, self.steps = done, steps


class Run:
    """One mount, with as many machines on it as there are lists of steps, each a process's."""

    def __init__(self, variant, seed, world):
        args, words, values, options = VARIANTS[variant]
        self.server = world.server(*args)
        if variant == "faults":
            self.server.faults(make_faults(random.Random(seed), 2000))
        self.mount = world.mount(self.server, *words, part_size="64K", hold_timeout="86400",
                                 **values)
        self.world, self.options = world, options
        self.purpose = values.get("purpose", "batch")
        self.root = self.mount.mnt if "purpose" in values else self.mount.path("batch")

    def machine(self, number=None):
        name = "" if number is None else f"m{number}"
        if name:
            os.mkdir(os.path.join(self.root, name))
        return model.Machine(self.mount, self.server, os.path.join(self.root, name),
                             self.world.path("local" + name), self.options,
                             name and name + "/", self.purpose)

    def do(self, steps, number=None):
        machine = self.machine(number)
        at = -1
        try:
            for at, step in enumerate(steps):
                machine.step(step)
            at = len(steps)
            machine.finish()
        except (AssertionError, OSError) as exc:
            done = steps[:at + 1]
            what = steps[at] if at < len(steps) else "the end"
            raise Failure(f"step {at}, {what}: {exc}", done, steps) from exc
        finally:
            machine.let_go()


def start_beside(work):
    """
    work() in a process of its own; the returned function waits for it and gives its Failure, or
    None. Threads won't do: the children of one machine would inherit the files of the others.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        failed = None
        try:
            work()
        except Failure as exc:
            failed = str(exc), exc.done, exc.steps
        except BaseException as exc:    # a mistake in the model itself
            failed = repr(exc), [], []
        finally:
            with open(writes, "wb") as f:
                pickle.dump(failed, f)
            os._exit(0)
    os.close(writes)

    def join():
        with open(reads, "rb") as f:
            told = f.read()
        os.waitpid(pid, 0)
        failed = pickle.loads(told) if told else ("its process died", [], [])
        return failed and Failure(*failed)

    return join


def beside(run, lists):
    """Each list by a machine of its own; the first Failure, or None."""
    jobs = [start_beside(functools.partial(run.do, steps, number))
            for number, steps in enumerate(lists)]
    failures = [join() for join in jobs]
    return next(filter(None, failures), None)


def alone(run, steps):
    try:
        run.do(steps)
    except Failure as exc:
        return exc
    return None


def once(variant, seed, *lists):
    """Does the lists of steps side by side. AssertionError with the logs when anything fails."""
    world = harness.World()
    failure = None
    try:
        run = Run(variant, seed, world)
        failure = beside(run, lists) if len(lists) > 1 else alone(run, lists[0])
    finally:
        if failure:
            run.mount.may_fail = True
            failure.logs = "".join(f"\n--- {name}\n{text[-2500:]}" for name, text in world.logs())
        try:
            world.close()
        except AssertionError as exc:
            failure = failure or exc
    if failure:
        raise failure


def shrink(variant, seed, steps):
    """The fewest steps found within SHRINK_SECONDS that still fail, and how."""
    end = time.monotonic() + SHRINK_SECONDS
    story, kind = None, None

    def fails(some):
        nonlocal story, kind
        try:
            once(variant, seed, some)
        except AssertionError as exc:
            step = exc.done[-1][0] if hasattr(exc, "done") else None
            if kind in (None, step):    # another failure would lead astray
                story, kind = exc, step
                return True
        return False

    model.PATIENCE = 5 * harness.SLOW
    if not fails(steps):
        return steps, None
    size = max(len(steps) // 2, 1)
    while time.monotonic() < end:
        at, before = 0, len(steps)
        while at < len(steps) and time.monotonic() < end:
            rest = steps[:at] + steps[at + size:]
            if rest and fails(rest):
                steps = rest
            else:
                at += size
        if size == 1 and len(steps) == before:
            break
        size = max(size // 2, 1)
    fails(steps)
    return steps, story


def steps_of(seed, count, machines=1):
    """One list of steps for each machine; of several, none that ends the others' mount."""
    rng = random.Random(seed)
    without = () if machines == 1 else ("remount",)
    return [make_steps(rng, count, without) for _ in range(machines)]


def head(variant, seed, count, machines=1):
    """What run() is to do, and the command that does it again."""
    return (f"variant {variant}, seed {seed}, {count} steps, {machines} at once; again: "
            f"tests/mount/model_runs.py --variant {variant} --seed {seed} --steps {count} "
            f"--machines {machines}")


def run(variant, seed, count, machines=1):
    """A whole run; AssertionError with its story, as short as it could be made."""
    lists = steps_of(seed, count, machines)
    try:
        once(variant, seed, *lists)
    except AssertionError as exc:
        text = f"{head(variant, seed, count, machines)}: {exc}"
        steps = getattr(exc, "done", lists[0])
        if machines == 1:
            steps, story = shrink(variant, seed, steps)
            text += f"\n--- made shorter: {story or 'it did not happen again'}"
        text += f"\n--- {len(steps)} steps:\n" + "\n".join(map(repr, steps))
        raise AssertionError(text + getattr(exc, "logs", "")) from None


def replay(variant, seed, path):
    with (sys.stdin if path == "-" else open(path, encoding="utf-8")) as f:
        once(variant, seed, [ast.literal_eval(x) for x in f if x.startswith("(")])


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10 ** 9))
    parser.add_argument("--variant", choices=[*VARIANTS, "all"], default="all")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="do not make it shorter")
    parser.add_argument("--replay", metavar="FILE")
    args = parser.parse_args()
    # As timeout(1) ends it: its mount and daemons go, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for variant in VARIANTS if args.variant == "all" else [args.variant]:
        start = time.monotonic()
        if args.replay:
            replay(variant, args.seed, args.replay)
        else:
            run(variant, args.seed, args.steps, args.machines)
        print(f"{variant}, seed {args.seed}: all is well in {time.monotonic() - start:.1f} s",
              flush=True)


if __name__ == "__main__":
    main()
