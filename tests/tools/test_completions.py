"""Completion: what bash offers, and that no option of the program is missing in it."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASH = os.path.join(ROOT, "docs", "completions", "uploadfs.bash")
ZSH = os.path.join(ROOT, "docs", "completions", "_uploadfs")
# Refused, or the kernel's.
NOT_OFFERED = {"api_key", "remount"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def offered(line, cwd="/"):
    """What bash would offer at the end of line, its words taken apart as bash does."""
    words = re.findall(r"[=]|[^\s=]+", line) + ([""] if line.endswith(" ") else [])
    script = ('source "$1"; COMP_LINE=$2; shift 2; COMP_WORDS=("$@"); '
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_POINT=${#COMP_LINE}; _uploadfs; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    out = subprocess.run(["bash", "--norc", "-c", script, "bash", BASH, line, *words], cwd=cwd,
                         stdout=subprocess.PIPE, text=True, check=True)
    return [x for x in out.stdout.splitlines() if x]


def program_options():
    text = read("fs", "opts_words.c")
    table = text[text.index("static const struct word words[]"):]
    table = table[:table.index("\n};")]
    return set(re.findall(r'\{ "(\w+)"', table)) | set(re.findall(r"SECONDS\((\w+),", table))


def test_every_option_is_there():
    want = program_options() - NOT_OFFERED
    assert "close" in want and "list_ttl" in want
    for path in (BASH, ZSH):
        text = read(path)
        words = set(re.findall(r"\b([a-z_]+)=?", text))
        assert want <= words, f"{path}: {want - words}"


def test_subcommands_and_their_options():
    table = read("fs", "cli.c")
    table = table[table.index("} commands[]"):]
    names = re.findall(r'\{ "(\w+)", cli_', table[:table.index("\n};")])
    assert len(names) >= 6 and set(names) <= set(offered("uploadfs "))
    assert offered("uploadfs sta") == ["status"]
    assert offered("uploadfs status --") == ["--watch", "--json", "--help"]
    assert "discard" in offered("uploadfs recover ")
    for name in names:
        assert "--help" in offered(f"uploadfs {name} -")


def test_words_of_o():
    assert offered("uploadfs -o keep") == ["keep_old"]
    assert offered("uploadfs -o ro,list") == ["ro,list_ttl="]
    assert offered("uploadfs -o close=a") == ["async"]
    assert offered("uploadfs /mnt -o ro,log_format=") == ["json", "text"]
    assert offered("uploadfs -") == ["-f", "-d", "-o", "-h", "-V", "--help", "--version"]


def test_directories(tmp_path):
    for name in ("mnt-a", "mnt-b"):
        (tmp_path / name).mkdir()
    (tmp_path / "mnt-file").touch()
    assert sorted(offered("uploadfs mnt", tmp_path)) == ["mnt-a", "mnt-b"]


def test_zsh_parses():
    subprocess.run(["zsh", "-n", ZSH], check=True)
