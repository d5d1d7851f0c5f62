"""`uploadfs recover` on a state directory that nobody has mounted, and `uploadfs doctor`."""
import os
import re
import time
from email.utils import formatdate

import pytest

import harness
import sanitizer
from harness import BUILD, KEY, SAN, make_file, md5, python, run, staged_data, wait_until, xattr

REFUSE = [{"op": "complete", "times": 0, "action": "status", "status": 400, "code": "odd",
           "message": "no such thing"}]


def cli(world, *words, code=0, key=KEY, **env):
    argv = sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs"), *map(str, words)])
    keys = {"OPENAI_API_KEY": key} if key else {}
    result = run(argv, env={**sanitizer.options(world.dir), **keys, **env}, check=False)
    assert KEY not in result.stdout + result.stderr
    codes = code if isinstance(code, tuple) else (code,)
    assert result.returncode in codes, f"{words}: {result}"
    return result


@pytest.fixture
def left(world, server, source):
    """A mount that has ended with a failed file and an aborted one."""
    mount = world.mount(server, retry_delay="3600")
    mount.may_fail = True
    server.faults(REFUSE)
    assert run(["cp", source, mount.path("batch", "bad.jsonl")], check=False).returncode
    server.faults([])
    python("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('half'); f.flush(); "
           "os.kill(os.getpid(), 9)", mount.path("user_data", "killed"), check=False)
    harness.wait_until(lambda: xattr(mount.path("user_data", "killed"), "status") == "aborted",
                       "aborted")
    mount.umount(codes=(1,))
    return mount


def listed(world, mount):
    """{name: (id, state, size)}"""
    found = {}
    for line in cli(world, "recover", "list", mount.state).stdout.splitlines():
        m = re.match(r"(\S+)  (\S+) +(\S+ \S+)  (\S+)", line)
        found[m.group(4)] = m.group(1, 2, 3)
    return found


def test_list(world, left):
    """Each file with its state, size and reason; twice the same, as nothing is changed."""
    text = cli(world, "recover", "list", left.state).stdout
    lines = sorted(text.splitlines(), key=lambda x: x.split("  ")[1])
    assert re.fullmatch(r"\w+  aborted           4 B  user_data/killed", lines[0])
    assert re.fullmatch(r"\w+  failed        5\.0 MiB  batch/bad\.jsonl  HTTP 400 odd: no such "
                        r"thing .*", lines[1])
    assert len(lines) == 2 and cli(world, "recover", "list", left.state).stdout == text


def test_publish(world, server, left, source):
    """What was closed is sent, without a mount; what was not is named, and stays until it is."""
    text = cli(world, "recover", "publish", "-o", "part_size=1M", server.url, left.state,
               code=1).stderr
    assert "batch/bad.jsonl: published as file-" in text
    file_id = listed(world, left)["user_data/killed"][0]
    assert ("user_data/killed is not published: not closed by its writer; as it stands: uploadfs "
            f"recover publish {left.state} {file_id}\n") in text
    assert f"1 not closed; kept in {left.state}, aborted" in text
    files = server.files()
    assert [(x["filename"], x["purpose"]) for x in files] == [("bad.jsonl", "batch")]
    assert server.content_md5(files[0]["id"])[1] == md5(source)
    assert list(listed(world, left)) == ["user_data/killed"]
    cli(world, "recover", "publish", left.state, file_id, OPENAI_BASE_URL=server.url)
    assert sorted(x["filename"] for x in server.files()) == ["bad.jsonl", "killed"]
    assert server.files(filename="killed")[0]["bytes"] == 4
    assert listed(world, left) == {}
    assert not server.uploads(status="pending")


