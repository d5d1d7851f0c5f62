"""
From fstab and from a service manager: the helpers of mount(8) and umount(8), what a daemon that
died left, an environment without anything in it, and what the manager is told.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess

import pytest

import sanitizer
from harness import (BUILD, KEY, SAN, assert_published, bash, is_mounted, make_file,
                     proc_state, run, wait_until, xattr)
from private_root import LET_GO, PrivateRoot
from users import AS_USER

BUSY, WRONG = 32, 1  # exit statuses of mount(8)
NOBODY, UID = 65534, 54321
STALL = [{"op": "part", "times": 0, "action": "stall"}]


def pids_of(word):
    """The processes with this word among their arguments."""
    found = []
    for pid in [x for x in os.listdir("/proc") if x.isdigit()]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0"):
                    found.append(int(pid))
    return found


class Helpers:
    """mount.uploadfs and umount.fuse.uploadfs, and a mountpoint; no environment at all."""

    def __init__(self, world, server):
        self.world, self.server = world, server
        for name in ("mount.uploadfs", "umount.fuse.uploadfs"):
            os.symlink(os.path.join(BUILD, "uploadfs"), world.path(name))
        self.mnt, self.state = world.path("mnt"), world.path("state")
        os.mkdir(self.mnt)
        with open(world.path("key"), "w", encoding="ascii", opener=private) as f:
            f.write(KEY + "\n")
        self.log = world.path("boot.log")
        self.options = (f"state_dir={self.state},api_key_file={world.path('key')},part_size=1M,"
                        f"log_file={self.log}")

    def argv(self, name, *words):
        env = [f"{k}={v}" for k, v in sanitizer.options(self.world.dir).items() if SAN]
        return ["env", "-i", *env, *sanitizer.wrap(SAN, [self.world.path(name)]), *words]

    def mount(self, *words, options="rw", code=0, fstype="uploadfs"):
        result = run(self.argv("mount.uploadfs", self.server.url, self.mnt, *words, "-o",
                               options + "," + self.options, "-t", fstype), check=False, cwd="/")
        assert result.returncode == code, result
        return result.stderr

    def umount(self, *words, code=0):
        result = run(self.argv("umount.fuse.uploadfs", self.mnt, *words), check=False, cwd="/")
        assert result.returncode == code, result
        return result.stderr

    def close(self):
        while is_mounted(self.mnt):
            run(["fusermount3", "-u", "-z", self.mnt], check=False)
        for pid in pids_of(self.mnt):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not pids_of(self.mnt), "the daemons end")


def private(path, flags):
    return os.open(path, flags, 0o600)


@pytest.fixture
def helpers(world, server):
    helpers = Helpers(world, server)
    yield helpers
    helpers.close()


# ---- the helpers


def test_mount_helper(helpers, server, source):
    """All that mount(8) hands over is taken; the mount stays, and works."""
    words = ("rw,_netdev,nofail,noauto,auto,user,users,defaults,x-systemd.automount,"
             "x-systemd.requires=a.service,X-mount.mkdir,comment=here,nosuid,nodev")
    assert helpers.mount("-n", "-v", options=words) == ""
    assert is_mounted(helpers.mnt)
    dest = os.path.join(helpers.mnt, "batch", "f")
    run(["cp", source, dest])
    assert_published(server, dest, source)
    # The same once more is an error, and a quick one; the one that is there stays.
    text = helpers.mount(code=BUSY)
    assert "is mounted on" in text and "already; see uploadfs status" in text
    assert len(pids_of(helpers.mnt)) == 1
    assert helpers.umount() == ""
    # The helper waits for the daemon.
    assert not is_mounted(helpers.mnt) and not pids_of(helpers.mnt)


def test_mount_helper_says_no(helpers):
    """mount's exit statuses: 1 for the words, 32 for the rest. Sloppy and fake are obeyed."""
    assert "did you mean \"part_size\"?" in helpers.mount(options="part_sise=1", code=WRONG)
    assert "can't be changed by remount" in helpers.mount(options="remount,ro", code=WRONG)
    assert "put it into a file" in helpers.mount("-s", options="api_key=" + KEY, code=WRONG)
    assert helpers.mount("-s", "-f", options="part_sise=1") == ""
    assert not is_mounted(helpers.mnt)
    assert "is not the mountpoint of an uploadfs" in helpers.umount(code=BUSY)
    helpers.options = f"state_dir=/proc/none,api_key_file={helpers.world.path('key')}"
    assert "/proc/none" in helpers.mount(code=BUSY)


