#!/usr/bin/python3
"""Builds, runs every test, and ends with one line: N passed, N failed.

Usage: tests/run.py [--build DIR] [STAGE...]

Without a stage: all of ALL_STAGES below, in that order; a stage that fails
does not stop the ones behind it. The whole output stands in BUILD/test-logs, a
file for each stage, or for each test program of it; what failed is printed. A test that is skipped
counts as failed: there is nothing in this suite that may be left out.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
import lint  # noqa: E402
import sanitizer  # noqa: E402

CPUS = min(os.cpu_count() or 1, 4)
# Mounted tests and those of the server wait for each other's round trips half of the time.
WAITERS = CPUS + 2
# Two of the unit tests (test_api, test_api_raw) do nothing but wait for time-outs.
UNITS = CPUS + 2
BUILD_TIMEOUT = 600
UNIT_TIMEOUT = 180
PYTEST_TIMEOUT = 900
NOTHING_SELECTED = 5  # pytest's exit code when -m leaves no test of a file


class Result:
    """What a stage has to say: how many passed, and the failed ones with their story."""

    def __init__(self):
        self.passed = 0
        self.failures = []  # (name, text)

    def add(self, name, ok, text=""):
        if ok:
            self.passed += 1
        else:
            self.failures.append((name, text))


HOST_OPTIONS = "/etc/uploadfs.conf"
# $0: the file to hide; the rest is the command.
HIDE = """
empty=$(mktemp)
chmod 644 "$empty"
mount --bind "$empty" "$0"
rm "$empty"
exec "$@"
"""


class Run:
    """One run: its build directory, its logs, its private TMPDIR."""

    def __init__(self, build):
        self.build = build
        self.running = set()
        self.stopping = False
        self.logs = os.path.join(ROOT, build, "test-logs")
        os.makedirs(self.logs, exist_ok=True)
        # Short: the longest path of a test must fit.
        self.tmp = tempfile.mkdtemp(prefix="uploadfs-run-")
        # Some tests do things as another user, who has to get through here.
        os.chmod(self.tmp, 0o711)
        # The other tools' own: rclone makes a directory there.
        self.config = os.path.join(self.tmp, "config")
        os.mkdir(self.config, 0o755)
        self.env = dict(os.environ, TMPDIR=self.tmp, LC_ALL="C.UTF-8", PYTHONUTF8="1",
                        PYTHONDONTWRITEBYTECODE="1",
                        # Not the options of the user who runs the tests.
                        XDG_CONFIG_HOME=self.config)
        # A make above this one must not talk to the ones below.
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
            self.env.pop(name, None)
        for name in list(self.env):
            if name.startswith(("OPENAI_", "AZURE_OPENAI_", "SSL_CERT_")) \
                    or name.lower().endswith("_proxy"):
                del self.env[name]

    def out(self, san):
        return os.path.join(self.build, san) if san else self.build

    def command(self, argv, timeout, env=None, log=None):
        """(exit code or None after a time-out, output). Ends the whole process group."""
        if self.stopping:
            return None, "interrupted"
        proc = subprocess.Popen(argv, cwd=ROOT, env=env or self.env, start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        self.running.add(proc.pid)
        try:
            out, _ = proc.communicate(timeout=timeout)
            code = proc.returncode
            stacks = ""
        except subprocess.TimeoutExpired:
            stacks = "\n--- stacks when the time was up\n" + stacks_of(proc.pid)
            os.killpg(proc.pid, signal.SIGKILL)
            out, _ = proc.communicate()
            code = None
        self.running.discard(proc.pid)
        text = out.decode("utf-8", "replace") + stacks
        if log:
            with open(os.path.join(self.logs, log + ".log"), "w", encoding="utf-8") as f:
                f.write(text)
        return code, text

    def interrupt(self, signum, _frame):
        """SIGINT and SIGTERM: ends what runs; main() then cleans up."""
        self.stopping = True
        for pid in list(self.running):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        sys.exit(128 + signum)

    def leftovers(self):
        """Removes mounts, processes and files that the stage left; says which there were."""
        found = []
        with open("/proc/self/mounts", encoding="utf-8") as f:
            for mnt in [x.split()[1] for x in f if x.split()[1].startswith(self.tmp + "/")]:
                found.append("mount " + mnt)
                subprocess.run(["fusermount3", "-u", "-z", mnt], check=False)
        for pid in [x for x in os.listdir("/proc") if x.isdigit() and int(x) != os.getpid()]:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    line = f.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                # Our own private directory in its arguments: nobody else's process.
                if self.tmp + "/" in line:
                    found.append(f"process {pid}: {line[:200]}")
                    os.kill(int(pid), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
        for name in os.listdir(self.tmp):
            if os.path.join(self.tmp, name) == self.config:
                continue
            found.append("file " + os.path.join(self.tmp, name))
            path = os.path.join(self.tmp, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
        return found


def stacks_of(pid):
    """Where its threads are, when there is a gdb to ask."""
    try:
        return subprocess.run(["gdb", "-nx", "-p", str(pid), "-batch", "-ex",
                               "thread apply all bt 12"], stdout=subprocess.PIPE, timeout=60,
                              stderr=subprocess.DEVNULL, text=True, check=False).stdout[-8000:]
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""


def stage_build(run, res, name, san=""):
    targets = ["all", "unit-bins", *{"asan": ["torture-bins"],
                                     "": [run.build + "/simulate"]}.get(san, [])]
    code, text = run.command(["make", "--no-print-directory", "-k", f"-j{CPUS}", "WERROR=1",
                              "BUILD=" + run.build, "SAN=" + san, *targets],
                             BUILD_TIMEOUT, log=name)
    errors = [x for x in text.splitlines() if re.search(r"error|Error|undefined reference", x)]
    res.add(name, code == 0, "\n".join(errors[:60]) or text[-3000:])


def stage_torture(run, res, name, san):
    """Few points of each scene and kind; make torture goes through all."""
    code, text = run.command([sys.executable, "-B", os.path.join(TESTS, "torture", "torture.py"),
                              "--build", os.path.join(ROOT, run.out(san)), "--points", "3"],
                             UNIT_TIMEOUT, log=name)
    scenes = re.findall(r"^(\w+ \w+ \w+): (\d+) points$", text, re.M)
    res.passed += len(scenes)
    if code or not scenes:
        res.add(name, False, text[-6000:])


def stage_lint(run, res, name):
    results, warnings = lint.run(ROOT)
    for line in warnings:
        print("    warning: " + line)
    for check, found in results:
        res.add(f"{name}: {check}", not found, "\n".join(found))


def stage_fmt(run, res, name):
    code, text = run.command(["make", "-s", "--no-print-directory", "fmt-check"], 120, log=name)
    files = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", text, flags=re.M)))
    res.add(name, code == 0, "make fmt would change: " + " ".join(files) if files else text)


def stage_model(run, res, name):
    """A line of tests/model/run.py is a test."""
    code, text = run.command([sys.executable, "-B", os.path.join(TESTS, "model", "run.py"), "--short",
                              "--build", run.build], BUILD_TIMEOUT, log=name)
    good = re.findall(r": (?:the same|noticed|holds|violation found)\b", text)
    res.passed += len(good)
    if code != 0 or not good:
        res.add(name, False, text[-6000:])


def parse_tap(text, code):
    """(passed, names of the failed) of one cmocka executable."""
    passed, failed = 0, []
    for line in text.splitlines():
        m = re.match(r"(not )?ok \d+ - (.*)", line)
        if m and (m.group(1) or "# SKIP" in m.group(2)):
            failed.append(m.group(2))
        elif m:
            passed += 1
    planned = sum(int(x) for x in re.findall(r"^1\.\.(\d+)", text, flags=re.M))
    if code is None:
        failed.append("did not end in time")
    elif code != 0 and not failed:
        failed.append(f"exit code {code}")
    elif passed + len(failed) != planned or not planned:
        failed.append(f"{planned} tests planned, {passed + len(failed)} reported")
    return passed, failed


def stage_unit(run, res, name, san=""):
    sources = sorted(glob.glob(os.path.join(TESTS, "unit", "test_*.c")))
    names = [os.path.basename(x)[:-2] for x in sources]
    names.sort(key=lambda x: x not in SLOW_UNITS)
    env = dict(run.env, CMOCKA_MESSAGE_OUTPUT="TAP", **sanitizer.options(""))

    def one(test):
        path = os.path.join(run.out(san), "unit", test)
        if not os.path.exists(os.path.join(ROOT, path)):
            return test, 0, ["not built"], ""
        code, text = run.command(sanitizer.wrap(san, [path]), UNIT_TIMEOUT, env=env,
                                 log=f"{name}-{test}")
        return (test, *parse_tap(text, code), text)

    with concurrent.futures.ThreadPoolExecutor(UNITS) as pool:
        for test, passed, failed, text in pool.map(one, names):
            res.passed += passed
            for case in failed:
                res.add(f"{test}: {case}", False, text[-6000:])
    if not names:
        res.add(name, False, "no unit tests found")


def stage_simulate(run, res, name):
    """Seeds that failed once, a number of others, and a disk that lies, which has to be noticed."""
    program = os.path.join(run.build, "simulate")
    seeds = os.path.join(TESTS, "simulate", "seeds.txt")

    code, text = run.command([program, "--regressions", seeds, "--count", str(SIMULATE_SEEDS),
                              "--seconds", str(UNIT_TIMEOUT)], UNIT_TIMEOUT, log=name)
    res.add(name, code == 0, text[-6000:])
    code, text = run.command([program, "--lying-disk", "--keep-on", "--count", "40"],
                             UNIT_TIMEOUT, log=name + "-lying-disk")
    res.add(name + ": a disk that lies", code == 1 and " fails: " in text, text[-6000:])


def parse_junit(path, res):
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = case.get("classname", "") + "::" + case.get("name", "")
        bad = [x for x in case if x.tag in ("failure", "error", "skipped")]
        text = "\n".join((x.text or x.get("message") or "") for x in bad)
        for part in case:
            if bad and part.tag in ("system-out", "system-err") and part.text:
                text += f"\n--- {part.tag}\n{part.text[-6000:]}"
        res.add(name, not bad, text)


def stage_pytest(run, res, name, folder, san="", select="", leave=()):
    """One pytest for each file but those of leave, WAITERS at a time."""
    env = dict(run.env, UPLOADFS_BUILD=os.path.join(ROOT, run.out(san)), UPLOADFS_SAN=san,
               UPLOADFS_BUILD_TOP=os.path.join(ROOT, run.build))
    files = [x for x in glob.glob(os.path.join(TESTS, folder, "test_*.py"))
             if os.path.basename(x) not in leave]
    # The long ones first, so that none is left over for the end.
    files.sort(key=lambda x: (os.path.basename(x) in SLOW, os.path.getsize(x)), reverse=True)
    lock = threading.Lock()

    def one(path):
        log = f"{name}-{os.path.basename(path)[:-3]}"
        report = os.path.join(run.logs, log + ".xml")
        if os.path.exists(report):
            os.unlink(report)
        base = os.path.join(run.tmp, log)
        argv = [sys.executable, "-B", "-m", "pytest", "-c", os.path.join(TESTS, "pytest.ini"),
                "--rootdir", ROOT, "--basetemp", base, "--tb=short", "-q", "--durations=10",
                "--junitxml", report, *(["-m", select] if select else []), path]
        code, text = run.command(argv, PYTEST_TIMEOUT, env=env, log=log)
        shutil.rmtree(base, ignore_errors=True)
        with lock:
            before = len(res.failures)
            if os.path.exists(report):
                parse_junit(report, res)
            if code is None:
                res.add(log, False, f"did not end within {PYTEST_TIMEOUT} s\n" + text[-3000:])
            elif code not in (0, NOTHING_SELECTED) and len(res.failures) == before:
                res.add(log, False, text[-3000:])

    with concurrent.futures.ThreadPoolExecutor(WAITERS) as pool:
        list(pool.map(one, files))
    if not res.passed and not res.failures:
        res.add(name, False, "no test ran")


# Of seeds that nobody has seen fail; make simulate looks for others.
SIMULATE_SEEDS = 200

# Of the unit tests: they begin first, so that none is left over for the end.
SLOW_UNITS = ("test_api", "test_api_raw", "test_publish_faults", "test_staged_md5",
              "test_staged_race", "test_two_hosts", "test_fetch")

# Many runs of a few paths, which the other tests take under TSan, too: with it they would take
# longer than all the rest together. And what one program after the other does: the subcommands, the
# start, tools, names and networks.
LONG = ("test_killed.py", "test_expiry.py", "test_fault_matrix.py", "test_outage.py",
        "test_cli.py", "test_boot.py", "test_doubt.py", "test_shapes.py", "test_networks.py",
        "test_editors.py", "test_tools.py", "test_directories.py", "test_names.py",
        "test_damage.py")

# Files that take half a minute or more in one of the stages, whatever their size.
SLOW = ("test_async.py", "test_crash.py", "test_deb.py", "test_expiry.py", "test_failures.py",
        "test_fault_matrix.py", "test_fuzz.py", "test_killed.py", "test_load.py", "test_outage.py",
        "test_races.py", "test_run.py", "test_soak.py", "test_writers.py")

STAGES = {
    "build": (stage_build, {}),
    "build-asan": (stage_build, {"san": "asan"}),
    "build-tsan": (stage_build, {"san": "tsan"}),
    "lint": (stage_lint, {}),
    "fmt-check": (stage_fmt, {}),
    "model": (stage_model, {}),
    "tools": (stage_pytest, {"folder": "tools"}),
    "unit": (stage_unit, {}),
    "unit-asan": (stage_unit, {"san": "asan"}),
    "unit-tsan": (stage_unit, {"san": "tsan"}),
    "torture": (stage_torture, {"san": "asan"}),
    "simulate": (stage_simulate, {}),
    "server": (stage_pytest, {"folder": "server"}),
    "server-asan": (stage_pytest, {"folder": "server", "san": "asan", "select": "not plain"}),
    "server-tsan": (stage_pytest, {"folder": "server", "san": "tsan", "select": "not plain"}),
    "mounted": (stage_pytest, {"folder": "mount"}),
    "mounted-plain": (stage_pytest, {"folder": "mount", "select": "plain"}),
    "mounted-asan": (stage_pytest, {"folder": "mount", "san": "asan", "select": "not plain"}),
    "mounted-tsan": (stage_pytest, {"folder": "mount", "san": "tsan",
                                    "select": "not plain and not no_tsan",
                                    "leave": LONG}),
}
ALL_STAGES = ["build", "build-asan", "build-tsan", "lint", "fmt-check", "model", "tools", "unit",
              "unit-asan", "unit-tsan", "torture", "simulate", "server", "server-asan",
              "server-tsan", "mounted-asan", "mounted-plain", "mounted-tsan"]


def with_builds(names):
    """The stages asked for, each behind the build it needs."""
    wanted = []
    for name in names:
        func, args = STAGES[name]
        needs = ["build-" + args["san"] if args.get("san") else "build"]
        if name == "tools":
            needs = ["build", "build-asan", "build-tsan"]
        if func in (stage_unit, stage_torture, stage_simulate, stage_pytest):
            wanted += [x for x in needs if x not in wanted + names]
        wanted.append(name)
    return wanted


def run_stage(run, name):
    """The stage's result, printed; a stage that breaks is a failure of its own."""
    res = Result()
    func, args = STAGES[name]
    start = time.monotonic()
    if sys.stdout.isatty():
        print(f"{name:14} …", end="\r", flush=True)
    try:
        func(run, res, name, **args)
    except Exception as exc:  # noqa: BLE001: every stage must be reported
        res.add(name, False, f"{type(exc).__name__}: {exc}")
    left = run.leftovers()
    if left:
        res.add(name + ": leaves something behind", False, "\n".join(left))
    print(f"{name:14} {res.passed:4} passed, {len(res.failures):3} failed"
          f"  {time.monotonic() - start:6.1f} s", flush=True)
    for test, text in res.failures:
        print(f"  FAILED {test}")
        for line in text.strip().splitlines():
            print("    " + line)
    sys.stdout.flush()
    return res


