"""How binaries built with a sanitizer are started, and where their reports go."""
import functools
import glob
import os
import re
import subprocess


def options(folder):
    """Environment for the sanitizers; reports go to folder/san/, or to stderr when it is ''."""
    place = os.path.join(folder, "san")
    if folder and not os.path.isdir(place):
        os.makedirs(place, exist_ok=True)
        # A daemon of another user reports, too.
        os.chmod(place, 0o1777)

    def line(tool, text):
        return text + (f":log_path={os.path.join(place, tool)}" if folder else "")

    return {
        "ASAN_OPTIONS": line("asan", "detect_leaks=1:exitcode=99:detect_stack_use_after_return=1"
                             ":handle_abort=1:allocator_may_return_null=1"),
        "UBSAN_OPTIONS": line("ubsan", "print_stacktrace=1:halt_on_error=1"),
        "LSAN_OPTIONS": "report_objects=0",
        "TSAN_OPTIONS": line("tsan", "halt_on_error=0:exitcode=99:second_deadlock_stack=1"
                             ":history_size=4"),
    }


@functools.lru_cache(maxsize=None)
def _no_random_addresses():
    """Whether setarch -R works here: some containers forbid it."""
    try:
        return subprocess.run(["setarch", "-R", "true"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def wrap(san, argv):
    """
    argv to start a binary of that build with. gcc 12's sanitizers lay out their
    shadow memory for less address randomisation than newer kernels use by default.
    """
    return ["setarch", "-R", *argv] if san and _no_random_addresses() else list(argv)


def reports(folder):
    """
    The texts of the reports in folder: in files of their own, and, as gcc 12's
    UBSan beside ASan heeds no log_path, in the output kept in *.log.
    """
    texts = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "san", "*"))):
        with open(path, encoding="utf-8", errors="replace") as f:
            texts.append(f.read()[:8000])
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.log"))):
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        # Without ".*" before it: that would go to the end from each line of a long log.
        found = re.search(r": runtime error: |(ERROR|WARNING): \w+Sanitizer", text)
        if found:
            texts.append(text[text.rfind("\n", 0, found.start()) + 1:][:8000])
    return [x for x in texts if x.strip()]