def test_another_namespace(helpers):
    """mount -N and umount -N: there, and not here."""
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                               LET_GO + "\necho up; exec sleep infinity"],
                              stdout=subprocess.PIPE, text=True)

    def mounted():
        with open(f"/proc/{holder.pid}/mounts", encoding="utf-8") as f:
            return f" {helpers.mnt} fuse.uploadfs " in f.read()

    try:
        assert holder.stdout.readline() == "up\n"
        helpers.mount("-N", str(holder.pid))
        assert mounted() and not is_mounted(helpers.mnt)
        helpers.umount("-N", f"/proc/{holder.pid}/ns/mnt")
        assert not mounted() and not pids_of(helpers.mnt)
    finally:
        holder.kill()
        holder.communicate()


def test_private_root_keeps_no_daemon(world, mount):
    """One that another test has just now has a copy of each mount."""
    inside = PrivateRoot(world.path("private"), world.dir)
    try:
        mount.umount()
    finally:
        inside.close()


def test_umount_waits_for_what_is_closed(world, helpers, server):
    """The mount is gone at once, umount returns when the File is there."""
    helpers.mount(options="close=async,retry_timeout=60")
    source = make_file(world.path("s"), 3000)
    server.faults(STALL)
    run(["cp", source, os.path.join(helpers.mnt, "batch", "f")])
    proc = subprocess.Popen(helpers.argv("umount.fuse.uploadfs", helpers.mnt), cwd="/",
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: not is_mounted(helpers.mnt), "it is unmounted")
        assert proc.poll() is None and not server.files()
        server.faults([])
        server.restart()
        _, err = proc.communicate(timeout=60)
    finally:
        proc.kill()
        proc.communicate()
    assert proc.returncode == 0 and err == ""
    assert [x["filename"] for x in server.files()] == ["f"] and not pids_of(helpers.mnt)


def test_umount_tells_what_is_left(world, helpers, server):
    """Unmounted is unmounted; what is not published is named all the same."""
    helpers.mount(options="retry_delay=3600")
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no such thing"}])
    run(["cp", make_file(world.path("s"), 99), os.path.join(helpers.mnt, "batch", "bad")],
        check=False)
    text = helpers.umount()
    assert "batch/bad is not published: HTTP 400 odd: no such thing" in text
    assert "1 not published; kept in" in text and not is_mounted(helpers.mnt)


def test_umount_of_a_busy_one(helpers):
    """As any umount: refused while something is open there, but for a lazy one."""
    helpers.mount()
    fd = os.open(helpers.mnt, os.O_RDONLY)
    try:
        assert "it is busy" in helpers.umount(code=BUSY)
        assert is_mounted(helpers.mnt) and "batch" in os.listdir(helpers.mnt)
        helpers.umount("-l")
        assert not is_mounted(helpers.mnt) and "batch" in os.listdir(fd)
        assert pids_of(helpers.mnt)
    finally:
        os.close(fd)
    wait_until(lambda: not pids_of(helpers.mnt), "the daemon ends with the last file")


def test_forced_umount(helpers):
    """-f ends a mount whose daemon hangs."""
    helpers.mount()
    pid, = pids_of(helpers.mnt)
    os.kill(pid, signal.SIGSTOP)
    try:
        helpers.umount("-f")
        assert not is_mounted(helpers.mnt)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not pids_of(helpers.mnt), "the daemon ends")


