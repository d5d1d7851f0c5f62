"""When a File can't be made, close() says so, and nothing is lost."""
import errno
import os
import re

import pytest

from harness import (KEY, MIB, FrozenCopy, assert_published, is_mounted, make_file, run, wait_until,
                     xattr)

FOREVER = {"nth": 1, "times": 0}


def refuse(op, status, code, message):
    return {"op": op, "action": "status", "status": status, "code": code, "message": message,
            **FOREVER}


# What goes wrong, and how cp puts it.
CASES = {
    "complete 400": (refuse("complete", 400, "invalid_request_error", "We do not want it"),
                     "Invalid argument", ["400", "We do not want it"]),
    "complete 401": (refuse("complete", 401, "invalid_api_key", "Incorrect API key provided"),
                     "Permission denied", ["401", "invalid_api_key"]),
    "complete 403": (refuse("complete", 403, "unsupported_country_region_territory", "Not here"),
                     "Permission denied", ["403", "Not here"]),
    "complete 503": (refuse("complete", 503, "overloaded", "Come back later"),
                     "Input/output error", ["503", "Come back later"]),
    "create 400": (refuse("create", 400, "invalid_value", "No such thing"),
                   "Invalid argument", ["400", "invalid_value", "No such thing"]),
    "create 401": (refuse("create", 401, "invalid_api_key", "Incorrect API key provided"),
                   "Permission denied", ["401", "invalid_api_key"]),
    "create 429": (refuse("create", 429, "rate_limit_exceeded", "Slow down"),
                   "Input/output error", ["429", "rate_limit_exceeded"]),
    "create quota": (refuse("create", 429, "insufficient_quota", "You exceeded your quota"),
                     "Disk quota exceeded", ["429", "insufficient_quota"]),
    "part 400": (refuse("part", 400, "bad_part", "Not this part"),
                 "Invalid argument", ["400", "bad_part", "Not this part"]),
    "part 413": (refuse("part", 413, "too_large", "Too large"), "File too large",
                 ["413", "too_large"]),
}


def cp_fails(source, dest, words):
    """cp exits non-zero and says words."""
    result = run(["cp", source, dest], check=False)
    assert result.returncode == 1
    assert words in result.stderr, result.stderr
    return result.stderr


@pytest.mark.no_tsan  # it waits most of the time
@pytest.mark.parametrize("case", CASES)
def test_refused(server, mount, source, case):
    rule, words, causes = CASES[case]
    mount.may_fail = True
    server.faults([rule])
    dest = mount.path("batch", "out.jsonl")
    cp_fails(source, dest, words)
    assert xattr(dest, "status") == "failed"
    for cause in causes:
        assert cause in xattr(dest, "error")
    assert server.files() == []
    run(["cmp", source, dest])
    assert re.search(rf"{rule['status']}.*{re.escape(rule['message'])}", mount.log())

    # With the cause gone, the bytes that stayed become a File.
    server.faults([])
    run(["setfattr", "-n", "user.upload.publish", "-v", "1", dest])
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)
    assert xattr(dest, "error") is None


def test_wrong_key(world, server, source):
    """The real thing: the server knows another key. Neither key is told to anyone."""
    mount = world.mount(server)
    mount.may_fail = True
    run(["ls", mount.path("batch")])
    server.restart(key="sk-test-another-key-0123")
    result = run(["cp", source, mount.path("batch", "out.jsonl")], check=False)
    assert result.returncode == 1 and "Permission denied" in result.stderr
    assert server.files() == []
    for text in (result.stderr, mount.log(), server.log()):
        assert KEY not in text and "sk-test-another" not in text


def test_server_gone_under_cp(world, server, mount):
    """It vanishes while cp writes: EHOSTUNREACH, and the bytes are here."""
    mount.may_fail = True
    source = make_file(world.path("big.jsonl"), 64 * MIB)
    dest = mount.path("batch", "out.jsonl")
    copy = FrozenCopy(source, dest, at=8 * MIB)
    try:
        wait_until(lambda: server.journal(copy.since, op="part", status=200), "a part arrives")
        server.kill()
        code, err = copy.finish()
    finally:
        copy.close()
    assert code == 1 and "No route to host" in err
    assert xattr(dest, "status") == "failed"
    assert xattr(dest, "error")
    assert xattr(dest, "file_id") is None
    run(["cmp", source, dest])

    server.start()
    run(["setfattr", "-n", "user.upload.publish", "-v", "1", dest])
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)