def test_publish_fails(world, server, left):
    """Still refused: exit status 1, and nothing is lost."""
    server.faults(REFUSE)
    text = cli(world, "recover", "publish", server.url, left.state, code=1).stderr
    assert "no such thing" in text and "1 file(s) could not be published" in text
    assert ("the bytes are kept, not sent again by itself: write it again or set "
            "user.upload.publish\n") in text
    assert len(listed(world, left)) == 2 and not server.files()
    assert "holds nothing called" in cli(world, "recover", "publish", server.url, left.state,
                                         "nonsense", code=1).stderr


def test_discard(world, left):
    """Only what is named, or all."""
    files = listed(world, left)
    cli(world, "recover", "discard", left.state, files["batch/bad.jsonl"][0])
    assert list(listed(world, left)) == ["user_data/killed"]
    assert "nonsense" in cli(world, "recover", "discard", left.state, "nonsense", code=1).stderr
    for words in ([], ["x", "--all"]):
        cli(world, "recover", "discard", left.state, *words, code=2)
    assert list(listed(world, left)) == ["user_data/killed"]
    cli(world, "recover", "discard", left.state, "--all")
    assert listed(world, left) == {}
    assert staged_data(left.state) == []


def test_in_use_and_not_there(world, server, mount):
    """A mounted one is left alone, and no directory is made of a name."""
    for words in (["list"], ["discard", "--all"], ["publish", server.url]):
        text = cli(world, "recover", *words, mount.state, code=1).stderr
        assert f"pid {mount.pid}" in text and mount.state in text
    for name in ("none", "."):
        path = world.path(name)
        assert "no state directory" in cli(world, "recover", "list", path, code=1).stderr
    assert not os.path.exists(world.path("none"))
    for words in ([], ["nonsense"], ["list"], ["publish"], ["list", "a", "b"]):
        assert "--help" in cli(world, "recover", *words, code=2).stderr
    text = cli(world, "recover", "--help").stdout
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80