# ---- what a daemon that died left


def test_dead_mount_is_replaced(world, server, mount, source):
    """The next mount there unmounts it, also when something is open in it, and several of them."""
    run(["cp", source, mount.path("batch", "f")])
    mount.kill()
    mount.start()
    # That it is mounted was true before.
    text = f"{mount.mnt} was left behind by a daemon that died: unmounted"
    wait_until(lambda: mount.log().count(text) == 1 and os.path.ismount(mount.mnt), "it is cured")
    assert bash('grep -c " $1 " /proc/self/mounts', mount.mnt).stdout == "1\n"
    run(["cmp", source, mount.path("batch", "f")])
    held = open(mount.path("batch", "f"), "rb")
    try:
        mount.kill()
        mount.start()
    finally:
        with contextlib.suppress(OSError):
            held.close()
    wait_until(lambda: mount.log().count(text) == 2 and os.path.ismount(mount.mnt), "cured again")
    run(["cmp", source, mount.path("batch", "f")])


@pytest.mark.parametrize("words", [[], ["umount"], ["status"]])
def test_a_daemon_that_dies_meanwhile(world, server, words):
    """Who asks a mount when its daemon dies is answered with another errno than who asks later."""
    mount = world.mount(server)
    state = [] if words else ["-o", f"state_dir={mount.state}"]
    argv = [os.path.join(BUILD, "uploadfs"), *words, mount.mnt, *state]
    os.kill(mount.pid, signal.SIGSTOP)
    # Nothing that the kernel remembers: the second one has to ask.
    proc = subprocess.Popen(sanitizer.wrap(SAN, argv), stdin=subprocess.DEVNULL, cwd="/",
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, **mount.env(), **sanitizer.options(world.dir)})
    try:
        # Asleep it asks, or waits for a child that does.
        wait_until(lambda: proc_state(proc.pid) == "S", "it asks")
        mount.kill()
        _, err = proc.communicate(timeout=60)
        assert proc.returncode == (4 if words == ["status"] else 0), err
        assert ("unmounted" if not words else "died") in err
    finally:
        proc.kill()
        proc.communicate()
        while is_mounted(mount.mnt):
            run(["fusermount3", "-u", "-z", mount.mnt], check=False)
        wait_until(lambda: not pids_of(mount.mnt), "the daemons end")


@pytest.fixture
def other(world):
    """
    other(words…): uploadfs as a user who has no name, no home, and nothing in the environment;
    other.mnt, other.data: directories of his. In a root where he may open /dev/fuse.
    """
    inside = PrivateRoot(world.path("private"), world.dir)
    env = [f"{k}={v}" for k, v in sanitizer.options(world.dir).items() if SAN]
    program = sanitizer.wrap(SAN, [world.program_for_others()])

    def other(*words, code=0):
        result = run(inside.argv("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
                                 "env", "-i", *env, *program, *words), check=False)
        assert result.returncode == code, result
        return result

    other.inside, other.mnt, other.data = inside, world.path("mnt"), world.path("data")
    for path in (other.mnt, other.data):
        os.mkdir(path)
        os.chown(path, UID, UID)
    other.state = f"state_dir={other.data}/state"
    yield other
    for pid in inside.processes(other.mnt):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not inside.processes(other.mnt), "the daemon ends")
    inside.close()


