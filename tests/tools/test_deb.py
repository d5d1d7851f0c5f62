"""
make deb: what is in the package, that lintian has nothing to say, and its life in a root file
system of the test's own: installed, mounted from fstab and by the unit's command, removed, purged.
"""
import glob
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, os.path.join(TESTS, "mount"))
import harness  # noqa: E402
from harness import KEY, make_file, run, wait_until  # noqa: E402
from private_root import PrivateRoot  # noqa: E402

BUILD = os.environ.get("UPLOADFS_BUILD_TOP") or os.path.join(ROOT, "build")
UNIT = "uploadfs@mnt-openai.service"


def make_deb(env=None, umask=0o022):
    out = subprocess.run(["make", "-s", "--no-print-directory", "BUILD=" + BUILD, "deb"],
                         cwd=ROOT, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, timeout=300, check=False, umask=umask)
    assert out.returncode == 0 and out.stderr == "", out
    return os.path.join(ROOT, out.stdout.split("\n")[-2])


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = make_deb()
    return shutil.copy(path, tmp_path_factory.mktemp("deb") / os.path.basename(path))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def fields(package):
    out = run(["dpkg-deb", "--field", package]).stdout
    return dict(re.findall(r"^([A-Z][\w-]*): (.*)$", out, re.M))


def release():
    """What the version says of the release: deb12 on Debian 12."""
    words = dict(shlex.split(x)[0].split("=", 1) for x in read("/etc/os-release").splitlines() if x)
    number = words.get("VERSION_ID") or words.get("VERSION_CODENAME", "")
    return ("deb" if words["ID"] == "debian" else words["ID"]) + number


