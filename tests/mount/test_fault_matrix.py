"""
Every endpoint, every way the server can fail at it, once and for ever: success
where another try can give it, otherwise the errno of the contract, with the
bytes kept and the cause told.

The cases are files of a few Parts on one mount, written by threads side by
side; a rule is for one file's name. Some need a mount of their own (Case.alone). A
test looks at the outcome of one case. When all are over the faults end, and
what had failed must become a File.
"""
import concurrent.futures
import email.utils
import errno
import hashlib
import itertools
import json
import os
import re
import threading
import time
import urllib.request

import pytest

import harness
from harness import SLOW, make_file, wait_until, xattr

PART = 64 << 10
AT_A_TIME = 40
CASE_LIMIT = 120 * SLOW  # seconds until a case must be over, however many wait beside it
FOREVER, ONCE = 0, 1

# ---- the faults


def status(number, **more):
    return {"action": "status", "status": number, "message": "By a rule.", **more}


def in_date(seconds):
    return lambda: status(429, code="rate_limit_exceeded", headers={
        "Retry-After": email.utils.formatdate(time.time() + seconds, usegmt=True)})


FAULTS = {
    "500": status(500), "503": status(503), "400": status(400), "401": status(401),
    "403": status(403), "404": status(404), "413": status(413),
    "429 seconds": status(429, code="rate_limit_exceeded", headers={"Retry-After": "1"}),
    "429 date": in_date(3),
    "429 quota": status(429, code="insufficient_quota"),
    "503 after": status(503, when="after"),
    "reset before": {"action": "reset", "when": "before"},
    "reset during": {"action": "reset", "when": "during"},
    "reset after": {"action": "reset", "when": "after"},
    "stall before": {"action": "stall", "when": "before"},
    "stall during": {"action": "stall", "when": "during"},
    "stall after": {"action": "stall", "when": "after"},
    "drop": {"action": "drop"}, "truncate": {"action": "truncate"},
    "invalid_json": {"action": "invalid_json"}, "wrong_id": {"action": "wrong_id"},
    "wrong_bytes": {"action": "wrong_bytes"}, "wrong_status": {"action": "wrong_status"},
}
# No second try gives anything else.
FINAL = {"400": errno.EINVAL, "401": errno.EACCES, "403": errno.EACCES, "404": errno.EINVAL,
         "413": errno.EFBIG, "429 quota": errno.EDQUOT}
# What is told when every try went the same way.
LASTING = {**FINAL, "500": errno.EIO, "503": errno.EIO, "503 after": errno.EIO,
           "429 seconds": errno.EIO, "429 date": errno.EIO,
           "reset before": errno.EHOSTUNREACH, "reset during": errno.EHOSTUNREACH,
           "reset after": errno.EHOSTUNREACH, "drop": errno.EHOSTUNREACH,
           "truncate": errno.EHOSTUNREACH, "stall before": errno.ETIMEDOUT,
           "stall during": errno.ETIMEDOUT, "stall after": errno.ETIMEDOUT,
           "invalid_json": errno.EIO, "wrong_id": errno.EIO, "wrong_bytes": errno.EIO,
           "wrong_status": errno.EIO}
# The server does the work all the same, and keeps the outcome to itself.
DONE = ("503 after", "reset after", "stall after", "drop", "truncate", "invalid_json",
        "wrong_id", "wrong_bytes", "wrong_status")
NO_BODY = ("reset during", "stall during")  # nothing is "during" where no body is
LIES = ("wrong_id", "wrong_bytes", "wrong_status")

TIMES = {"once": ONCE, "for ever": FOREVER}


class Case:
    """One file, one rule: what is done, what must come of it."""

    number = 0

    def __init__(self, op, fault, times, how, nth=1, expect=0, **more):
        Case.number += 1
        self.name = f"c{Case.number:03}.x"
        self.op, self.fault, self.times, self.how, self.nth = op, fault, times, how, nth
        self.expect = expect            # errno, or 0
        self.files = more.get("files")  # Files of that name on the server; None: 1 or 0, by expect
        self.also = more.get("also")    # a rule beside it
        self.content = None
        self.outcome = None

    def __str__(self):
        place = {1: "", 3: " last"}[self.nth]
        often = "once" if self.times else "for ever"
        return f"{self.op}{place}: {self.fault} {often}, {self.how}"

    def rules(self):
        fault = FAULTS[self.fault]
        fault = fault() if callable(fault) else fault
        rule = {"op": self.op, "nth": self.nth, "times": self.times, **fault}
        if self.op != "list":
            rule["match"] = self.name
        return [rule] + ([{**self.also, "match": self.name}] if self.also else [])

    @property
    def alone(self):
        """
        Needs a mount of its own: a 429 makes all wait, no name tells listings
        apart, and after the listing for another case no File is asked for.
        """
        return self.op in ("list", "get") or self.fault in ("429 seconds", "429 date")