def test_without_environment(other):
    """No HOME, no PATH: mounts, cures a dead mount, unmounts. Without a name: what to do."""
    words = ["local:" + other.data + "/files", other.mnt]
    text = other(*words, code=2).stderr
    assert "there is no home directory to keep state in; use -o state_dir=DIR" in text
    out = other("doctor", "-o", other.state, *words, code=1).stdout
    assert f"user {UID}: fusermount3 mounts only for a user with a name" in out
    text = other("-o", other.state, *words, code=1).stderr
    assert "cannot mount on" in text and "this one has none in /etc/passwd" in text
    other.inside.bash('echo "u:x:$1:$1::$2:/bin/sh" >> /etc/passwd', UID, other.data)
    assert not re.search("error|warning", other(*words).stderr)
    assert os.listdir(os.path.join(other.data, ".local/state/uploadfs"))
    pid, = other.inside.processes(other.mnt)
    assert other("status", other.mnt).stdout.startswith("0 publishing")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not other.inside.processes(other.mnt), "the daemon is dead")
    text = other(*words).stderr
    assert f"{other.mnt} was left behind by a daemon that died: unmounted" in text
    assert "WRONG" not in other("doctor", *words).stdout
    other("umount", other.mnt)
    assert types_of(other.inside) == {}


def test_allow_other_is_told(other):
    """Without its line in /etc/fuse.conf: where that belongs, by the mount and by the doctor."""
    words = ["-o", "allow_other," + other.state, f"local:{other.data}/files", other.mnt]
    other.inside.bash('echo "u:x:$1:$1::/:/bin/sh" >> /etc/passwd', UID)
    other.inside.write("/etc/fuse.conf", "#user_allow_other\n")
    text = other(*words, code=1).stderr
    assert "have the line user_allow_other put into /etc/fuse.conf" in text
    out = other("doctor", *words, code=1).stdout
    assert "WRONG  allow_other needs the line user_allow_other in /etc/fuse.conf" in out
    other.inside.write("/etc/fuse.conf", "user_allow_other\n")
    assert "WRONG" not in other("doctor", *words).stdout
    other(*words)
    assert "batch" in other.inside.run("ls", other.mnt).stdout
    other("umount", other.mnt)


def test_apparmor_is_told(other):
    """Ubuntu confines fusermount3: the profile and the remedy, by the mount and by the doctor."""
    words = ["-o", other.state, f"local:{other.data}/files", other.mnt]
    other.inside.bash('echo "u:x:$1:$1::/:/bin/sh" >> /etc/passwd', UID)
    assert "AppArmor" not in other("doctor", *words).stdout
    other.inside.bash("mkdir -p /etc/apparmor.d")
    other.inside.write("/etc/apparmor.d/fusermount3", "profile fusermount3 {}\n")
    out = other("doctor", *words).stdout
    assert "AppArmor lets fusermount3 mount only where its profile" in out
    assert "apparmor_parser -r /etc/apparmor.d/fusermount3" in out and "WRONG" not in out
    # Refused as by the profile: mount(2) fails with EACCES.
    other.inside.bash("chmod 755 $(command -v fusermount3)")
    text = other(*words, code=1).stderr
    assert "cannot mount on" in text
    assert "/etc/apparmor.d/local/fusermount3" in text


# ---- the service manager