@pytest.mark.no_tsan  # it waits most of the time
def test_upload_given_up_while_the_server_is_gone(world, server, mount):
    """Nobody hears its cancel: it is cancelled when the server is back."""
    mount.may_fail = True
    source = make_file(world.path("source"), 3 * MIB)
    dest = mount.path("batch", "out.jsonl")
    with open(source, "rb") as f, open(dest, "wb", buffering=0) as out:
        os.setxattr(dest, "user.upload.size", b"%d" % (3 * MIB))
        out.write(f.read(MIB))
        wait_until(lambda: server.journal(op="part", status=200), "a part arrives")
        server.kill()
        out.write(f.read(MIB))
        wait_until(lambda: "be sent at the close" in mount.log(), "the Upload is given up")
        out.write(f.read())
        with pytest.raises(OSError) as failed:
            out.close()
    assert failed.value.errno == errno.EHOSTUNREACH
    server.start()
    os.setxattr(dest, "user.upload.publish", b"1")
    wait_until(lambda: xattr(dest, "file_id"), "the File appears")
    assert_published(server, dest, source)


@pytest.mark.no_tsan  # it waits most of the time
def test_stalled_part_times_out(world, server, source):
    """A server that takes no bytes is noticed: ETIMEDOUT."""
    mount = world.mount(server, idle_timeout="1", retry_timeout="1")
    mount.may_fail = True
    server.faults([{"op": "part", "action": "stall", "when": "before", **FOREVER}])
    dest = mount.path("batch", "out.jsonl")
    cp_fails(source, dest, "Connection timed out")
    assert xattr(dest, "status") == "failed"
    run(["cmp", source, dest])
    server.faults([])


# A fault that passes: cp does not notice.
PASSING = {
    "503 at create": {"op": "create", "action": "status", "status": 503},
    "429 with Retry-After": {"op": "part", "action": "status", "status": 429, "times": 2,
                             "headers": {"Retry-After": "1"}},
    "500 at complete": {"op": "complete", "action": "status", "status": 500},
    "reset before a part": {"op": "part", "action": "reset", "when": "before", "times": 2},
    "reset in a part": {"op": "part", "action": "reset", "when": "during", "times": 2},
    "reset after a part": {"op": "part", "action": "reset", "when": "after", "times": 2},
    "reply to a part dropped": {"op": "part", "action": "drop", "times": 2},
    "reply to create dropped": {"op": "create", "action": "drop"},
    "reply to create cut": {"op": "create", "action": "truncate"},
    "reply to a part is no JSON": {"op": "part", "action": "invalid_json"},
}


@pytest.mark.parametrize("case", PASSING)
def test_passing_fault(world, server, source, case):
    mount = world.mount(server, retry_timeout="20")
    server.faults([{"nth": 1, "times": 1, **PASSING[case]}])
    dest = mount.path("batch", "out.jsonl")
    run(["cp", source, dest])
    assert any(x["fault"] for x in server.journal()), "the fault rule did not match"
    file_id = xattr(dest, "file_id")
    assert [(x["id"], x["bytes"]) for x in server.files()] == [(file_id, os.path.getsize(source))]
    assert server.content_md5(file_id) == (os.path.getsize(source), xattr(dest, "md5"))
    run(["cmp", source, dest])


@pytest.mark.parametrize("action", ["drop", "truncate", "invalid_json"])
def test_reply_to_complete_lost(world, server, source, action):
    """The work was done, the reply did not come: no second File, no failure."""
    mount = world.mount(server, retry_timeout="20")
    server.faults([{"op": "complete", "nth": 1, "times": 1, "action": action}])
    dest = mount.path("batch", "out.jsonl")
    run(["cp", source, dest])
    assert_published(server, dest, source)


def test_mount_survives_a_server_that_is_gone(server, mount, source):
    """Without a server the mount still answers, with errors."""
    mount.may_fail = True
    run(["cp", source, mount.path("batch", "out.jsonl")])
    server.kill()
    assert run(["cp", source, mount.path("batch", "two.jsonl")], check=False).returncode == 1
    assert mount.alive() and is_mounted(mount.mnt)
    run(["cmp", source, mount.path("batch", "out.jsonl")])