def create_cases():
    for fault in [x for x in FAULTS if x not in NO_BODY]:
        for times in TIMES.values():
            for how in ("close", "stream"):
                expect = 0
                if times == FOREVER:
                    # An id of nobody's: the Parts are refused as 404, again and again.
                    expect = errno.EINVAL if fault == "wrong_id" else LASTING[fault]
                elif how == "close":
                    expect = FINAL.get(fault, 0)
                yield Case("create", fault, times, how, expect=expect)


def part_cases():
    for fault in [x for x in FAULTS if x not in ("wrong_bytes", "wrong_status")]:
        for times in TIMES.values():
            for nth, how in ((1, "close"), (3, "close"), (1, "stream"), (3, "stream")):
                expect = 0
                if times == FOREVER:
                    expect = LASTING[fault]
                elif how == "close":
                    expect = FINAL.get(fault, 0)
                yield Case("part", fault, times, how, nth, expect=expect)


def complete_cases():
    for fault in FAULTS:
        for times in TIMES.values():
            expect = FINAL.get(fault, 0) if times else LASTING[fault]
            # The File is there: it is looked for, and found.
            yield Case("complete", fault, times, "close", expect=0 if fault in DONE else expect)


def cancel_cases():
    for fault in [x for x in FAULTS if x not in NO_BODY]:
        for times in TIMES.values():
            # A size that was declared and is not kept to: nobody waits for that cancel.
            yield Case("cancel", fault, times, "shrink")
            # After a refusal a cancel tells whether the Upload lives.
            yield Case("cancel", fault, times, "close", expect=errno.EFBIG,
                       also={"op": "part", "times": 0, **status(413)})


def delete_cases():
    for fault in [x for x in FAULTS if x not in NO_BODY]:
        for times in TIMES.values():
            kept = fault not in DONE and (not times or fault in FINAL)
            yield Case("delete", fault, times, "overwrite", files=2 if kept else 1)
            expect = FINAL.get(fault, 0) if times else LASTING[fault]
            # What is gone, or was gone at the second try, need not be removed.
            yield Case("delete", fault, times, "rm",
                       expect=0 if fault == "404" or fault in DONE else expect,
                       files=1 if kept else 0)


def content_cases():
    for fault in [x for x in FAULTS if x not in LIES + ("invalid_json", "503 after")]:
        lasting = {**LASTING, "404": errno.ENOENT}[fault]
        # When read-ahead was refused, the kernel asks once more for what is needed.
        yield Case("content", fault, ONCE, "read",
                   expect=(0, lasting) if fault in FINAL else 0)
        yield Case("content", fault, FOREVER, "read", expect=lasting)


def get_cases():
    # Of another size or status: that can't be told from the truth.
    for fault in [x for x in FAULTS if x not in NO_BODY + ("wrong_bytes", "wrong_status")]:
        # What the service does not take for an id is no name of a File.
        lasting = {**LASTING, "404": errno.ENOENT, "400": errno.ENOENT}[fault]
        yield Case("get", fault, ONCE, "by-id", expect=lasting if fault in FINAL else 0)
        yield Case("get", fault, FOREVER, "by-id", expect=lasting)


def list_cases():
    # A lie in a listing can't be told from the truth.
    for fault in [x for x in FAULTS if x not in NO_BODY + LIES]:
        for times in TIMES.values():
            expect = FINAL.get(fault, 0) if times else LASTING[fault]
            if fault in ("400", "413") and times:
                expect = 0  # it may be the limit that is refused: a smaller one is asked for
            # Without a listing there is none to show; an older one is better than none.
            yield Case("list", fault, times, "first ls", expect=expect)
            yield Case("list", fault, times, "later ls")
            yield Case("list", fault, times, "lost complete", expect=expect,
                       also={"op": "complete", "times": 1, "action": "drop"})


