"""The log: JSON, one line a publication, and the signals that concern it."""
import json
import os
import signal

from harness import BUILD, KEY, is_mounted, make_file, python, run, wait_until, xattr

REFUSE = [{"op": "complete", "times": 0, "action": "status", "status": 400, "code": "odd",
           "message": "no such thing"}]


def objects(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert KEY not in text
    return [json.loads(x) for x in text.splitlines()]


def event(path, name):
    return wait_until(lambda: [x for x in objects(path) if x.get("event") == name], name)[-1]


def test_json(world, server, source):
    """A line for each publication, with all there is to know; a failure with its reason."""
    log = world.path("log")
    mount = world.mount(server, "log_format=json", log_file=log, retry_delay="3600")
    mount.may_fail = True
    server.faults([{"op": "part", "times": 2, "action": "status", "status": 500}])
    path = mount.path("batch", 'a "name" of\u00e4.jsonl')
    run(["cp", source, path])
    line = event(log, "published")
    assert line == {**line, "level": "info", "purpose": "batch", "path": os.path.basename(path),
                    "file_id": xattr(path, "file_id"), "upload_id": xattr(path, "upload_id"),
                    "md5": xattr(path, "md5"), "bytes": os.path.getsize(source), "parts": 6,
                    "retries": 2, "pid": mount.pid}
    assert line["milliseconds"] >= 0 and line["file_id"] in line["message"]
    server.faults(REFUSE)
    run(["cp", make_file(world.path("s"), 99), mount.path("batch", "bad")], check=False)
    line = event(log, "failed")
    assert line == {**line, "level": "error", "path": "bad", "errno": "EINVAL",
                    "http_status": 400, "error": xattr(mount.path("batch", "bad"), "error"),
                    "request_id": xattr(mount.path("batch", "bad"), "request_id")}
    assert [x["event"] for x in objects(log) if "event" in x] == ["published", "failed"]
    os.unlink(mount.path("batch", "bad"))


def test_usr1_writes_the_status(world, server, mount):
    """Totals and a line for each file, whatever the level."""
    os.kill(mount.pid, signal.SIGUSR1)
    wait_until(lambda: "status: 0 publishing, 0 being written" in mount.log(), "the totals")
    python("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('x\\n'); os.kill(os.getpid(), 9)",
           mount.path("batch", "killed"), check=False)
    wait_until(lambda: xattr(mount.path("batch", "killed"), "status") == "aborted", "aborted")
    os.kill(mount.pid, signal.SIGUSR1)
    wait_until(lambda: "status: batch/killed: aborted, 2 bytes, 0 sent" in mount.log(), "its line")
    assert "1 aborted" in mount.log() and mount.alive()


def test_usr2_cycles_the_level(world, server, mount, source):
    """info, debug, error, warn, info; at error nothing is said of what went well."""
    def turn(level):
        count = mount.log().count(f"the log level is {level} now")
        os.kill(mount.pid, signal.SIGUSR2)
        wait_until(lambda: mount.log().count(f"the log level is {level} now") > count, level)

    turn("debug")
    turn("error")
    run(["cp", source, mount.path("batch", "quiet")])
    turn("warn")
    turn("info")
    run(["cp", source, mount.path("batch", "told")])
    wait_until(lambda: "batch/told: published" in mount.log(), "the line")
    assert "batch/quiet" not in mount.log()


def test_hup_reopens_the_file(world, server, source):
    """A log that was rotated away gets no more lines."""
    log = world.path("log")
    mount = world.mount(server, log_file=log)
    run(["cp", source, mount.path("batch", "first")])
    os.rename(log, log + ".1")
    os.kill(mount.pid, signal.SIGHUP)
    wait_until(lambda: os.path.exists(log), "a new file")
    run(["cp", source, mount.path("batch", "second")])

    def has(path, word):
        with open(path, encoding="utf-8") as f:
            return word in f.read()

    wait_until(lambda: has(log, "batch/second: published"), "the line in the new file")
    assert not has(log, "batch/first") and not has(log + ".1", "batch/second")
    assert os.stat(log).st_mode & 0o777 == 0o600


def test_a_file_that_can_not_be_written(world, server):
    """Heard of by whoever mounts, not lost with all that would be in it."""
    mnt = world.path("mnt")
    os.mkdir(mnt)
    log = world.path("no", "such", "log")
    done = run([os.path.join(BUILD, "uploadfs"), mnt, "-o",
                f"state_dir={world.path('state')},log_file={log}"],
               env={"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}, check=False)
    assert done.returncode == 1 and f"log_file {log}: No such file" in done.stderr
    assert not is_mounted(mnt)