def test_publish_as_a_plain_user(world, server, left):
    """Nothing of it needs root: the state directory of another user, published by that one."""
    other = []
    if os.geteuid() == 0:
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        run(["chown", "-R", "65534:65534", left.state])
    argv = sanitizer.wrap(SAN, [world.program_for_others(), "recover"])
    # Reports of a sanitizer go to stderr: world.dir is not that user's.
    env = {**sanitizer.options(""), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
    result = run([*other, *argv, "publish", left.state], env=env, check=False)
    assert "batch/bad.jsonl: published as file-" in result.stderr
    assert result.returncode == 1 and "anitizer" not in result.stderr
    text = run([*other, *argv, "list", left.state], env=env).stdout
    assert "aborted" in text and len(text.splitlines()) == 1
    assert [x["filename"] for x in server.files()] == ["bad.jsonl"]


# ---- doctor


def doctor(world, *words, **kwargs):
    """(its lines that are in order, those that are not)"""
    out = cli(world, "doctor", *words, **kwargs).stdout.splitlines()
    assert all(x.startswith(("ok     ", "WRONG  ")) for x in out), out
    return ([x[7:] for x in out if x.startswith("ok")],
            [x[7:] for x in out if x.startswith("WRONG")])


@pytest.fixture
def mnt(world):
    """A free mountpoint: without one doctor would look at the mounts of other tests."""
    os.mkdir(world.path("mnt"))
    return world.path("mnt")


def test_doctor_all_is_well(world, server, mnt):
    state = f"state_dir={world.path('state')}"
    good, bad = doctor(world, "-o", state, server.url, mnt)
    assert bad == [] and not os.path.exists(world.path("state"))
    assert "/dev/fuse can be opened" in good and mnt + " is free" in good
    assert "the key is from OPENAI_API_KEY" in good
    assert server.url + " answers and takes the key" in good
    assert "the clocks agree within 120 s" in good
    assert any(x.startswith(f"state directory {world.path('state')}: room for ") for x in good)
    good, bad = doctor(world, "-o", state, "local:" + world.path("data"), mnt, key=None)
    assert bad == [] and f"local:{world.path('data')} needs neither key nor network" in good
    text = cli(world, "doctor", "--help").stdout
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80


def test_doctor_of_a_mount(world, server, mount):
    """What is mounted is looked at; a dead one is named with the way out."""
    state = f"state_dir={world.path('other')}"
    good, bad = doctor(world, "-o", state, server.url, mount.mnt)
    assert bad == [] and mount.mnt + " is mounted and answers" in good
    mount.kill()
    # The kernel may know it well enough not to ask for a moment: then it is told later.
    result = cli(world, "doctor", "-o", state, server.url, mount.mnt, code=(1, 2))
    text = result.stdout + result.stderr
    assert "was left behind by a daemon that died" in text and "umount" in text
    mount.remount()


def test_doctor_finds(world, server, mnt, left):
    """A refused key, a service that is not there, a wrong clock, no room, files that wait."""
    state = f"state_dir={left.state}"
    good, bad = doctor(world, "-o", state, server.url, mnt, code=1, key="sk-wrong-wrong-wrong")
    assert len(bad) == 1 and "HTTP 401" in bad[0] and "api_key_file" in bad[0]
    assert any("holds 1 file(s) that are not published yet" in x for x in good)
    server.faults([{"op": "list", "times": 0, "action": "status", "status": 403,
                    "headers": {"Date": formatdate(time.time() - 3000, usegmt=True)}}])
    good, bad = doctor(world, "-o", state, server.url, mnt, code=1)
    assert len(bad) == 2 and "HTTP 403" in bad[0]
    assert re.match(r"this clock is (29|30)\d\d s ahead of that of the service; set it", bad[1])
    port = server.port
    server.kill()
    good, bad = doctor(world, "-o", state, server.url, mnt, code=1)
    assert len(bad) == 1 and f"port {port}" in bad[0] and "check the network" in bad[0]
    good, bad = doctor(world, "-o", state + ",staging_reserve=999999G", "local:/x", mnt, code=1)
    assert len(bad) == 1 and "room for 0 B only" in bad[0]
    good, bad = doctor(world, "-o", "state_dir=/proc/x", "local:/x", mnt, code=1)
    assert len(bad) == 1 and "/proc/x" in bad[0]
    assert "not known" in cli(world, "doctor", "-o", "nonsense", mnt, code=2).stderr
    # A key that can't be had is told, and the rest is looked at.
    server.start()
    server.faults([])
    path = make_file(world.path("key"), 10)
    os.chmod(path, 0o644)
    words = ["-o", f"{state},api_key_file={path}", server.url, mnt]
    good, bad = doctor(world, *words, code=1)
    assert len(bad) == 1
    assert bad[0].startswith(f"others can read the key file {path}; run chmod 600 {path}, or")
    assert server.url + " answers" in good and mnt + " is free" in good


def test_doctor_without_a_key(world, mnt):
    """A server on this host that asks for none."""
    server = world.server(key=None)
    good, bad = doctor(world, "-o", f"state_dir={world.path('state')}", server.url, mnt, key=None)
    assert bad == [] and "there is no key" in good
    assert server.url + " answers, and asks for no key" in good


def test_of_another_purpose(world, server, source):
    """What failed below one purpose is not damaged for a mount that shows another one."""
    mount = world.mount(server, retry_timeout="1", retry_delay="3600", connect_timeout="1",
                        drain_timeout="1")
    mount.may_fail = True
    server.kill()
    assert run(["cp", source, mount.path("fine-tune", "f")], check=False).returncode
    mount.kill()
    mount.options["purpose"] = "batch"
    server.start()
    mount.remount()
    assert "fine-tune/f waits in data/" in mount.log()
    mount.umount()
    mount.options["purpose"] = None
    mount.remount()
    path = mount.path("fine-tune", "f")
    wait_until(lambda: xattr(path, "status") == "completed", "it is published")
    assert server.content_md5(xattr(path, "file_id"))[1] == md5(source)