def hide_host_options():
    """
    Options that /etc/uploadfs.conf gives this host's mounts are not for the tests: start again, as
    the same process, in a mount namespace where that file is an empty one.
    """
    try:
        with open(HOST_OPTIONS, encoding="utf-8", errors="replace") as f:
            if not any(x.strip() and not x.strip().startswith("#") for x in f):
                return
    except FileNotFoundError:
        return
    if os.geteuid() != 0:
        sys.exit(f"{HOST_OPTIONS} sets options for every mount; run the tests as root, which "
                 "hides it from them, or move it away")
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", HIDE,
                          HOST_OPTIONS, sys.executable, "-B", *sys.argv])


def main():
    hide_host_options()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("stages", nargs="*", metavar="STAGE",
                        help="any of: " + " ".join(STAGES))
    args = parser.parse_args()
    unknown = [x for x in args.stages if x not in STAGES]
    if unknown:
        parser.error(f"no such stage: {unknown[0]}; there are: {' '.join(STAGES)}")
    run = Run(args.build)
    signal.signal(signal.SIGINT, run.interrupt)
    signal.signal(signal.SIGTERM, run.interrupt)
    start = time.monotonic()
    try:
        results = [(x, run_stage(run, x)) for x in with_builds(args.stages or ALL_STAGES)]
    finally:
        run.leftovers()
        shutil.rmtree(run.tmp, ignore_errors=True)
    failed = sum(len(r.failures) for _, r in results)
    for name, res in results:
        for test, _ in res.failures:
            print(f"FAILED {name}: {test}")
    print(f"{len(results)} stages in {time.monotonic() - start:.0f} s, logs in {run.logs}")
    print(f"{sum(r.passed for _, r in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
