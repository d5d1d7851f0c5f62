"""What the figures were taken on: the machine and the versions of all that took part."""
import os
import re
import subprocess
import tempfile
import time

from lab import ROOT


def _first(argv, pattern=r"\d+(\.\d+)+"):
    """The first match in what a command prints, or '' where there is no such command."""
    try:
        out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             check=False, cwd=ROOT).stdout
    except FileNotFoundError:
        return ""
    found = re.search(pattern, out)
    return found.group(0) if found else ""


def _file(path, pattern):
    with open(path, encoding="utf-8") as f:
        return re.search(pattern, f.read(), re.M).group(1).strip()


def host():
    cpu = _file("/proc/cpuinfo", r"^model name\s*:(.*)$")
    memory = int(_file("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / (1 << 20)
    kind = _first(["findmnt", "-n", "-o", "FSTYPE", "-T", tempfile.gettempdir()], r"\S+")
    return (f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GiB, "
            f"Linux {os.uname().release}, staged files on {kind}, sources in memory")


def versions(npm):
    found = {
        "uploadfs": _first(["git", "rev-parse", "--short", "HEAD"], r"\w+"),
        "libfuse": _first(["pkg-config", "--modversion", "fuse3"]),
        "libcurl": _first(["pkg-config", "--modversion", "libcurl"]),
        "openssl": _first(["openssl", "version"]),
        "curl": _first(["curl", "--version"]),
        "node": _first(["node", "--version"]),
        "s3fs": _first(["s3fs", "--version"]),
        "rclone": _first(["rclone", "version"]),
        "bindfs": _first(["bindfs", "--version"]),
    }
    for name in ("openai", "s3rver"):
        path = os.path.join(npm, "node_modules", name, "package.json")
        if os.path.exists(path):
            found[name] = _file(path, r'"version": "([^"]+)"')
    return {k: v for k, v in found.items() if v}


def describe(npm):
    return {"host": host(), "versions": versions(npm), "date": time.strftime("%Y-%m-%d"),
            "load": os.getloadavg()[0]}
