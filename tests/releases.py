#!/usr/bin/python3
"""
make releases: builds, runs the unit tests and make demo on each Debian release; a line for each.

Usage: tests/releases.py --build DIR [RELEASE...]

A release's root file system is made by debootstrap once, in BUILD/releases/NAME, from the mirror
that this machine's apt uses (MIRROR=URL names another one). The tracked files are copied into it
afresh each time. Everything runs in mount and process namespaces of its own, so that no mount and no
process outlives this program, however it ends. It is no part of make test: it wants root, the
network, 2 GiB of disk and ten minutes a release. Logs: BUILD/releases/NAME.log.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASES = ("bullseye", "bookworm", "trixie", "sid")
TIMEOUT = 3600
DEVICES = "null zero full random urandom tty fuse"
MODULES = ("fuse3", "libcurl", "libcjson", "libcrypto", "libmicrohttpd", "sqlite3", "cmocka")
STEPS = ("packages", "build", "unit", "demo")

# $1: the root, $2: a shell's words inside. It is the root of the mount namespace, not of a chroot:
# there user namespaces are refused, and mountinfo leaves out what / lies on. Its own /dev: what the
# tests leave in the host's /dev/shm would stay there.
ENTER = f"""
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in {DEVICES}; do
	[ -e "/dev/$name" ] || continue
	: > "$root/dev/$name"
	mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${{n%:*}}" "$root/dev/${{n#*:}}"; done
cd "$root"
pivot_root . .
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 LANG=C.UTF-8 \
	sh -c 'umount -l . && cd / && eval "$1"' sh "$2"
"""

# What runs inside says "== STEP" before each step and "== end" when all of them passed.
INSIDE = """
set -e
cd /src
echo '== packages'
sh tests/setup.sh unit
echo "== versions gcc=$(gcc -dumpfullversion) glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2) %s"
echo '== build'
make -j"$(nproc)" WERROR=1 all unit-bins
echo '== unit'
make unit
echo '== demo'
if [ -e /dev/fuse ]; then make demo; else echo '== no-fuse'; fi
echo '== end'
""" % " ".join(f"{x}=$(pkg-config --modversion {x})" for x in MODULES)


def mirror():
    """Where this machine's apt gets Debian from."""
    if os.environ.get("MIRROR"):
        return os.environ["MIRROR"]
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "ORIGIN: Debian",
                          "LABEL: Debian"], check=True, stdout=subprocess.PIPE, text=True).stdout
    if not out.split():
        sys.exit("apt has no Debian mirror here (is apt-get update to be run?); MIRROR=URL names one")
    return sorted(set(out.split()))[0]


def make_root(name, folder, log):
    """False: debootstrap failed, and the log says why."""
    if os.path.isdir(folder):
        return True
    new = folder + ".new"
    shutil.rmtree(new, ignore_errors=True)
    result = subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates,make",
                             name, new, mirror()], stdin=subprocess.DEVNULL, stdout=log,
                            stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
    if result.returncode:
        shutil.rmtree(new, ignore_errors=True)
        return False
    os.rename(new, folder)
    return True


def copy_tree(folder):
    """The tracked files, as they are in the working tree, to /src inside; names for localhost."""
    src = os.path.join(folder, "src")
    shutil.rmtree(src, ignore_errors=True)
    os.mkdir(src)
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True,
                           stdout=subprocess.PIPE).stdout
    there = b"\0".join(x for x in names.split(b"\0") if x and os.path.lexists(
        os.path.join(os.fsencode(ROOT), x)))
    tar = subprocess.run(["tar", "-C", ROOT, "--null", "-T", "-", "-cf", "-"], input=there,
                         check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-C", src, "--no-same-owner", "-xf", "-"], input=tar, check=True)
    with open(os.path.join(folder, "etc", "hosts"), "w", encoding="utf-8") as f:
        f.write("127.0.0.1 localhost\n::1 localhost\n")
    shutil.copy("/etc/resolv.conf", os.path.join(folder, "etc", "resolv.conf"))


def enter(folder, log):
    subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                    "--kill-child", "sh", "-ec", ENTER, "sh", folder, INSIDE],
                   stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                   timeout=TIMEOUT, check=False)


def outcome(text):
    """(whether all passed, the words of the line) of a release's log."""
    reached = re.findall(r"^== (\w+)$", text, re.M)
    versions = re.findall(r"^== versions (.*)$", text, re.M)
    words = [x.replace("=", " ") for v in versions for x in v.split()]
    if "packages" not in reached:
        return False, ["the root FAILED"]
    counts = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
    for step, following in zip(STEPS, (*STEPS[1:], "end")):
        ok = following in reached
        said = step + (" ok" if ok else " FAILED")
        if step == "unit" and counts:
            said = "unit %s passed, %s failed" % counts[-1]
        if step == "demo" and "== no-fuse" in text:
            said = "no /dev/fuse, so no demo"
        words.append(said)
        if not ok:
            return False, words
    return True, words


def try_release(name, base):
    folder = os.path.join(base, name)
    path = folder + ".log"
    with open(path, "w", encoding="utf-8") as log:
        if make_root(name, folder, log):
            copy_tree(folder)
            try:
                enter(folder, log)
            except subprocess.TimeoutExpired:
                print("not in time", file=log)
    with open(path, encoding="utf-8", errors="replace") as log:
        ok, words = outcome(log.read())
    print(f"{name}: {', '.join(words)}" + ("" if ok else f"; see {path}"), flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=2)[1])
    parser.add_argument("--build", default="build")
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=" ".join(RELEASES))
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("make releases: root only, since debootstrap and chroot are")
    base = os.path.join(ROOT, args.build, "releases")
    os.makedirs(base, exist_ok=True)
    results = [try_release(x, base) for x in args.releases or RELEASES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
