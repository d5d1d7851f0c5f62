#!/usr/bin/python3
"""Checks the models of tests/model by spin, and their rules against those of the program.

Usage: tests/model/run.py [--build DIR] [--short]

A line for each run: its bounds, the states, transitions and depth, and what spin found. The exit code
is 0 if every run ended as it has to: the present design without a violation and searched to the end,
each former rule with one. --short: bounds that CI has time for.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MEMORY_MB = 7500
TIMEOUT = 1800

PUBLICATION = {"losses": 0, "refusals": 0, "crashes": 0, "strangers": 0, "rewrites": 0, "drops": 0,
               "former": 0}
NAMESPACE = {"crashes": 0, "cuts": 0, "fails": 0, "former": 0}
# Verifier → (model, how it is compiled, what its bounds are without a word).
VERIFIERS = {
    "publication": ("publication", ["-DNPUB=1"], PUBLICATION),
    "publication-2": ("publication", ["-DNPUB=2", "-DCOLLAPSE"], PUBLICATION),
    "namespace": ("namespace", ["-DUSERS=1"], NAMESPACE),
    "namespace-2": ("namespace", ["-DUSERS=2"], NAMESPACE),
}
# (verifier, bounds, the former rule that has to fail; "": the present design).
SHORT = [
    ("publication", {"losses": 1, "strangers": 1}, "A3"),
    ("publication", {"losses": 1}, "A5"),
    ("publication", {"losses": 1, "strangers": 1, "drops": 1}, "A1"),
    ("publication", {"losses": 1, "crashes": 1}, ""),
    ("publication", {"losses": 1, "rewrites": 1}, ""),
    ("publication", {"refusals": 1, "losses": 1}, ""),
    ("namespace", {"crashes": 1, "fails": 1}, "B1"),
    ("namespace", {"crashes": 1, "fails": 1}, "C1"),
    ("namespace", {"crashes": 1}, "D2"),
    ("namespace", {"crashes": 1, "fails": 1}, ""),
    ("namespace", {"cuts": 1, "fails": 1}, ""),
]
LONG = SHORT + [
    ("publication", {"losses": 1, "strangers": 1}, ""),
    ("publication", {"losses": 1, "crashes": 1, "drops": 1}, ""),
    ("publication", {"losses": 1, "rewrites": 1, "drops": 1}, ""),
    ("publication", {"losses": 2}, ""),
    ("publication", {"losses": 1, "strangers": 1, "drops": 1}, ""),
    ("publication-2", {"losses": 1, "drops": 1}, "A1"),
    ("publication-2", {"losses": 1, "drops": 1}, ""),
    ("namespace", {"crashes": 1, "cuts": 1, "fails": 1}, ""),
    ("namespace-2", {"fails": 1}, ""),
]
FORMER = {"": 0, "A1": 1, "A3": 3, "A5": 5, "B1": 1, "C1": 2, "D2": 3}


def run(argv, where, env=None, timeout=TIMEOUT):
    return subprocess.run(argv, cwd=where, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=timeout, check=False)


def generate(model, where, options):
    """pan.c of the model below where."""
    os.makedirs(where, exist_ok=True)
    done = run(["spin", "-a", *options, os.path.join(HERE, model + ".pml")], where)
    if done.returncode or not os.path.exists(os.path.join(where, "pan.c")):
        raise SystemExit(f"spin can't read {model}.pml:\n{done.stdout}")


def compile_verifier(where, options, sources=()):
    done = run(["gcc", "-w", "-O1", "-DSAFETY", "-DNOFAIR", f"-DMEMLIM={MEMORY_MB}", "-I" + ROOT, *options,
                "-o", "pan", "pan.c", *sources], where)
    if done.returncode:
        raise SystemExit(f"{where}: the verifier can't be compiled:\n{done.stdout[-3000:]}")


def make_verifier(build, name):
    model, options, _ = VERIFIERS[name]
    where = os.path.join(build, name)
    generate(model, where, options)
    compile_verifier(where, [])


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def write_names(where):
    """rules.pml's numbers as C, so that table.h compares each with the enum's."""
    with open(os.path.join(HERE, "rules.pml"), encoding="utf-8") as f:
        names = re.findall(r"^#define M_(\w+) (\d+)$", f.read(), flags=re.M)
    folder = os.path.join(where, "tests/model")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "rules_names.h"), "w", encoding="utf-8") as f:
        f.writelines(f"#define M_{name} {value}\n" for name, value in names)
        f.write("#define RULES_NAMES " + " ".join(f"NAME({name})" for name, _ in names) + "\n")


def compare(where, next_c="fs/publish/next.c", doubt_c="fs/publish/doubt_next.c", spin=()):
    """The output of table.pml's run: the rules of the models against those of the two files."""
    generate("table", where, spin)
    write_names(where)
    compile_verifier(where, ["-DNOREDUCE", "-I" + where],
                     [os.path.join(ROOT, next_c), os.path.join(ROOT, doubt_c)])
    return run(["./pan", "-w12", "-m100"], where).stdout


