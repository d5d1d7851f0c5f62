"""The documents: links and paths lead somewhere, tables have as many cells as heads, and design.md
names every source file and has the table of tests/lint.py."""
import fnmatch
import glob
import os
import re
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md", *sorted(os.path.relpath(x, ROOT)
                              for x in glob.glob(os.path.join(ROOT, "docs", "*.md")))]


sys.path.insert(0, os.path.join(ROOT, "tests"))
import lint  # noqa: E402  pylint: disable=wrong-import-position

SOURCES = sorted(os.path.relpath(x, ROOT) for top in ("fs", "net")
                 for x in glob.glob(os.path.join(ROOT, top, "**", "*.[ch]"), recursive=True))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def prose(path):
    """The text without ``` blocks and indented blocks."""
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def anchors(path):
    """The anchors of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        assert os.path.exists(os.path.join(ROOT, full)), target
        if anchor:
            assert anchor in anchors(full), f"{target}: there is {sorted(anchors(full))}"


@pytest.mark.parametrize("page", PAGES)
def test_tables(page):
    """Every row has as many cells as its head; a surplus | hides the cells behind it."""
    width = 0
    for line in prose(page).splitlines() + [""]:
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", lambda m: m.group(0).replace(
            "\\|", ""), line))) - 1
        width = width or cells
        assert cells == width, line


def test_readme_opens_with_what_it_does():
    """The purpose, the two commands, the sections in their order; at most 180 lines."""
    text = read("README.md")
    places = [text.index(x) for x in (
        "mounts your OpenAI Files as a directory", "## Install and first copy", "make demo",
        "make test", "## The File ID", "## What close() means", "## Errors", "## Status",
        "## Limits", "## Links")]
    assert places == sorted(places)
    assert len(text.splitlines()) <= 180
    assert all(f"docs/{os.path.basename(x)}" in text or os.path.basename(x) in text
               for x in PAGES[1:])


@pytest.mark.parametrize("page", PAGES)
def test_paths(page):
    """A path below fs/ or net/ exists, and so does a file of each bare .c or .h name; NAME is any."""
    folders = {os.path.dirname(x) for x in SOURCES} | set(lint.FOLDERS) | {"fs", "net"}
    files = [*SOURCES, *(os.path.relpath(x, ROOT) for x in glob.glob(
        os.path.join(ROOT, "tests", "**", "*.[ch]"), recursive=True))]
    for name in re.findall(r"`([\w*][\w./*-]+)`", prose(page)):
        if re.fullmatch(r"(fs|net)/.*", name) and not name.endswith((".c", ".h")):
            assert name.rstrip("/") in folders, name
        elif name.endswith((".c", ".h")):
            pattern = name if "/" in name else "*/" + name
            assert fnmatch.filter(files, pattern.replace("NAME", "*")), name


def sections(page):
    """Heading → text below it."""
    parts = re.split(r"^#+ (.+)$", read(page), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_design_names_every_file():
    """The section of a folder has a row for each .c file, and for no file that does not exist."""
    design = sections("docs/design.md")
    for folder in sorted({os.path.dirname(x) for x in SOURCES} - {"fs", "net"}):
        assert folder in design, f'docs/design.md has no section "### {folder}"'
        rows = re.findall(r"^\| (`[^|]*) \|", design[folder], re.M)
        named = set(re.findall(r"`(\w+)`", " ".join(rows)))
        ours = {os.path.splitext(os.path.basename(x)) for x in SOURCES
                if os.path.dirname(x) == folder}
        missing = {stem for stem, ext in ours if ext == ".c"} - named
        gone = named - {stem for stem, _ in ours}
        assert not missing, f"docs/design.md, {folder}: no row for {sorted(missing)}"
        assert not gone, f"docs/design.md, {folder}: no such file {sorted(gone)}"


def test_design_has_the_table_of_the_lint():
    """The table of folders equals FOLDERS; a word in brackets is a remark."""
    table = {}
    for folder, may in re.findall(r"^\| `((?:fs|net)/\w+)` \|[^|]*\| ([^|]*) \|$",
                                  sections("docs/design.md")["Modules"], re.M):
        words = [] if may == "–" else re.sub(r" \(.*?\)", "", may).split()
        table[folder] = {x if x.startswith("net/") else "fs/" + x for x in words}
    assert table == {folder: set(may.split()) - {lint.ALWAYS}
                     for folder, may in lint.FOLDERS.items()}


def test_design_has_the_floors():
    """The picture has each folder once, above every folder that it includes."""
    picture = re.findall(r"^    (.+)$", sections("docs/design.md")["Modules"], re.M)
    floors = {}
    for floor, line in enumerate(picture):
        for word in line.split():
            folder = word if word.startswith("net/") else "fs/" + word
            assert folder not in floors, folder
            floors[folder] = floor
    assert set(floors) == {"fs/main", *lint.FOLDERS}
    for folder, may in lint.FOLDERS.items():
        for target in may.split():
            target = os.path.dirname(target) if target.endswith(".h") else target
            assert target == lint.ALWAYS or floors[folder] < floors[target], (folder, target)
