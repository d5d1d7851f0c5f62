"""Completion: what bash offers, and that no option of the program is missing in it."""
import os
import pty
import re
import select
import signal
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
    text = read("fs", "config", "words.c")
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
    table = read("fs", "cli", "commands.c")
    table = table[table.index("} commands[]"):]
    names = re.findall(r'\{ "(\w+)", cli_', table[:table.index("\n};")])
    assert len(names) >= 6 and set(names) <= set(offered("uploadfs "))
    assert offered("uploadfs sta") == ["status"]
    assert offered("uploadfs status --") == ["--watch", "--json", "--check", "--help"]
    assert offered("uploadfs recover ") == ["list", "publish", "discard"]
    for name in names:
        assert "--help" in offered(f"uploadfs {name} -")


def test_words_of_o():
    assert offered("uploadfs -o keep") == ["keep_old"]
    assert offered("uploadfs -o ro,list") == ["ro,list_ttl="]
    assert offered("uploadfs -o close=a") == ["async"]
    assert offered("uploadfs /mnt -o ro,log_format=") == ["json", "text"]
    levels = ["debug", "error", "info", "warn"]
    assert offered("uploadfs -o part_size=8M,log_l") == [f"8M,log_level={x}" for x in levels]
    assert offered("uploadfs -o part_size=8M,keep_old,log_level=") == levels
    assert offered("uploadfs -o part_size=8M,log_level=d") == ["debug"]
    assert offered("uploadfs -oro,close=a") == ["async"]
    assert offered("uploadfs -") == ["-f", "-d", "-o", "-h", "-V", "--help", "--version"]


def test_directories(tmp_path):
    for name in ("mnt-a", "mnt-b"):
        (tmp_path / name).mkdir()
    (tmp_path / "mnt-file").touch()
    assert sorted(offered("uploadfs mnt", tmp_path)) == ["mnt-a", "mnt-b"]
    assert offered("uploadfs -o ro,api_key_file=mnt-f", tmp_path) == ["mnt-file"]
    assert sorted(offered("uploadfs -o ca_file=", tmp_path)) == ["mnt-a", "mnt-b", "mnt-file"]
    assert sorted(offered("uploadfs recover publish mnt", tmp_path)) == ["mnt-a", "mnt-b"]
    assert sorted(offered("uploadfs -o ro,state_dir=mnt", tmp_path)) == ["mnt-a", "mnt-b"]


def typed(keys, cwd):
    """The line that a real bash, of a terminal's and with no completions but these, ends with."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(cwd)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"],
                   {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb",
                    "INPUTRC": "/dev/null", "HOME": str(cwd)})
    out = b""
    try:
        # The line is printed, not run; what comes before is the echo of a terminal.
        os.write(fd, f"source {BASH}; complete -F _uploadfs echo\n".encode())
        os.write(fd, f"echo {keys}\necho E''ND\n".encode())
        while b"\nEND" not in out.replace(b"\r", b""):
            assert select.select([fd], [], [], 60)[0], out
            out += os.read(fd, 4096)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
    lines = out.decode().replace("\r", "").split("\n")
    return lines[lines.index("END") - 2]


def test_in_a_real_bash(tmp_path):
    (tmp_path / "key of mine").touch()
    assert typed("-o part_size=8M,log_l\td\t", tmp_path) == "-o part_size=8M,log_level=debug"
    assert typed("-o ro,api_key_file=k\t", tmp_path) == "-o ro,api_key_file=key of mine"
    assert typed("-o list_ttl=1,hold_t\t3", tmp_path) == "-o list_ttl=1,hold_timeout=3"


def typed_zsh(keys, cwd):
    """The words that uploadfs gets from a line that a real zsh completed, on a terminal."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(cwd)
        os.execvpe("zsh", ["zsh", "-f", "-i"],
                   {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb", "HOME": str(cwd)})
    setup = (f"unsetopt auto_remove_slash beep; fpath=({os.path.dirname(ZSH)} $fpath); "
             "autoload -Uz compinit; compinit -u -D; unset zle_bracketed_paste; "
             "uploadfs() { print -rl -- 'GO''T' \"$@\" 'EN''D' }; print -r REA''DY\n")
    out = b""

    def read_until(mark):
        nonlocal out
        while mark not in out.replace(b"\r", b""):
            assert select.select([fd], [], [], 60)[0], out
            out += os.read(fd, 4096)

    try:
        os.write(fd, setup.encode())
        read_until(b"\nREADY\n")
        os.write(fd, f"uploadfs {keys}\n".encode())
        read_until(b"\nEND\n")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
    text = out.decode(errors="replace").replace("\r", "")
    assert "bad option" not in text and "_arguments" not in text, text
    return text.split("\nGOT\n")[1].split("\nEND\n")[0].split("\n")


def test_in_a_real_zsh(tmp_path):
    for name in ("mnt-dir", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "key of mine").touch()
    for keys, want in {
            "st\t": ["status"],
            "um\t--f\t/m": ["umount", "--force", "/m"],
            "status --w\t": ["status", "--watch"],
            "recover pu\tmn\t": ["recover", "publish", "mnt-dir/"],
            "recover list --a\t": ["recover", "list", "--all"],
            "doctor mn\t": ["doctor", "mnt-dir/"],
            "wait --t\t3 mn\t": ["wait", "--timeout", "3", "mnt-dir/"],
            "loc\t/x mn\t": ["local:/x", "mnt-dir/"],
            "mn\t": ["mnt-dir/"],
            "https://h/v1 mn\t -o part_size=8M,log_level=d\t":
                ["https://h/v1", "mnt-dir/", "-o", "part_size=8M,log_level=debug"],
            "mn\t -o ro,api_key_file=k\t": ["mnt-dir/", "-o", "ro,api_key_file=key of mine"],
            "mn\t -oro,state_d\tmn\t": ["mnt-dir/", "-oro,state_dir=mnt-dir/"],
    }.items():
        assert typed_zsh(keys, tmp_path) == want, keys