class Manager:
    """The socket of a service manager; text() is what it has been told."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.told = []

    def states(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told.append(self.socket.recv(8192).decode())
        return self.told

    def wait_for(self, line):
        wait_until(lambda: any(line in x.split("\n") for x in self.states()), line)

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("hidden", [False, True])
def test_service_manager(world, server, hidden):
    """READY=1 when the mount answers, STOPPING=1 before it drains; by path and abstract."""
    path = world.path("notify")
    manager = Manager("\0" + path if hidden else path)
    try:
        mount = world.mount(server, close="async", retry_timeout="60", drain_timeout="50",
                            env={"NOTIFY_SOCKET": "@" + path if hidden else path})
        manager.wait_for("READY=1")
        assert manager.told == [f"READY=1\nSTATUS={server.url} on {mount.mnt}"]
        server.faults(STALL)
        run(["cp", make_file(world.path("s"), 3000), mount.path("batch", "f")])
        mount.proc.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert mount.alive() and not server.files()
        server.faults([])
        server.restart()
        assert mount.wait() == 0 and not is_mounted(mount.mnt)
        assert manager.states()[1:] == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=80000000\n"
                                        "STATUS=finishing what is under way"]
        assert [x["filename"] for x in server.files()] == ["f"]
    finally:
        manager.close()


def test_service_manager_that_is_not_there(world, server, source):
    """A warning; the mount works."""
    mount = world.mount(server, env={"NOTIFY_SOCKET": world.path("none")})
    wait_until(lambda: "the service manager can't be told: No such file" in mount.log(), "warned")
    run(["cp", source, mount.path("batch", "f")])
    assert xattr(mount.path("batch", "f"), "status") == "completed"


# ---- mount(8), with an fstab of our own


@pytest.fixture
def inside(world):
    inside = PrivateRoot(world.path("private"), world.dir)
    try:
        program = os.path.join(BUILD, "uploadfs")
        copy = 'install -m 755 "$1" /usr/bin/uploadfs && ln -s ../bin/uploadfs /usr/sbin/$2'
        run(["cp", program, world.path("program")])
        inside.bash(copy, world.path("program"), "mount.uploadfs")
        inside.bash("ln -s ../bin/uploadfs /usr/sbin/umount.fuse.uploadfs; mkdir /mnt/u /mnt/v; "
                    "chmod 755 /mnt/u /mnt/v")
        inside.write("/etc/openai.key", KEY + "\n", 0o600)
        inside.write("/etc/uploadfs.conf", "api_key_file=/etc/openai.key\npart_size=1M\n")
        yield inside
    finally:
        inside.close()


def types_of(inside):
    """{mountpoint: (source, type)} of what mount(8) sees."""
    rows = [x.split() for x in inside.run("cat", "/proc/mounts").stdout.splitlines()]
    return {x[1]: (x[0], x[2]) for x in rows if x[2] == "fuse.uploadfs"}


@pytest.mark.plain
def test_fstab(inside, server, source):
    """mount -a mounts what stands there, once; umount waits for the daemon."""
    inside.write("/etc/fstab", f"{server.url} /mnt/u uploadfs _netdev,nofail,x-systemd.automount,"
                 "allow_other,comment=a 0 0\n"
                 "local:/srv/files /mnt/v fuse.uploadfs rw,_netdev,nofail,nosuid 0 0\n"
                 f"uploadfs /mnt uploadfs noauto,user 0 0\n")
    inside.run("uploadfs", "doctor", server.url, "/mnt/u")
    inside.run("mount", "-a")
    want = {"/mnt/u": (server.url, "fuse.uploadfs"),
            "/mnt/v": ("local:/srv/files", "fuse.uploadfs")}
    assert types_of(inside) == want
    assert len(inside.processes("/mnt/u")) == len(inside.processes("/mnt/v")) == 1
    inside.run("mount", "-a")
    assert types_of(inside) == want and len(inside.processes("/mnt/u")) == 1
    for folder in ("/mnt/u", "/mnt/v"):
        inside.run("cp", source, folder + "/batch/f")
        inside.run("cmp", source, folder + "/batch/f")
    assert [x["filename"] for x in server.files()] == ["f"]
    for folder in ("/mnt/u", "/mnt/v"):
        inside.run("umount", folder)
        assert folder not in types_of(inside) and not inside.processes(folder)
    inside.run("mount", "/mnt/v")
    assert "f" in inside.run("ls", "/mnt/v/batch").stdout.split()
    inside.run("umount", "/mnt/v")


@pytest.mark.plain
def test_mount_by_hand(inside, server):
    """mount -t, both types; what is wrong comes through with mount's exit status."""
    for fstype in ("uploadfs", "fuse.uploadfs"):
        inside.run("mount", "-t", fstype, server.url, "/mnt/u", "-o", "ro,noatime")
        assert types_of(inside) == {"/mnt/u": (server.url, "fuse.uploadfs")}
        assert "Read-only" in inside.run("mkdir", "/mnt/u/batch/x", code=1).stderr
        inside.run("umount", "/mnt/u")
        # Without _netdev and the like root's umount asks no helper: the daemon ends behind it.
        wait_until(lambda: not inside.processes("/mnt/u"), "the daemon ends")
    result = inside.run("mount", "-t", "uploadfs", server.url, "/mnt/u", "-o", "part_sise=1",
                        code=WRONG)
    assert 'did you mean "part_size"?' in result.stderr
    inside.run("mount", "-s", "-t", "uploadfs", server.url, "/mnt/u", "-o", "part_sise=1")
    assert "can't be changed by remount" in inside.run("mount", "-o", "remount,ro", "/mnt/u",
                                                       code=None).stderr
    result = inside.run("mount", "-t", "uploadfs", server.url, "/mnt/u", code=BUSY)
    assert "already" in result.stderr
    # Nor another service over it, by whomever.
    for user in ([], AS_USER):
        result = inside.run(*user, "uploadfs", "local:/srv/o", "/mnt/u", "-o",
                            "state_dir=/srv/never", code=None)
        assert result.returncode and len(types_of(inside)) == 1
        assert (f"{server.url} is mounted on /mnt/u already; see uploadfs status, or unmount it "
                "first" in result.stderr) == (not user)
    # The daemon dies; mount and umount go on.
    for pid in inside.processes("/mnt/u"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not inside.processes("/mnt/u"), "the daemon is dead")
    result = inside.run("mount", "-t", "uploadfs", server.url, "/mnt/u")
    assert len(types_of(inside)) == 1 and "batch" in inside.run("ls", "/mnt/u").stdout
    inside.run("umount", "/mnt/u")
    assert types_of(inside) == {}


