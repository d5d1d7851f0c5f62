"""uploadfs doctor SOURCE FILE...: what a copy into a mount would refuse, without sending."""
import os

from test_cli import cli


def lay(world):
    """Files below a directory of the test: name -> bytes."""
    root = world.path("in")
    for name, size in (("fine-tune/a.jsonl", 3), ("fine-tune/b.txt", 3), ("fine-tune/e.jsonl", 0),
                       ("batch/d/big.jsonl", 200000001), ("batch/fits.JSONL", 3),
                       ("x/huge", (8 << 30) + 1), ("x/note.txt", 3), ("x/six.pdf", 600 << 20),
                       ("x/a\nb", 3)):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(b"{}\n"[:size])
            f.truncate(size)
    os.symlink("note.txt", os.path.join(root, "x", "link"))
    os.mkfifo(os.path.join(root, "x", "fifo"))
    return root


def findings(world, options, *words, code):
    out = cli(world, "doctor", "-o", f"state_dir={world.path('st')}{options}",
              "local:" + world.path("srv"), *words, code=code).stdout
    assert not os.path.exists(world.path("srv"))
    return out.splitlines()[1:]


def test_refusals(world):
    root = lay(world)
    out = findings(world, "", *(os.path.join(root, x) for x in ("fine-tune", "batch", "x")), code=1)
    ends = (("ok", "fine-tune/a.jsonl", "for fine-tune"), ("WRONG", "fine-tune/b.txt", ".jsonl"),
            ("WRONG", "fine-tune/e.jsonl", "empty"), ("WRONG", "batch/d/big.jsonl", "200 MB"),
            ("ok", "batch/fits.JSONL", "for batch"), ("WRONG", "x/a?b", "control characters"),
            ("WRONG", "x/fifo", "regular file"), ("WRONG", "x/huge", "8 GiB"),
            ("WRONG", "x/link", "cp -L"), ("ok", "x/note.txt", "(not batch, fine-tune:"),
            ("ok", "x/six.pdf", "for assistants"), ("ok", "x/six.pdf", "without Uploads"))
    assert len(out) == len(ends), out
    for line, (word, path, why) in zip(out, ends):
        assert line.startswith(word) and f"{root}/{path}: " in line and why in line, line


def test_words(world):
    root = lay(world)
    note, train = os.path.join(root, "x/note.txt"), os.path.join(root, "fine-tune/a.jsonl")
    assert findings(world, "", note, train, code=0)[1].endswith("for fine-tune")
    # The option says the purpose, whatever the path.
    assert "batch: its files" in findings(world, ",purpose=batch", note, code=1)[0]
    assert "more than -o staging_size=" in findings(world, ",staging_size=1M",
                                                    os.path.join(root, "x/six.pdf"), code=1)[0]
    out = findings(world, "", note, world.path("none"), code=1)
    assert out[1].startswith("WRONG") and "No such file" in out[1]
    # A link that is named is followed, as by cp.
    assert findings(world, "", os.path.join(root, "x/link"), code=0)
    # One directory is a mountpoint.
    assert "is free" in "".join(findings(world, "", os.path.join(root, "x"), code=0))


def test_lines(world):
    """Each line of a batch or of data for training is a JSON object."""
    root = world.path("in")
    os.makedirs(root)
    path = os.path.join(root, "x.jsonl")
    with open(path, "w", encoding="ascii") as f:
        f.write('{"a": 1}\n{"b": [}\n')
    assert "batch: line 2: " in findings(world, ",purpose=batch", path, code=1)[0]
    assert "(not batch, fine-tune: line 2: " in findings(world, "", path, code=0)[0]
    assert findings(world, ",purpose=evals", path, code=0)[0].endswith("for evals")


def test_azure_purposes(world, server):
    note = os.path.join(lay(world), "x/note.txt")
    out = cli(world, "doctor", "-o", f"state_dir={world.path('st')},purpose=vision",
              "azure:" + server.url.rsplit("/", 1)[0], note, code=1).stdout
    assert "Azure takes no Uploads of this purpose" in out
