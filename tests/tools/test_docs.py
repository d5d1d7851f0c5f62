"""The documents: each link in them leads somewhere, and the tables have as many cells as heads."""
import glob
import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["README.md", *sorted(os.path.relpath(x, ROOT)
                              for x in glob.glob(os.path.join(ROOT, "docs", "*.md")))]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def prose(path):
    """Without what stands in ``` and in indented blocks."""
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def anchors(path):
    """Of its headings, as they are made of their words."""
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
    """A | too many in a row hides what stands behind it."""
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
    """What it is, then the two commands, then the sections in their order; no more than 180 lines."""
    text = read("README.md")
    places = [text.index(x) for x in (
        "mounts your OpenAI Files as a directory", "## Install and first copy", "make demo",
        "make test", "## The File ID", "## What close() means", "## Errors", "## Status",
        "## Limits", "## Links")]
    assert places == sorted(places)
    assert len(text.splitlines()) <= 180
    assert all(f"docs/{os.path.basename(x)}" in text or os.path.basename(x) in text
               for x in PAGES[1:])
