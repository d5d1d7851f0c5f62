""".uploadfs/metrics: the format, the conventions, and that docs/metrics.md has all of it."""
import os
import re

import pytest

import prometheus
from harness import KEY, ROOT, bash, make_file, run

GOOD = """\
# HELP a_total Things.
# TYPE a_total counter
a_total{k="x\\\\y\\"z\\n"} 1
a_total{k="b"} 2.5e3
# HELP t_seconds Time.
# TYPE t_seconds histogram
t_seconds_bucket{le="0.1"} 1
t_seconds_bucket{le="+Inf"} 3
t_seconds_sum 0.4
t_seconds_count 3
"""

# What the reader has to refuse: what is replaced in GOOD, by what.
WRONG = {
    "no end of line": ('count 3\n', 'count 3'),
    "an empty line": ('# HELP t', '\n# HELP t'),
    "two TYPEs": ('# TYPE a_total counter\n', '# TYPE a_total counter\n# TYPE a_total counter\n'),
    "no HELP": ('# HELP a_total Things.\n', ''),
    "no TYPE": ('# TYPE a_total counter\n', ''),
    "TYPE behind": ('# TYPE t_seconds histogram\n', 'x'),
    "a type unknown": ('total counter', 'total meter'),
    "a quote": ('y\\"z', 'y"z'),
    "a backslash": ('x\\\\y', 'x\\y'),
    "a sample twice": ('k="b"', 'k="x\\\\y\\"z\\n"'),
    "a label twice": ('{k="b"}', '{k="b",k="c"}'),
    "no number": ('2.5e3', '2,5'),
    "a counter that is called otherwise": ('a_total', 'a'),
    "falling buckets": ('"0.1"} 1', '"0.1"} 4'),
    "no last bucket": ('le="+Inf"', 'le="9"'),
    "another count": ('count 3', 'count 2'),
    "no sum": ('t_seconds_sum 0.4\n', ''),
    "bounds out of order": ('t_seconds_bucket{le="0.1"} 1\n',
                            't_seconds_bucket{le="1"} 1\nt_seconds_bucket{le="0.1"} 1\n'),
    "another unit": ('t_seconds', 't_ms'),
    "a name of two": ('# HELP t_', '# HELP a Of it.\n# TYPE a gauge\na 1\n# HELP t_'),
    "a stranger": ('t_seconds_sum 0.4', 'u_seconds_sum 0.4'),
}


def test_the_reader_takes_what_is_right():
    families = prometheus.parse(GOOD)
    assert list(families) == ["a_total", "t_seconds"]
    assert families["a_total"].samples["a_total", (("k", 'x\\y"z\n'),)] == 1


@pytest.mark.parametrize("case", WRONG)
def test_the_reader_refuses(case):
    old, new = WRONG[case]
    assert old in GOOD
    with pytest.raises(prometheus.Bad):
        prometheus.parse(GOOD.replace(old, new))


def documented():
    """{name: (type, {labels}, words)} of the table of docs/metrics.md."""
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as f:
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|$", f.read(), re.M)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels)), words)
            for name, kind, labels, words in rows}


def labels_of(family):
    return {k for _, labels in family.samples for k, _ in labels} - {"le"}


def values_of(family, label):
    return {dict(labels)[label] for _, labels in family.samples if label in dict(labels)}


def read(mount):
    with open(mount.path(".uploadfs", "metrics"), encoding="utf-8", newline="") as f:
        text = f.read()
    assert KEY not in text
    return prometheus.parse(text)


def test_format_and_document(server, mount):
    """Idle, and after a File, a failure, and reading: strictly read, and all of it documented."""
    idle = read(mount)
    mount.may_fail = True
    server.faults([{"op": "complete", "match": "wrong", "times": 0, "action": "status",
                    "status": 400}])
    source = make_file(mount.world.path("source"), 3 << 20)
    run(["cp", source, mount.path("batch", "good")])
    run(["cp", source, mount.path("batch", "wrong")], check=False)
    bash('cat "$1" > /dev/null; ls "${1%/*}"', mount.path("batch", "good"))
    busy = read(mount)
    table = documented()
    assert list(busy) == list(idle) and set(busy) == set(table)
    for name, family in busy.items():
        kind, labels, words = table[name]
        assert (family.kind, labels_of(family)) == (kind, labels), name
        assert family.help and words.strip(), name
        for label in labels - {"version"}:
            missing = {x for x in values_of(family, label) if f"`{x}`" not in text_of_document()}
            assert not missing, f"{name}: values of {label}: {missing}"
    for name, family in idle.items():
        if family.kind == "counter":
            assert all(busy[name].samples[k] >= v for k, v in family.samples.items()), name
        assert set(family.samples) == set(busy[name].samples), f"{name}: samples come and go"
    os.unlink(mount.path("batch", "wrong"))


def text_of_document():
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as f:
        return f.read()
