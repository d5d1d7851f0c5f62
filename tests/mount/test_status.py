"""
.uploadfs: status and metrics. The status is checked against docs/status.schema.json, the metrics
against the rules of the Prometheus text format.
"""
import errno
import json
import os
import stat
import subprocess

import jsonschema
import pytest

import harness
import prometheus
from harness import KEY, MIB, ROOT, bash, make_file, python, run, wait_until, xattr

with open(os.path.join(ROOT, "docs", "status.schema.json"), encoding="utf-8") as f:
    SCHEMA = json.load(f)
jsonschema.Draft7Validator.check_schema(SCHEMA)


def status(mount):
    """The document, valid and without a secret."""
    with open(mount.path(".uploadfs", "status"), encoding="utf-8") as f:
        text = f.read()
    assert KEY not in text
    doc = json.loads(text)
    jsonschema.validate(doc, SCHEMA, jsonschema.Draft7Validator)
    return doc


def entry(mount, path):
    """The file of that path in the document; None when it is not there."""
    found = [x for x in status(mount)["files"] if x["path"] == path]
    assert len(found) <= 1
    return found[0] if found else None


def entry_with(mount, path, word):
    found = entry(mount, path)
    return found if found and found["status"] == word else None


def metrics(mount):
    """{'name{labels}': value}, after a check of the whole text; see test_metrics.py for more."""
    with open(mount.path(".uploadfs", "metrics"), encoding="utf-8", newline="") as f:
        text = f.read()
    assert KEY not in text
    return {name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels) + "}" if labels else ""): value
            for family in prometheus.parse(text).values()
            for (name, labels), value in family.samples.items()}


def test_document(server, mount, source):
    """Idle, after a publication: who and what it is, totals, nothing under way."""
    before = status(mount)
    assert before["pid"] == mount.pid and before["mountpoint"] == mount.mnt
    assert before["service_url"] == server.url and before["purpose"] is None
    assert before["state_dir"] == mount.state and before["files"] == []
    run(["cp", source, mount.path("batch", "f")])
    # The close does not wait for its RELEASE, with which the bytes go to the cache.
    wait_until(lambda: status(mount)["space"]["cache_used"], "it is in the cache")
    after = status(mount)
    assert after["totals"]["completed"] == 1 and after["files"] == []
    assert after["totals"]["completed_bytes"] == os.path.getsize(source)
    assert after["service"]["bytes_sent"] >= os.path.getsize(source)
    assert after["space"]["cache_used"] == os.path.getsize(source)
    assert after["time"] >= after["started"]


def test_snapshot_at_open(server, mount, source):
    """An open document does not change; its size is known; each open makes a new one."""
    path = mount.path(".uploadfs", "status")
    with open(path, encoding="utf-8") as old:
        size = os.fstat(old.fileno()).st_size
        head = old.read(100)
        run(["cp", source, mount.path("batch", "f")])
        text = head + old.read()
        assert len(text.encode()) == size > 500
        assert json.loads(text)["totals"]["completed"] == 0
        old.seek(0)
        assert old.read() == text
    assert status(mount)["totals"]["completed"] == 1
    assert json.loads(run(["cat", path]).stdout)["totals"]["completed"] == 1
    assert json.loads(run(["dd", "if=" + path, "bs=7", "status=none"]).stdout)["format"] == 1


@pytest.mark.parametrize("options", [{}, {"purpose": "batch"}])
def test_hidden_and_read_only(world, server, options):
    """Not in a listing, though it can be opened; nothing in it can be changed or made."""
    mount = world.mount(server, **options)
    root, inside = mount.mnt, mount.path(".uploadfs")
    assert ".uploadfs" not in os.listdir(root)
    assert sorted(os.listdir(inside)) == ["metrics", "status"]
    assert status(mount)["purpose"] == options.get("purpose")
    assert metrics(mount)["uploadfs_requests_total"] >= 0
    info = os.stat(os.path.join(inside, "status"))
    assert stat.S_IMODE(info.st_mode) == 0o400 and info.st_uid == os.geteuid()
    assert stat.S_IMODE(os.stat(inside).st_mode) == 0o500
    path = os.path.join(inside, "status")
    for call in (lambda: open(path, "w"), lambda: open(path, "r+"), lambda: os.truncate(path, 0),
                 lambda: os.unlink(path), lambda: os.rename(path, mount.path(".uploadfs", "x")),
                 lambda: os.rename(path, mount.path("batch" if not options else "", "x")),
                 lambda: os.mkdir(os.path.join(inside, "d")), lambda: os.rmdir(inside),
                 lambda: open(os.path.join(inside, "new"), "w"), lambda: os.chmod(path, 0o777),
                 lambda: os.rename(inside, mount.path("other")), lambda: os.utime(path),
                 lambda: os.mkdir(mount.path(".uploadfs"))):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno in (errno.EPERM, errno.EACCES, errno.EEXIST, errno.ENOTEMPTY)
    assert os.listxattr(path) == []
    with pytest.raises(FileNotFoundError):
        os.stat(os.path.join(inside, "other"))
    status(mount)