def doctor_of_fstab(inside, line, code=1):
    """What the doctor says about a line of fstab."""
    inside.write("/etc/fstab", line + "\n")
    out = inside.run("uploadfs", "doctor", "local:/srv/files", code=code).stdout
    return [x for x in out.splitlines() if "/etc/fstab" in x]


@pytest.mark.plain
def test_doctor_reads_fstab(inside):
    """What would keep a line from being mounted at the next start, and what would mend it."""
    good = "https://h/v1 /mnt/u uploadfs _netdev 0 0"
    assert doctor_of_fstab(inside, good, code=0) == [
        "ok     /etc/fstab, /mnt/u: mount knows the type uploadfs"]
    good = doctor_of_fstab(inside, "local:/x /mnt/u fuse.uploadfs rw 0 0", code=0)
    assert good == ["ok     /etc/fstab, /mnt/u: mount knows the type fuse.uploadfs"]
    assert doctor_of_fstab(inside, "/dev/sda /mnt/u ext4 rw 0 0", code=0) == []
    bad = doctor_of_fstab(inside, "none /mnt/w uploadfs nofail 0 0")
    assert [x[:5] for x in bad] == ["ok   ", "WRONG", "WRONG", "WRONG"]
    assert "add _netdev: without it the network may be stopped" in bad[1]
    assert "write uploadfs instead of none" in bad[2] and "run mkdir -p /mnt/w" in bad[3]
    inside.bash("rm /usr/sbin/mount.uploadfs /sbin/mount.fuse; touch /mnt/file")
    bad = doctor_of_fstab(inside, "uploadfs /mnt/file uploadfs _netdev 0 0")
    assert "/sbin/mount.uploadfs is not there, so mount does not know the type" in bad[0]
    assert "Not a directory" in bad[1]
    bad = doctor_of_fstab(inside, "uploadfs /mnt/u fuse.uploadfs _netdev 0 0")
    assert "/sbin/mount.fuse is not there; install the package fuse3" in bad[0]
    bad = doctor_of_fstab(inside, "uploadfs /mnt/u uploadfs _netdev,part_sise=3,nofail 0 0")
    assert 'option "part_sise" is not known; did you mean "part_size"?' in bad[-1]