CASES = [*create_cases(), *part_cases(), *complete_cases(), *cancel_cases(), *delete_cases(),
         *content_cases(), *get_cases(), *list_cases()]

# ---- doing it


def by_build():
    """Each case once: every fifth with the sanitizers, the others without."""
    return [pytest.param(x, id=str(x), marks=[pytest.mark.plain] if n % 5 else [])
            for n, x in enumerate(CASES)]


def make_remote(server, name, data):
    """A File by POST /files, as another program makes it; its id."""
    mark = "=" * 20 + name
    form = (f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            'Content-Type: application/octet-stream\r\n\r\n').encode()
    request = urllib.request.Request(
        server.url + "/files", form + data + f"\r\n--{mark}--\r\n".encode(),
        {"Authorization": f"Bearer {server.key}",
         "Content-Type": f"multipart/form-data; boundary={mark}"})
    with urllib.request.urlopen(request, timeout=CASE_LIMIT) as reply:
        return json.loads(reply.read())["id"]


class Bench:
    """A server and a mount, and what the cases do on it."""

    def __init__(self, world, cases, **options):
        self.cases = cases
        self.server = world.server()
        self.sizes = 2 * PART + 1
        self.world = world
        self.mount = world.mount(self.server, part_size="64K", parallel="64", retry_timeout="1",
                                 idle_timeout="1", retry_delay="3000", cache_size="0",
                                 **{"list_ttl": "3600", **options})
        self.source = make_file(world.path(self.server.name + ".source"), 3 * PART)
        with open(self.source, "rb") as f:
            self.bytes = f.read()

    def content(self, case):
        """Three Parts, no two cases the same."""
        return case.name.encode() + self.bytes[:2 * PART + 1000 + int(case.name[1:4])]

    def path(self, case):
        return self.mount.path("batch", case.name)

    def write(self, case, data, size=None, until=None):
        """Declared by ftruncate when size is given; until() holds before the close."""
        fd = os.open(self.path(case), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        done = False
        try:
            if size:
                os.ftruncate(fd, size)
            for at in range(0, len(data), 50000):
                os.pwrite(fd, data[at:at + 50000], at)
            if until:
                wait_until(until, f"{case}: before the close", CASE_LIMIT)
            if size and size != len(data):
                os.ftruncate(fd, len(data))
            done = True
        finally:
            if not done:
                os.close(fd)
        os.close(fd)

    def how_close(self, case):
        case.content = self.content(case)
        self.write(case, case.content)

    def how_stream(self, case):
        """Everything that can go wrong before the close has gone wrong when it comes."""
        case.content = self.content(case)
        given_up = re.compile(rf"batch/{case.name}: (sending while it is written failed"
                              "|the Upload is gone)")
        self.write(case, case.content, len(case.content),
                   lambda: xattr(self.path(case), "parts") == "3/3" or
                   given_up.search(self.mount.log()))

    def how_shrink(self, case):
        case.content = self.content(case)
        self.write(case, case.content, len(case.content) + PART,
                   lambda: xattr(self.path(case), "parts") == "2/4")

    def how_overwrite(self, case):
        self.write(case, b"former " + self.content(case))
        case.content = self.content(case)
        self.write(case, case.content)

    def how_rm(self, case):
        self.write(case, self.content(case))
        os.unlink(self.path(case))

    def how_read(self, case):
        case.content = self.content(case)
        self.write(case, case.content)
        harness.wait_let_go(self.mount, self.path(case))
        with open(self.path(case), "rb") as f:
            assert f.read() == case.content, "other bytes were read"

    def how_by_id(self, case):
        """A File that no listing has shown: it was made by somebody else."""
        data = self.content(case)
        file_id = make_remote(self.server, case.name, data)
        assert os.stat(self.mount.path(".by-id", file_id)).st_size == len(data)

    def do(self, case):
        """Sets case.outcome: an errno, or 0."""
        try:
            getattr(self, "how_" + case.how.replace(" ", "_").replace("-", "_"))(case)
            case.outcome = 0
        except OSError as exc:
            case.outcome = exc.errno
        self.look(case)

    def look(self, case):
        """What can be seen of it at once, while the faults still stand."""
        case.errors = [x for x in self.mount.log().splitlines()
                       if f"error: batch/{case.name}: not published" in x]
        if case.how in ("rm", "first ls", "later ls", "by-id"):
            return
        case.status = xattr(self.path(case), "status")
        case.told = xattr(self.path(case), "error")
        if case.status == "failed":
            with open(self.path(case), "rb") as f:
                case.kept = f.read() == case.content

    def run(self, pool):
        """Starts all cases; their futures by name."""
        self.server.faults([rule for x in self.cases for rule in x.rules()])
        # What waits longest goes first.
        order = sorted(self.cases, key=lambda x: ("stall" not in x.fault, x.op != "complete"))
        return {x.name: pool.submit(self.do, x) for x in order}

    def settle(self):
        """What is on the server when nothing is under way: Files and Uploads by name."""
        listing = self.server.listing()
        self.lines = self.server.journal()
        self.found = {x.name: ([f for f in listing["files"] if f["filename"] == x.name],
                               [u for u in listing["uploads"] if u["filename"] == x.name])
                      for x in self.cases}

    def heal(self):
        """Without faults, what had failed becomes a File."""
        self.server.faults([])
        failed = [x for x in self.cases if getattr(x, "status", None) == "failed"]
        for case in [x for x in failed if xattr(self.path(x), "status") == "failed"]:
            os.setxattr(self.path(case), "user.upload.publish", b"1")
        for case in failed:
            wait_until(lambda: xattr(self.path(case), "status") != "publishing",
                       f"{case}: published in the end", CASE_LIMIT)
        return failed


class OwnBench(Bench):
    """One case on a server and a mount of its own."""

    def __init__(self, world, case):
        super().__init__(world, [case], list_ttl="1")
        if case.op != "list":
            self.server.faults(case.rules())

    def list(self):
        return os.listdir(self.mount.path("batch"))

    def how_first_ls(self, case):
        self.server.faults(case.rules())
        assert self.list() == []

    def how_later_ls(self, case):
        self.write(case, b"not lost from sight")
        assert self.list() == [case.name]
        self.server.faults(case.rules())

        def struck():
            assert self.list() == [case.name]
            return self.struck()

        wait_until(struck, "the listing was asked for again", CASE_LIMIT)
        assert self.list() == [case.name]

    def how_lost_complete(self, case):
        case.content = self.content(case)
        # By then nobody asks for a listing but to look for the File.
        self.write(case, case.content, until=lambda: self.server.faults(case.rules()) is None)

    def struck(self):
        return [x for x in self.server.journal(op="list") if x["fault"]]

    def check_end(self, case):
        files = set() if case.how in ("first ls", "rm") else {case.name}

        def listed():
            try:
                return set(self.list()) >= files
            except OSError:
                return False    # for a moment a failure is remembered

        wait_until(listed, "the listing is right in the end")
        if case.content:
            assert xattr(self.path(case), "status") == "completed"
            with open(self.path(case), "rb") as f:
                assert f.read() == case.content
        if not may_leave_uploads(case):
            harness.assert_nothing_pending(self.server)

    def run_alone(self, case):
        """The case from its start to its end: the daemons are gone then."""
        self.do(case)
        self.settle()
        self.server.faults([])
        if getattr(case, "status", None) == "failed":
            self.heal()
        self.check_end(case)
        self.mount.umount()
        self.server.stop()


class Matrix(harness.World):
    """All benches; the watchdog bites when the last case must be over."""

    def __init__(self, cases):
        super().__init__()
        self.watchdog.cancel()
        self.watchdog = threading.Timer(CASE_LIMIT * 2, self._bite)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.numbers = itertools.count(1)
        self.pool = concurrent.futures.ThreadPoolExecutor(AT_A_TIME)
        self.own_pool = concurrent.futures.ThreadPoolExecutor(AT_A_TIME // 3)
        self.futures, self.benches, self.over = {}, {}, None
        together = [x for x in cases if not x.alone]
        if together:
            self.benches[""] = Bench(self, together)
            # A create that is not found is a refusal only where Uploads have been seen.
            harness.run(["cp", self.benches[""].source,
                         self.benches[""].mount.path("vision", "first")])
            self.futures.update(self.benches[""].run(self.pool))
        for case in [x for x in cases if x.alone]:
            self.futures[case.name] = self.own_pool.submit(self.run_alone, case)

    def run_alone(self, case):
        self.benches[case.name] = bench = OwnBench(self, case)
        bench.run_alone(case)

    def next_number(self):
        return next(self.numbers)   # several threads ask

    def wait(self, case):
        """Of one case: its outcome. An exception of the case's thread is the test's."""
        self.futures[case.name].result(CASE_LIMIT)

    def finish(self):
        """Once: when every case is over, what the servers hold."""
        if self.over is None:
            concurrent.futures.wait(self.futures.values(), CASE_LIMIT)
            if "" in self.benches:
                self.benches[""].settle()
            self.over = True

    def bench(self, case):
        return self.benches[case.name if case.alone else ""]


@pytest.fixture(scope="module")
def matrix(request):
    names = {x.callspec.params["case"].name for x in request.session.items
             if x.path == request.path and "case" in x.callspec.params}
    matrix = Matrix([x for x in CASES if x.name in names])
    yield matrix
    for pool in (matrix.pool, matrix.own_pool):
        pool.shutdown(wait=False, cancel_futures=True)
    matrix.close()


def story(matrix, case):
    lines = [x for x in matrix.bench(case).mount.log().splitlines() if case.name in x]
    return f"{case} ({case.name})\n" + "\n".join(lines[-8:])


@pytest.mark.parametrize("case", by_build())
def test_fault(matrix, case):
    matrix.wait(case)
    tell = story(matrix, case)
    expect = case.expect if isinstance(case.expect, tuple) else (case.expect,)
    assert case.outcome in expect, f"{errno.errorcode.get(case.outcome)}, not " \
        f"{[errno.errorcode.get(x) for x in expect]}: {tell}"
    if case.how in ("close", "stream", "shrink", "lost complete"):
        check_outcome(case, tell)
    elif case.how == "overwrite":
        assert (case.status, case.told, case.errors) == ("completed", None, []), tell


def check_outcome(case, tell):
    if not case.expect:
        assert (case.status, case.told, case.errors) == ("completed", None, []), tell
        return
    assert case.status == "failed" and case.kept, tell
    assert len(case.errors) == 1, tell
    assert case.told and case.told in case.errors[0], tell
    code = re.match(r"\d+", case.also["action"] == "status" and "413" or case.fault
                    if case.also else case.fault)
    if code and case.fault != "503 after":
        assert code.group(0) in case.told, case.told


@pytest.mark.parametrize("case", by_build())
def test_server_side(matrix, case):
    """The rule struck; never two Files of a name; no Upload stays that could have been ended."""
    matrix.finish()
    files, uploads = matrix.bench(case).found[case.name]
    tell = f"{story(matrix, case)}\n{files}\n{uploads}"
    if case.how not in ("first ls", "later ls"):
        want = case.files if case.files is not None else 0 if case.expect and case.op not in (
            "content", "get") and case.how != "lost complete" else 1
        assert len(files) == want, tell
    ids = {x["id"] for x in uploads}
    struck = [x for x in matrix.bench(case).lines if x["fault"] and x["op"] == case.op]
    if case.op in ("part", "complete", "cancel"):
        struck = [x for x in struck if x["upload_id"] in ids]
    assert struck, f"the rule did not strike: {tell}"


@pytest.mark.parametrize("build", [pytest.param("plain", marks=pytest.mark.plain), "sanitized"])
def test_in_the_end(matrix, build):
    """The faults are over: all that had failed becomes a File, each once, nothing is left over."""
    matrix.finish()
    bench = matrix.benches[""]
    failed = bench.heal()
    listing = bench.server.listing()
    for case in failed:
        files = [x for x in listing["files"] if x["filename"] == case.name]
        assert len(files) == 1, (str(case), files)
        assert files[0]["id"] == xattr(bench.path(case), "file_id"), str(case)
        assert bench.server.content_md5(files[0]["id"]) == \
            (len(case.content), hashlib.md5(case.content).hexdigest()), str(case)
    allowed = {x.name for x in bench.cases if may_leave_uploads(x)}
    wait_until(lambda: not [x for x in bench.server.uploads(status="pending")
                            if x["filename"] not in allowed], "no Upload is pending")


def may_leave_uploads(case):
    """A create whose reply was lost names nobody; a cancel that is refused for ever ends nothing."""
    if case.op == "create":
        return case.fault in DONE
    return case.op == "cancel" and case.fault not in DONE and (
        not case.times or case.fault in FINAL)
