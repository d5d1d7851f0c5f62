"""What the service does with a File after it was published: attributes, status, wait --processed."""
import errno
import json
import os
import subprocess

import pytest

from harness import DEADLINE, bash, wait_until, xattr
from test_cli import argv, cli


def document(mount):
    with open(mount.path(".uploadfs", "status"), encoding="utf-8") as f:
        return json.load(f)


def names(path):
    return [x for x in os.listxattr(path) if "file_status" in x or "status_details" in x]


def set_state(account, file_id, old, new):
    account.change(file_id, old.encode(), new.encode())


def test_asked_for_at_each_reading(world, account):
    file_id = account.add("f", b"x")
    set_state(account, file_id, '"processed"', '"uploaded"')
    mount = world.mount(account, list_ttl="600")
    path = mount.path("batch", "f")
    assert xattr(path, "file_status") == "uploaded"
    assert names(path) == ["user.upload.file_status"]
    assert xattr(path, "status_details") is None
    set_state(account, file_id, '"uploaded"', '"error","status_details":{"message":"line 3\\n"}')
    wait_until(lambda: xattr(path, "file_status") == "error", "it is asked for again")
    assert xattr(path, "status_details").startswith("line 3")
    assert document(mount)["unusable"][0]["file_id"] == file_id
    set_state(account, file_id, '"error","status_details":{"message":"line 3\\n"}', '"processed"')
    wait_until(lambda: xattr(path, "file_status") == "processed", "it is asked for again")
    assert names(path) == [] and document(mount)["unusable"] == []


def test_error_from_a_listing(world, account):
    """Whoever made the File, and also after a remount."""
    bad = account.add("sub/bad", b"x")
    account.add("good", b"x")
    set_state(account, bad, '"processed"', '"error","status_details":"line 3: no JSON"')
    mount = world.mount(account)
    path = mount.path("batch", "sub", "bad")
    for _ in range(2):
        assert os.path.exists(path)
        assert document(mount)["unusable"] == [
            {"path": "batch/sub/bad", "file_id": bad, "status_details": "line 3: no JSON"}]
        result = cli(world, "status", mount.mnt)
        assert f"batch/sub/bad: the service could not process {bad}: line 3: no JSON\n" in \
            result.stdout and ", 1 unusable" in result.stdout
        mount.remount()
    assert names(mount.path("batch", "good")) == []


def test_error_at_complete(world, server):
    """The reply to complete tells it; the service's later word counts."""
    mount = world.mount(server)
    path = mount.path("batch", "f")
    bash('echo x > "$1"', path)
    assert xattr(path, "file_status") == "processed"
    server.faults([{"op": "get", "action": "wrong_status", "times": 0}])
    wait_until(lambda: xattr(path, "file_status") == "error", "it is asked for again")


def waiting(path, *words):
    return subprocess.Popen(argv("wait", "--processed", *words, path), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("end", ["processed", "error", "gone"])
def test_wait(world, account, end):
    file_id = account.add("f", b"x")
    set_state(account, file_id, '"processed"', '"uploaded"')
    mount = world.mount(account, list_ttl="600")
    path = mount.path("batch", "f")
    assert cli(world, "wait", path).stdout == file_id + "\n"  # does not wait for that
    assert "the time is over" in cli(world, "wait", "--processed", "--timeout", "1", path,
                                     code=3).stderr
    process = waiting(path)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        if end == "gone":
            account.remove(file_id)
        else:
            set_state(account, file_id, '"uploaded"', {
                "processed": '"processed"', "error": '"error","status_details":"line 3"'}[end])
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
        process.wait()
    if end == "processed":
        assert (process.returncode, out) == (0, file_id + "\n")
    else:
        assert process.returncode != 0 and out == ""
    if end == "error":
        assert process.returncode == 1 and "could not process it: line 3" in err


def test_wait_without_a_status(world, account):
    """A service that tells no status: said, not waited for."""
    file_id = account.add("f", b"x")
    set_state(account, file_id, '"status":"processed",', "")
    mount = world.mount(account)
    result = cli(world, "wait", "--processed", mount.path("batch", "f"), code=1)
    assert "does not tell" in result.stderr
    assert "name a FILE" in cli(world, "wait", "--processed", mount.mnt, code=2).stderr


def test_service_down(world, server):
    """What is known stays; what is not known is an error, not a guess."""
    mount = world.mount(server, retry_timeout="1", list_ttl="600")
    for name in "fg":
        bash('echo x > "$1"', mount.path("batch", name))
    assert xattr(mount.path("batch", "f"), "file_status") == "processed"
    server.stop()
    assert xattr(mount.path("batch", "f"), "file_status") == "processed"
    with pytest.raises(OSError) as caught:
        xattr(mount.path("batch", "g"), "file_status")
    assert caught.value.errno != errno.ENODATA
    server.restart()
