#!/usr/bin/python3
"""
make boot: a Debian of its own is started under systemd, with the package in it, and uses it from
fstab and from the unit; it is shut down while files are on their way.

systemd is process 1 of a container (systemd-nspawn), whose root is made by debootstrap once, in
BUILD/boot/base, and overlaid for each run. It is no part of make test: it wants root, the network
for debootstrap, and two minutes. Needs the packages debootstrap and systemd-container.
"""
import os
import shutil
import subprocess
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, os.path.join(TESTS, "mount"))
import harness  # noqa: E402
from harness import KEY, run  # noqa: E402

BUILD = os.path.join(ROOT, os.environ.get("UPLOADFS_BUILD_TOP") or "build")
BASE = os.path.join(BUILD, "boot", "base")
PACKAGES = "systemd,systemd-sysv,dbus,fuse3,libcurl4,libcjson1,libmicrohttpd12"
LATENCY_MS = 1500  # of each request: what is closed at the shutdown takes a while

# $1: the directory for it, $2: the base. Hosts without systemd have no cgroup2 there.
CONTAINER = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay none -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" "$1/root"
mount -t cgroup2 none /sys/fs/cgroup
sh -e -c "$3" sh "$1/root"
mkdir "$1/root/shared"
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$1/root" --bind=/dev/fuse \
	--bind="$4:/shared" --console=read-only --boot systemd.log_target=console
"""

PREPARE = """
cp "$DEB" "$1/root/uploadfs.deb"
chroot "$1" dpkg -i /root/uploadfs.deb
mkdir "$1/mnt/fstab" "$1/mnt/unit" "$1/etc/systemd/system/uploadfs@mnt-unit.service.d"
(umask 077; echo "$KEY" > "$1/etc/openai.key")
echo "$URL /mnt/fstab uploadfs _netdev,nofail,close=async,api_key_file=/etc/openai.key 0 0" \
	> "$1/etc/fstab"
printf '[Service]\\nEnvironment=SOURCE=%s\\nEnvironment=OPTIONS=%s\\n' "$URL" \
	close=async,api_key_file=/etc/openai.key \
	> "$1/etc/systemd/system/uploadfs@mnt-unit.service.d/here.conf"
cp "$PROBE" "$1/root/probe"
printf '[Unit]\\nAfter=multi-user.target\\n[Service]\\nType=oneshot\\nExecStart=/bin/bash /root/probe\\n' \
	> "$1/etc/systemd/system/probe.service"
printf 'StandardOutput=file:/shared/probe.log\\nStandardError=inherit\\n' \
	>> "$1/etc/systemd/system/probe.service"
mkdir -p "$1/etc/systemd/system/graphical.target.wants"
ln -s ../probe.service "$1/etc/systemd/system/graphical.target.wants/probe.service"
chroot "$1" systemctl --quiet mask console-getty.service
chroot "$1" systemctl --quiet enable uploadfs@mnt-unit.service
chroot "$1" systemctl --quiet set-default graphical.target
"""

# Runs inside, once the system is up. A line "NAME: VALUE" for each thing that is to be seen.
PROBE = """
unit=uploadfs@mnt-unit.service
say() { echo "$1: $2"; }
state() { systemctl is-active "$1"; }
mounted() { grep -c " $1 fuse.uploadfs " /proc/mounts; }
say fstab-at-boot "$(state mnt-fstab.mount) $(mounted /mnt/fstab)"
say unit-at-boot "$(state $unit) $(mounted /mnt/unit)"
say status "$(systemctl show -p StatusText --value $unit)"
for at in fstab unit; do
	cp /etc/passwd /mnt/$at/batch/first-$at
	uploadfs wait /mnt/$at
done
systemctl reload $unit; say reload "$? $(state $unit)"
systemctl kill --signal=KILL $unit
for i in $(seq 300); do
	[ "$(systemctl show -p NRestarts --value $unit)" = 1 ] && [ "$(state $unit)" = active ] && break
	sleep 0.1
done
say after-a-crash "$(state $unit) $(mounted /mnt/unit) $(ls /mnt/unit/batch | wc -l)"
systemctl stop $unit; say stop "$? $(state $unit) $(mounted /mnt/unit)"
systemctl start $unit; say start "$? $(state $unit) $(mounted /mnt/unit)"
systemctl stop mnt-fstab.mount
say unmount "$? $(mounted /mnt/fstab) $(systemctl show -p Result --value mnt-fstab.mount)"
systemctl start mnt-fstab.mount; say mount "$? $(mounted /mnt/fstab)"
for at in fstab unit; do cp /etc/group /mnt/$at/batch/last-$at; done
systemctl --no-block poweroff
"""

WANT = {"fstab-at-boot": "active 1", "unit-at-boot": "active 1", "reload": "0 active",
        "after-a-crash": "active 1 2", "stop": "0 inactive 0", "start": "0 active 1",
        "unmount": "0 0 success", "mount": "0 1"}
FILES = ["first-fstab", "first-unit", "last-fstab", "last-unit"]


def make_base():
    if os.path.exists(os.path.join(BASE, "usr", "bin", "systemctl")):
        return
    shutil.rmtree(BASE, ignore_errors=True)
    os.makedirs(BASE)
    print("debootstrap, once", flush=True)
    result = run(["debootstrap", "--variant=minbase", "--include=" + PACKAGES, "bookworm", BASE],
                 timeout=900, check=False)
    if result.returncode:
        shutil.rmtree(BASE)
        sys.exit(result.stdout[-2000:] + result.stderr)


def start_and_stop(world, server, deb):
    """Everything the container does, up to its power off. What it says on its console."""
    folder = world.path("container")
    os.mkdir(folder)
    with open(world.path("probe"), "w", encoding="utf-8") as f:
        f.write(PROBE)
    shared = world.path("shared")
    os.mkdir(shared)
    env = {"DEB": deb, "KEY": KEY, "URL": server.url, "PROBE": world.path("probe")}
    result = run(["unshare", "--mount", "--propagation", "private", "bash", "-c", CONTAINER, "bash",
                  folder, BASE, PREPARE, shared], timeout=300, check=False, env=env)
    with open(os.path.join(shared, "probe.log"), encoding="utf-8") as f:
        return f.read(), result


def main():
    for tool in ("debootstrap", "systemd-nspawn", "unshare"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing; install the packages debootstrap and systemd-container")
    make_base()
    out = subprocess.run(["make", "-s", "deb", "BUILD=" + BUILD], cwd=ROOT, check=True,
                         stdout=subprocess.PIPE, text=True).stdout.strip()
    world = harness.World()
    world.watchdog.cancel()  # a boot may take longer than a test
    try:
        server = world.server("--latency", str(LATENCY_MS))
        said, result = start_and_stop(world, server, os.path.join(ROOT, out))
        seen = dict(x.split(": ", 1) for x in said.splitlines() if ": " in x)
        wrong = [f"{k}: {seen.get(k)}, not {v}" for k, v in WANT.items() if seen.get(k) != v]
        if seen.get("status") != f"{server.url} on /mnt/unit":
            wrong.append(f"status: {seen.get('status')}")
        files = sorted(x["filename"] for x in server.files())
        if files != FILES:
            wrong.append(f"Files: {files}, not {FILES}")
        print(said, end="")
        print("Files after the shutdown:", *files)
    finally:
        world.close()
    if wrong:
        print(result.stdout[-4000:] + result.stderr[-2000:])
        sys.exit("boot: " + "; ".join(wrong))
    print("boot: all as it should be")


if __name__ == "__main__":
    main()