def mutant(where, source, before, after):
    """A copy of the source with one rule changed."""
    with open(os.path.join(ROOT, source), encoding="utf-8") as f:
        text = f.read()
    if text.count(before) != 1:
        raise SystemExit(f"{source}: the rule to change is not there once: {before}")
    path = os.path.join(where, "mutant_" + os.path.basename(source))
    os.makedirs(where, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(before, after))
    return path


# A change of either side has to be noticed.
MUTANTS = [
    ("next_c", "fs/publish/next.c", "v->missing > 0 ||", "0 ||"),
    ("doubt_c", "fs/publish/doubt_next.c", "v->dated && !v->later;", "v->dated;"),
    ("spin", "", "-DRULES_MUTANT", ""),
]


def check_table(build):
    start = time.monotonic()
    out = compare(os.path.join(build, "table"))
    compared = number(r"(\d+) views compared", out)
    good = "errors: 0" in out and compared > 1000000
    print(f"table: rules.pml, next.c, doubt_next.c: {compared} "
          f"views compared: {'the same' if good else 'NOT THE SAME'}, {time.monotonic() - start:.1f} s",
          flush=True)
    if not good:
        print("\n".join(out.splitlines()[:10]))
    for kind, source, before, after in MUTANTS:
        where = os.path.join(build, "mutant")
        args = {"spin": [before]} if kind == "spin" else {kind: mutant(where, source, before, after)}
        noticed = re.search(r"^(publish|doubt)_\w+: the model says", compare(where, **args), flags=re.M)
        print(f"table: {source or 'rules.pml'} with a rule changed: "
              f"{'noticed' if noticed else 'NOT NOTICED'}", flush=True)
        good = good and bool(noticed)
    return good


def check(build, verifier, bounds, former):
    where = os.path.join(build, verifier)
    values = dict(VERIFIERS[verifier][2], **bounds, former=FORMER[former])
    env = dict(os.environ, **{name: str(value) for name, value in values.items()})
    start = time.monotonic()
    out = run(["./pan", "-m50000", "-w22"], where, env=env).stdout
    violated = re.search(r"^pan:\d+: (.*)$", out, flags=re.M)
    whole = "errors: 0" in out and "Search not completed" not in out
    if former:
        good = bool(violated) and "assertion violated" in violated.group(1)
        verdict = "violation found, as it has to be" if good else "NO VIOLATION FOUND"
    else:
        good = whole and not violated
        verdict = "holds" if good else "FAILS: " + (violated.group(1) if violated else "not searched to "
                                                    "the end")
    name = f"{verifier} (former {former})" if former else verifier
    told = " ".join(f"{key}={value}" for key, value in bounds.items())
    print(f"{name}: {told}: {number(r'(?m)^ *([0-9]+) states, stored', out)} states, "
          f"{number(r'(?m)^ *([0-9]+) transitions', out)} transitions, depth "
          f"{number(r'depth reached ([0-9]+)', out)}: {verdict}, {time.monotonic() - start:.1f} s",
          flush=True)
    if not good:
        print(out[:2000])
        print(f"again, step by step: cd {where} && "
              + " ".join(f"{key}={value}" for key, value in values.items())
              + " ./pan -r *.trail")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    build = os.path.join(os.path.abspath(args.build), "model")
    runs = SHORT if args.short else LONG
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = [pool.submit(make_verifier, build, name)
                for name in dict.fromkeys(x[0] for x in runs)]
        good = check_table(build)
        for one in made:
            one.result()
    for one in runs:
        good = check(build, *one) and good
    print("the models hold" if good else "THE MODELS FAIL")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