@pytest.mark.plain
def test_doctor_of_a_line(inside, server):
    """With a MOUNTPOINT alone, what its line would mount; the command line goes before it."""
    def doctor(*words, code=0, conf="-o config=/dev/null"):
        out = inside.run("uploadfs", "doctor", *conf.split(), *words, code=code)
        return out.stdout + out.stderr

    line = (f"{server.url} /mnt/u uploadfs _netdev,nofail,state_dir=/srv/here,"
            "api_key_file=/etc/openai.key 0 0\n")
    inside.write("/etc/fstab", line + "local:/srv/files /mnt/v fuse.uploadfs rw 0 0\n")
    text = doctor("/mnt/u")
    assert f"/etc/fstab, /mnt/u: its source is {server.url}\n" in text and "from /etc/openai.key" in text
    assert f"{server.url} answers and takes the key" in text and "directory /srv/here" in text
    assert "/mnt/v" not in text and "ok     /mnt/u is free" in text
    assert "directory /srv/else" in doctor("-ostate_dir=/srv/else", "/mnt/../mnt/u")
    assert "local:/srv/files needs neither key nor network" in doctor("/mnt/v")
    assert "local:/srv/other needs" in doctor("local:/srv/other", "/mnt/u")
    inside.write("/etc/fstab", line.replace("nofail", "part_sise=3"))
    assert doctor("/mnt/u", code=1).count("did you mean") == 1
    inside.write("/etc/fstab", line.replace("/etc/openai.key", "/etc/none"))
    text = doctor("/mnt/u", code=1)
    assert "WRONG  the key file /etc/none: No such file" in text and "/mnt/u is free" in text


@pytest.mark.plain
def test_key_file_of_all_users(inside, server):
    """
    /etc/uploadfs.conf names a key file that is root's alone: another user's own key is taken, and
    without one he is told whose word it was. Root, or who names such a file himself, gets it or
    nothing.
    """
    def doctor(*words, user=AS_USER):
        result = inside.run(*user, "env", *words, "uploadfs", "doctor", server.url, "/mnt/u",
                            code=None)
        return result.stdout + result.stderr

    own = ("OPENAI_API_KEY=" + KEY, "HOME=/nowhere")
    assert "the key is from OPENAI_API_KEY\n" in doctor(*own)
    assert "the key is from /etc/openai.key\n" in doctor(*own, user=[])
    text = doctor("HOME=/nowhere")
    assert "the key file /etc/openai.key: Permission denied; give one that you can read" in text
    assert "/etc/uploadfs.conf, line 1; see uploadfs.conf(5)" in text
    inside.write("/etc/own.conf", "api_key_file=/etc/openai.key\n")
    inside.bash("mkdir /nowhere; ln -s /etc/own.conf /nowhere/uploadfs.conf")
    text = doctor(*own, "XDG_CONFIG_HOME=/nowhere")
    assert "Permission denied" in text and "/nowhere/uploadfs.conf, line 1; see" in text


@pytest.mark.plain
def test_mount_by_a_user(inside):
    """With `user` in fstab anybody may, with his own key and state."""
    inside.write("/etc/fstab", "local:/srv/n/files /mnt/u uploadfs noauto,user,"
                 "state_dir=/srv/n/state,config=/etc/nobody.conf 0 0\n")
    inside.write("/etc/nobody.conf", "parallel=2\n")
    inside.bash("mkdir /srv/n; chown nobody /srv/n /mnt/u")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    inside.run(*as_nobody, "mount", "/mnt/u")
    assert list(types_of(inside)) == ["/mnt/u"]
    inside.run(*as_nobody, "cp", "/etc/passwd", "/mnt/u/batch/f")
    pid, = inside.processes("/mnt/u")
    assert os.stat(f"/proc/{pid}/cmdline").st_uid in (0, NOBODY)
    inside.run(*as_nobody, "umount", "/mnt/u")
    assert types_of(inside) == {} and not inside.processes("/mnt/u")