def test_names_of_the_account(world, server):
    """A File called .uploadfs/status stands beside it under another name, and hides nothing."""
    for purpose in ("batch", "user_data"):
        path = world.path("data")
        make_file(path, 100)
        run(["curl", "-sf", "-H", f"Authorization: Bearer {KEY}", "-F", f"purpose={purpose}", "-F",
             f"file=@{path};filename=.uploadfs/status", server.url + "/files"])
    mount = world.mount(server, purpose="batch")
    assert os.listdir(mount.mnt) == ["%2Euploadfs"]
    assert os.path.getsize(mount.path("%2Euploadfs", "status")) == 100
    assert status(mount)["files"] == []
    assert len(server.files()) == 2


def test_answers_without_the_service(server, mount):
    """The document and its directory never wait for the network."""
    server.kill()
    assert sorted(os.listdir(mount.path(".uploadfs"))) == ["metrics", "status"]
    assert status(mount)["totals"]["completed"] == 0
    metrics(mount)


def test_in_flight(world, source):
    """A Part that does not end: bytes, parts and rate are there while close() waits."""
    server = world.server()
    mount = world.mount(server, parallel=2, retry_timeout="60")
    server.faults([{"op": "part", "nth": 4, "action": "stall", "when": "during"}])
    cp = subprocess.Popen(["cp", source, mount.path("batch", "f")])
    try:
        size = os.path.getsize(source)
        found = wait_until(lambda: (lambda x: x if x and x["parts_done"] == 5 else None)(
            entry_with(mount, "batch/f", "publishing")), "all Parts but one are in")
        assert found["size"] == found["upload_size"] == size and found["parts_total"] == 6
        assert 4 * MIB < found["sent"] <= size and found["upload_id"].startswith("upload_")
        assert found["rate"] > 0 and found["error"] is None and found["errno"] is None
        doc = status(mount)
        assert doc["totals"]["publishing"] == 1 and doc["totals"]["sent"] >= found["sent"]
        values = metrics(mount)
        assert values['uploadfs_files{state="publishing"}'] == 1
        assert values['uploadfs_pending_requests{queue="part",state="running"}'] >= 1
        server.faults([])
        server.restart()
        assert cp.wait(harness.DEADLINE) == 0
    finally:
        cp.kill()
        cp.wait()
    assert entry(mount, "batch/f") is None
    assert status(mount)["service"]["retries"] > 0


def test_streaming(server, mount):
    """Written, with an Upload already: the size that was declared, and what is in of it."""
    with open(mount.path("batch", "s"), "wb", buffering=0) as f:
        os.setxattr(f.fileno(), "user.upload.size", str(3 * MIB).encode())
        f.write(b"x" * (2 * MIB))
        found = wait_until(lambda: (lambda x: x if x and x["parts_done"] == 2 else None)(
            entry_with(mount, "batch/s", "streaming")), "two Parts are in")
        assert found["upload_size"] == 3 * MIB and found["size"] == found["sent"] == 2 * MIB
        assert found["parts_total"] == 3 and found["upload_id"]
        assert status(mount)["totals"]["streaming"] == 1
        f.write(b"x" * MIB)