def test_strip_of_another_name(package, tmp_path):
    """STRIP is used in its place."""
    own = tmp_path / "our-strip"
    own.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexec strip "$@"\n')
    own.chmod(0o755)
    again = make_deb({"STRIP": str(own)})
    assert "/usr/bin/uploadfs" in (tmp_path / "called").read_text()
    with open(package, "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()


def test_the_same_bytes_again(package):
    """Whoever builds it, wherever and when."""
    again = make_deb({"TZ": "Asia/Tokyo", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}, umask=0o077)
    with open(package, "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()


def test_contents(package, tmp_path):
    """Names, modes, owners, sums; nothing of the directory it was built in."""
    info = fields(package)
    with open(os.path.join(ROOT, "net", "base", "version.h"), encoding="utf-8") as f:
        version = re.search(r'UPLOADFS_VERSION "(.*)"', f.read()).group(1)
    assert info["Version"] == f"{version}-1~{release()}"
    assert os.path.basename(package) == f"uploadfs_{info['Version']}_{info['Architecture']}.deb"
    needs = set(re.findall(r"(?:^|, )([a-z0-9.+-]+)", info["Depends"]))
    assert {"libc6", "libcurl4", "libfuse3-3", "libcjson1", "libssl3", "libsqlite3-0", "fuse3"} <= needs
    lines = [x.split(None, 5) for x in run(["dpkg-deb", "-c", package]).stdout.splitlines()]
    assert {x[1] for x in lines} == {"root/root"}
    assert {x[0] for x in lines} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
    assert {x[5] for x in lines if x[0].startswith("l")} == {
        "./usr/sbin/mount.uploadfs -> ../bin/uploadfs",
        "./usr/sbin/umount.fuse.uploadfs -> ../bin/uploadfs"}
    run(["dpkg-deb", "-R", package, tmp_path / "x"])
    run(["md5sum", "--quiet", "-c", "DEBIAN/md5sums"], cwd=tmp_path / "x")
    programs = glob.glob(str(tmp_path / "x/usr/bin/*"))
    assert sorted(map(os.path.basename, programs)) == ["uploadfs", "uploads-server"]
    for path in programs:
        with open(path, "rb") as f:
            assert ROOT.encode() not in f.read()
    assert (tmp_path / "x/DEBIAN/conffiles").read_text() == "/etc/uploadfs.conf\n"
    text = (tmp_path / "x/etc/uploadfs.conf").read_text()
    assert "#api_key_file=" in text and re.findall(r"^[^#\n]", text, re.M) == []


def test_lintian(package, tmp_path):
    """Neither errors nor warnings; what is overridden has its reason beside it."""
    # lintian now and then leaves a temporary file behind.
    env = {"HOME": os.path.dirname(package), "TMPDIR": str(tmp_path)}
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    result = run(["lintian", *as_root, "--fail-on", "error,warning", package], timeout=240,
                 check=False, env=env)
    assert result.returncode == 0 and result.stdout == "" and result.stderr == "", result
    with open(os.path.join(ROOT, "docs", "packaging", "lintian-overrides"),
              encoding="utf-8") as f:
        lines = f.read().splitlines()
    for before, line in zip(["", *lines], lines):
        assert line.startswith("# ") or before.startswith("# "), f"no reason for {line}"


@pytest.fixture
def world():
    world = harness.World()
    yield world
    world.close()


@pytest.fixture
def installed(world, package):
    """A root with the package in it, and a directory to mount at."""
    inside = PrivateRoot(world.path("private"), world.dir)
    try:
        shutil.copy(package, world.path("uploadfs.deb"))
        # The database of manual pages is that of the whole system: it would take longer than
        # all else. And some images leave out manual pages.
        inside.bash("rm -f /var/lib/man-db/auto-update /etc/dpkg/dpkg.cfg.d/*; mkdir -p /mnt/openai")
        inside.run("dpkg", "-i", world.path("uploadfs.deb"), timeout=120)
        inside.write("/etc/openai.key", KEY + "\n", 0o600)
        yield inside
    finally:
        inside.close()


def listed(inside):
    """What of the package is on disk inside, but dpkg's own notes."""
    out = inside.bash('find /usr /etc /var -xdev -name "*uploadfs*" -o -name uploads-server -xdev '
                      '| grep -v "^/var/lib/dpkg/\\|^/var/cache/man/"; true').stdout
    return [x for x in out.split() if not x.startswith(ROOT)]


def test_life_of_the_package(world, installed, package):
    """Installed, used from fstab, removed and purged; what is not published outlives it."""
    inside = installed
    server = world.server()
    assert inside.run("dpkg", "-V", "uploadfs").stdout == ""
    assert inside.run("uploadfs", "--version").stdout.startswith("uploadfs ")
    for page in ("uploadfs", "uploads-server", "uploadfs.conf", "mount.uploadfs",
                 "umount.fuse.uploadfs"):
        assert inside.run("man", "-w", page).stdout.startswith("/usr/share/man/")
    result = inside.run("systemd-analyze", "verify", UNIT)
    assert result.stdout + result.stderr == ""
    inside.write("/etc/fstab", f"{server.url} /mnt/openai uploadfs _netdev,nofail,close=async,"
                 "api_key_file=/etc/openai.key,retry_delay=3600,retry_timeout=1 0 0\n")
    inside.run("mount", "-a")
    source = make_file(world.path("s"), 100000)
    inside.run("cp", source, "/mnt/openai/batch/good")
    inside.run("uploadfs", "wait", "/mnt/openai")
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no such thing"}])
    inside.run("cp", source, "/mnt/openai/batch/bad")
    # Removed while it is mounted: the mount goes on, and is unmounted as any.
    inside.run("dpkg", "-r", "uploadfs")
    assert listed(inside) == ["/etc/uploadfs.conf", "/var/lib/uploadfs"]
    inside.run("cmp", source, "/mnt/openai/batch/good")
    inside.run("dpkg", "--purge", "uploadfs")
    assert listed(inside) == ["/var/lib/uploadfs"]
    inside.run("cmp", source, "/mnt/openai/batch/bad")
    inside.run("umount", "/mnt/openai")
    wait_until(lambda: not inside.processes("/mnt/openai"), "the daemon ends")
    assert [x["filename"] for x in server.files()] == ["good"]
    # The next one takes up what was kept; then nothing is left but what dpkg has noted.
    server.faults([])
    inside.run("dpkg", "-i", world.path("uploadfs.deb"), timeout=120)
    inside.write("/etc/openai.key", KEY + "\n", 0o600)
    inside.run("mount", "/mnt/openai")
    # It was refused: it is sent again when its user says so.
    inside.run("setfattr", "-n", "user.upload.publish", "-v", "1", "/mnt/openai/batch/bad")
    inside.run("uploadfs", "wait", "/mnt/openai")
    inside.run("uploadfs", "umount", "/mnt/openai")
    assert sorted(x["filename"] for x in server.files()) == ["bad", "good"]
    inside.run("dpkg", "--purge", "uploadfs")
    assert listed(inside) == []


def unit_command(inside, name, mountpoint, **env):
    """The words of ExecStart or ExecReload as systemd makes them, of the unit that is installed."""
    text = inside.run("cat", "/usr/lib/systemd/system/uploadfs@.service").stdout
    assert re.findall(r"^(?:Type|KillMode)=(.*)$", text, re.M) == ["notify", "mixed"]
    values = dict(x.split("=", 1) for x in re.findall(r"^Environment=(.*)$", text, re.M))
    values.update(env)
    line, = re.findall(rf"^{name}=(.*)$", text, re.M)
    words = [re.sub(r"\$\{(\w+)\}", lambda m: values[m.group(1)], x) for x in shlex.split(line)]
    return [x.replace("%f", mountpoint) for x in words]


def test_command_of_the_unit(world, installed):
    """What systemd would start: ready, reloaded, stopped with what is under way finished."""
    server = world.server()
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(world.path("notify"))
    told.settimeout(60)
    command = unit_command(installed, "ExecStart", "/mnt/openai", SOURCE=server.url,
                           OPTIONS="close=async,retry_timeout=60,api_key_file=/etc/openai.key")
    assert command[0] == "/usr/bin/uploadfs"
    with open(world.path("unit.log"), "wb") as log:
        proc = subprocess.Popen(installed.argv(
            "env", "-i", "NOTIFY_SOCKET=" + world.path("notify"), *command),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        assert told.recv(9000).decode() == f"READY=1\nSTATUS={server.url} on /mnt/openai"
        source = make_file(world.path("s"), 3000)
        server.faults([{"op": "part", "times": 0, "action": "stall"}])
        installed.run("cp", source, "/mnt/openai/batch/f")
        pid, = installed.processes("/mnt/openai")
        # Reloading reads the key file again; with that other one nothing would be published.
        again = "the key was read again"
        installed.write("/etc/openai.key", KEY + "2\n", 0o600)
        installed.run("env", f"MAINPID={pid}", *unit_command(installed, "ExecReload", ""))
        wait_until(lambda: read(world.path("unit.log")).count(again) == 1, "it is read")
        installed.write("/etc/openai.key", KEY + "\n", 0o600)
        installed.run("env", f"MAINPID={pid}", *unit_command(installed, "ExecReload", ""))
        wait_until(lambda: read(world.path("unit.log")).count(again) == 2, "and once more")
        os.kill(pid, signal.SIGTERM)
        assert told.recv(9000).decode().startswith("STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000\n")
        assert not server.files() and proc.poll() is None
        server.faults([])
        server.restart()
        assert proc.wait(60) == 0
        assert [x["filename"] for x in server.files()] == ["f"]
    finally:
        proc.kill()
        proc.wait()
        told.close()
    assert "fuse.uploadfs" not in installed.run("cat", "/proc/mounts").stdout
    # Without anything but the key: the words still make a command line.
    assert unit_command(installed, "ExecStart", "/mnt/openai")[1:] == [
        "-f", "-o", "", "--", "uploadfs", "/mnt/openai"]
