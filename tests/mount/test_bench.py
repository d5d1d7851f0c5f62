"""make bench works: rows with little data, and what becomes of figures. Nothing about speed."""
import json
import os
import subprocess
import sys

import pytest

from harness import BUILD, TESTS

BENCH = os.path.join(TESTS, "bench")
sys.path.insert(0, BENCH)
import table  # noqa: E402

pytestmark = pytest.mark.plain  # the sanitized builds would measure the sanitizer

FRAME = f"before\n{table.BEGIN}\nwhat was here\n{table.END}\nafter\n"
HERE = {"host": "here", "date": "2026-01-02", "versions": {"a": "1"}}


def bench(tmp_path, *args):
    document = tmp_path / "performance.md"
    document.write_text(FRAME)
    env = dict(os.environ, TMPDIR=str(tmp_path), UPLOADFS_BUILD=BUILD)
    done = subprocess.run([sys.executable, "-B", os.path.join(BENCH, "bench.py"), "--reps", "1",
                           "--scale", "256", "--results", str(tmp_path / "results"),
                           "--document", str(document), *args], env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
                          check=False)
    return done, document.read_text()


def test_rows_are_measured_and_written(tmp_path):
    done, text = bench(tmp_path, "--rows", "cp,read")
    assert done.returncode == 0, done.stdout
    kept = {x: json.loads((tmp_path / "results" / x).read_text())["row"]
            for x in os.listdir(tmp_path / "results")}
    assert set(kept) == {"cp.json", "cpu.json", "cold.json", "again.json"}
    for row in kept.values():
        assert len(row["ours"]) == len(row["theirs"]) == 1
        assert row["ours"][0] >= 0 and row["theirs"][0] > 0
        assert row["what"] in text and row["what"] in done.stdout
    assert text.startswith("before\n") and text.endswith("after\n") and "what was here" not in text
    # What was started is gone.
    left = [x for x in os.listdir(tmp_path) if x not in ("results", "performance.md")]
    assert left == []
    with open("/proc/self/mounts", encoding="utf-8") as f:
        assert str(tmp_path) not in f.read()


def test_a_row_that_fails_leaves_nothing(tmp_path):
    """Where there is no Node SDK the script can't run; the mount and the sink are ended."""
    done, text = bench(tmp_path, "--rows", "node", "--npm", str(tmp_path / "none"))
    assert done.returncode != 0 and text == FRAME
    assert os.listdir(tmp_path) == ["performance.md"]
    with open("/proc/self/mounts", encoding="utf-8") as f:
        assert str(tmp_path) not in f.read()


@pytest.mark.parametrize("args", [["--rows", "nonsense"], ["--scale", "2"]])
def test_refuses(args):
    done = subprocess.run([sys.executable, "-B", os.path.join(BENCH, "bench.py"), *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 2


def test_a_ratio():
    row = table.Row("x", "ours", "theirs", [3.0, 1.0, 2.0], [1.0, 1.0, 2.0], aim=1.5)
    assert row.value() == 2.0 and row.spread() == (1.0, 3.0) and row.met() is False
    assert table.cells(row) == ["ours", "theirs", "2.00 s", "1.00 s", "2.00", "1.00 … 3.00",
                                "≤ 1.50", "**no**", "–"]


def test_a_figure():
    row = table.Row("x", "memory", "–", [1 << 20, 3 << 20], unit="MiB", aim=2)
    assert row.value() == 2.0 and row.spread() == (1.0, 3.0) and row.met() is True
    assert table.cells(row) == ["memory", "–", "2.00 MiB", "–", "–", "1.00 … 3.00", "≤ 2.00",
                                "yes", "–"]


def test_the_quietest_turns_count():
    row = table.Row("x", "ours", "theirs", [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0])
    row.keep([1, 3], 0.07)
    assert (row.ours, row.theirs) == ([2.0, 4.0], [2.0, 2.0])
    assert table.cells(row)[-1] == "7 %"


def test_a_table_of_several_runs(tmp_path):
    """In the order asked for; a row measured again replaces the old one; another machine's stays out."""
    def row(name, value):
        return table.Row(name, "row " + name, "–", [value])

    table.save(tmp_path, [row("a", 1.0), row("b", 2.0)], HERE)
    table.save(tmp_path, [row("c", 3.0)], dict(HERE, host="there"))
    table.save(tmp_path, [row("b", 4.0)], HERE)
    rows = table.load(tmp_path, ["b", "a", "c", "d"], HERE)
    assert [(x.name, x.ours) for x in rows] == [("b", [4.0]), ("a", [1.0])]
    text = table.document(FRAME, rows, HERE)
    assert text.index("| row b |") < text.index("| row a |")
    assert "Measured on 2026-01-02: here." in text and "Versions: a 1." in text
    assert table.document(text, rows, HERE) == text
    with pytest.raises(ValueError):
        table.document("no marks", rows, HERE)


def test_the_document_has_the_marks():
    with open(os.path.join(os.path.dirname(TESTS), "docs", "performance.md"),
              encoding="utf-8") as f:
        text = f.read()
    assert text.count(table.BEGIN) == text.count(table.END) == 1