def test_every_state(world, server):
    """Writing, held, failed, aborted, empty: each with what there is to say of it."""
    mount = world.mount(server, retry_delay="3600", hold_timeout="3600")
    mount.may_fail = True
    server.faults([{"op": "complete", "times": 0, "action": "status", "status": 400,
                    "code": "odd", "message": "no such thing"}])
    small = make_file(world.path("small"), 100)
    assert run(["cp", small, mount.path("batch", "bad")], check=False).returncode
    server.faults([])
    bash('echo x > "$1/.name.AbC123"; : > "$1/nothing"', mount.path("batch"))
    python("import os, sys; f = open(sys.argv[1], 'w', 1); f.write('x\\n'); os.kill(os.getpid(), 9)",
           mount.path("batch", "killed"), check=False)
    with open(mount.path("batch", "open"), "wb") as out:
        out.write(b"x" * 1000)
        out.flush()
        # Neither end is waited for: nobody closed the one, and an empty one is safe before it.
        doc = wait_until(lambda: (lambda d: d if d["totals"]["aborted"] and d["totals"]["empty"]
                                  else None)(status(mount)), "the killed and the empty one end")
        by_path = {x["path"]: x for x in doc["files"]}
        assert {k: v["status"] for k, v in by_path.items()} == {
            "batch/bad": "failed", "batch/.name.AbC123": "held", "batch/killed": "aborted",
            "batch/open": "writing", "batch/nothing": "empty"}
        # In the order of what is worth looking at.
        assert [x["status"] for x in doc["files"]] == ["writing", "held", "failed", "aborted",
                                                       "empty"]
        assert doc["totals"] == {**doc["totals"], "writing": 1, "held": 1, "failed": 1,
                                 "aborted": 1, "empty": 1, "publishing": 0, "completed": 0}
        bad = by_path["batch/bad"]
        assert bad["errno"] == "EINVAL" and bad["http_status"] == 400
        assert "no such thing" in bad["error"] and bad["request_id"]
        assert bad["request_id"] == xattr(mount.path("batch", "bad"), "request_id")
        assert bad["next_try"] is None  # refused
        assert by_path["batch/open"]["size"] == 1000 and by_path["batch/open"]["next_try"] is None
    values = metrics(mount)
    for outcome in ("failed", "aborted", "empty"):
        assert values[f'uploadfs_publications_total{{outcome="{outcome}"}}'] >= 1
    for name in ("bad", ".name.AbC123", "killed", "nothing"):
        os.unlink(mount.path("batch", name))


def test_metrics_count(world, source):
    """What was done stands in the counters and in the histograms."""
    server = world.server()
    mount = world.mount(server)
    server.faults([{"op": "part", "times": 2, "action": "status", "status": 500}])
    run(["cp", source, mount.path("batch", "f")])
    run(["cmp", source, mount.path("batch", "f")])
    os.unlink(mount.path("batch", "f"))
    # No close waits for its RELEASE, with which the staged bytes go.
    wait_until(lambda: metrics(mount)["uploadfs_staging_bytes"] == 0, "nothing is staged")
    values = metrics(mount)
    size = os.path.getsize(source)
    assert values['uploadfs_publications_total{outcome="completed"}'] == 1
    assert values["uploadfs_published_bytes_total"] == size
    assert values["uploadfs_parts_total"] == 6
    assert values["uploadfs_publication_seconds_count"] == 1
    assert values["uploadfs_request_retries_total"] == 2
    assert values['uploadfs_request_failures_total{call="part"}'] == 2
    assert values['uploadfs_request_seconds_count{call="part"}'] == 8
    for call in ("create", "complete", "delete"):
        assert values[f'uploadfs_request_seconds_count{{call="{call}"}}'] == 1
    assert values["uploadfs_requests_total"] == len(server.journal())
    assert values["uploadfs_sent_bytes_total"] >= size
    assert values["uploadfs_staging_bytes"] == 0


def test_owner_and_others(world, server, source):
    """With allow_other others may read it; without, nobody else sees anything of the mount."""
    mount = world.mount(server, "allow_other")
    run(["chmod", "755", world.dir])
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "cat"]
    assert json.loads(run([*argv, mount.path(".uploadfs", "status")]).stdout)["format"] == 1
    alone = world.mount(server)
    result = run([*argv, alone.path(".uploadfs", "status")], check=False)
    assert result.returncode and not result.stdout
