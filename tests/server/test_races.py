"""Two clients at once on one Upload or File: one of them wins, and what is kept is whole."""
import threading
import time

import pytest

from conftest import wait_until

ROUNDS = 25
DATA = b"one\n" * 5000, b"two\n" * 5000


def at_once(*calls):
    """The replies to calls that begin together."""
    gate, replies = threading.Barrier(len(calls)), [None] * len(calls)

    def run(i, call):
        gate.wait()
        replies[i] = call()

    threads = [threading.Thread(target=run, args=x) for x in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def fresh(server):
    upload = server.create(sum(map(len, DATA))).json["id"]
    return upload, [server.part(upload, data).json["id"] for data in DATA]


def statuses(replies):
    return sorted(x.status for x in replies)


def files(server):
    return {x["id"]: x for x in server.request("GET", "/files?limit=10000").json["data"]}


def assert_whole(server, replies=()):
    """Each File can be read, each answered File is there, and nothing else has data."""
    known = files(server)
    answered = [x.json["file"]["id"] for x in replies if x.status == 200 and "file" in x.json]
    assert set(answered) <= set(known)
    for name in known:
        assert server.content(name).body in (DATA[0] + DATA[1], DATA[1] + DATA[0])
    kept = server.list()
    pending = {x["id"] for x in kept["uploads"] if x["status"] == "pending"}
    owners = pending | {x["upload_id"] for x in kept["files"]}
    wait_until(lambda: {x.name for x in server.dir.glob("data/*")} == owners, "only owned data")
    wait_until(lambda: not list(server.dir.glob("data/*/*.tmp")), "no half Part")
    for file in kept["files"]:
        stored = {x.name for x in (server.dir / "data" / file["upload_id"]).iterdir()}
        assert stored == {x["id"] for x in file["parts"]}
    assert len({x["upload_id"] for x in kept["files"]}) == len(kept["files"])


@pytest.fixture
def settled(server):
    """The server; in the end what it holds is the same after a kill and a start."""
    yield server
    assert_whole(server)
    before, port = files(server), server.port
    server.kill()
    server.start(port=port)
    assert files(server) == before
    assert_whole(server)


def test_complete_twice(settled):
    """In two orders: one File, in the order of the one that was answered."""
    for _ in range(ROUNDS):
        upload, parts = fresh(settled)
        replies = at_once(lambda: settled.complete(upload, parts),
                          lambda: settled.complete(upload, parts[::-1]))
        assert statuses(replies) == [200, 400]
        order = DATA if replies[0].status == 200 else DATA[::-1]
        made = next(x for x in replies if x.status == 200).json["file"]["id"]
        assert settled.content(made).body == order[0] + order[1]
    assert len(files(settled)) == ROUNDS


def test_complete_and_cancel(settled):
    won = 0
    for _ in range(ROUNDS):
        upload, parts = fresh(settled)
        done, gone = at_once(lambda: settled.complete(upload, parts), lambda: settled.cancel(upload))
        assert statuses([done, gone]) == [200, 400]
        won += done.status == 200
        assert len(files(settled)) == won


def test_cancel_twice(settled):
    for _ in range(ROUNDS):
        upload, _ = fresh(settled)
        assert statuses(at_once(*[lambda: settled.cancel(upload)] * 3)) == [200, 400, 400]


def test_parts_and_complete(settled):
    """A Part that is too late is refused, or not listed and dropped."""
    for _ in range(ROUNDS):
        upload, parts = fresh(settled)
        replies = at_once(lambda: settled.complete(upload, parts),
                          *[lambda: settled.part(upload, DATA[0])] * 3)
        assert replies[0].status == 200
        assert {x.status for x in replies[1:]} <= {200, 400}
    assert len(files(settled)) == ROUNDS


def test_parts_and_cancel(settled):
    for _ in range(ROUNDS):
        upload, _ = fresh(settled)
        replies = at_once(lambda: settled.cancel(upload),
                          *[lambda: settled.part(upload, DATA[0])] * 3)
        assert replies[0].status == 200 and {x.status for x in replies[1:]} <= {200, 400}
        assert not (settled.dir / "data" / upload).exists()


def test_parts_at_once(settled):
    """Each has an id of its own, and any order of them can be completed."""
    upload = settled.create(8 * len(DATA[0])).json["id"]
    replies = at_once(*[lambda: settled.part(upload, DATA[0])] * 8)
    ids = [x.json["id"] for x in replies]
    assert len(set(ids)) == 8
    done = settled.complete(upload, sorted(ids))
    assert settled.content(done.json["file"]["id"]).body == 8 * DATA[0]
    assert settled.request("DELETE", "/files/" + done.json["file"]["id"]).status == 200


def test_delete_twice_while_it_is_read(settled):
    """One delete is answered; a reader has all bytes or none."""
    for _ in range(ROUNDS):
        upload, parts = fresh(settled)
        name = settled.complete(upload, parts).json["file"]["id"]

        def delete(name=name):
            return settled.request("DELETE", "/files/" + name)

        replies = at_once(delete, delete, lambda: settled.content(name),
                          lambda: settled.request("GET", "/files/" + name))
        assert statuses(replies[:2]) == [200, 404]
        assert replies[2].status == 404 or replies[2].body == DATA[0] + DATA[1]
        assert replies[3].status in (200, 404)
        assert files(settled) == {}


def test_complete_and_expiry(make_server):
    """An Upload that ends while it is completed: a File, or none."""
    server = make_server("--upload-ttl", "5")
    uploads = [fresh(server) for _ in range(8)]
    ends = {x["id"]: x["expires_at"] for x in server.list()["uploads"]}

    def complete(number):
        upload, parts = uploads[number]
        wait_until(lambda: time.time() > ends[upload] - 0.01 + number * 0.002, "the end is near")
        return server.complete(upload, parts)

    replies = at_once(*[lambda n=n: complete(n) for n in range(len(uploads))])
    assert all(x.status == 200 or "expired" in x.error["message"] for x in replies)
    assert set(files(server)) == {x.json["file"]["id"] for x in replies if x.status == 200}
    wait_until(lambda: "pending" not in {x["status"] for x in server.list()["uploads"]}, "all end")
    assert_whole(server, replies)
