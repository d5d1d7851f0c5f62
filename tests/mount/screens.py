"""
A real terminal for the subcommands: tmux with a shell in it, and its screens as text.

tests/screens/NAME.txt is what a person sees; what differs from run to run is replaced in both
(tidy()). `UPLOADFS_SCREENS=write pytest …` writes the files anew: look at the difference.
"""
import difflib
import os
import re
import subprocess
import time

import sanitizer
from harness import BUILD, DEADLINE, KEY, SAN, TESTS, proc_state, run, wait_until

FOLDER = os.path.join(TESTS, "screens")
WRITE = os.environ.get("UPLOADFS_SCREENS") == "write"

# What differs, and what stands for it. In columns the width stays.
CHANGES = [
    # The head of a table is cut where the terminal ends.
    (r"^(/mnt/openai)(  h\S*)?$", r"\1  http://127.0.0.1:0/v1"),
    (r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:PORT"),
    (r"127\.0\.0\.1 port \d+", "127.0.0.1 port PORT"),
    (r"(file-|upload_|req_)[0-9a-f]+", r"\1ID"),
    (r" +\d+(\.\d)? ([KMGT]i)?B/s +[\d:-]+ ", "       RATE     LEFT "),
    (r"(\d%) +[\d:-]+$", r"\1     LEFT"),
    (r"  [\d.]+ ([KMGT]i)?B/s  [\d:-]+ left", "  RATE/s  TIME left"),
    (r"(recover publish \S+ )[0-9a-f]{16}$", r"\1ID"),
    (r"next try in \d+ s", "next try in N s"),
    (r"\bpid \d+", "pid PID"),
    (r"\bmd5 [0-9a-f]{32}", "md5 MD5"),
    (r"after \d+ ms|\d+ ms after", "N ms after"),
    (r"in \d+\.\d+ s", "in N s"),
    (r"room for [\d.]+ [KMGT]iB", "room for SPACE"),
    (r"^[0-9a-f]{16}(?=  )", "ID"),
    (r'"(pid|started|time|since|rate|requests|retries|bytes_sent|bytes_received|disk_size|'
     r'disk_free|next_try|pid_namespace|'
     r'state_dir_inode|last_answer)":\d+', r'"\1":N'),
    (r'"version":"[^"]*"', '"version":"V"'),
]


def tidy(world, text):
    """text as it is the same in every run."""
    # A head that was cut within the mountpoint.
    text = re.sub(r"^/\S*$", lambda m: "/mnt/openai  http://" if len(m.group(0)) > 15 and re.match(
        re.escape(m.group(0)[:len(world.dir)]), world.dir) else m.group(0), text, flags=re.M)
    text = re.sub(re.escape(world.dir) + r"/mount\d+\.state", "/var/lib/uploadfs/openai", text)
    text = re.sub(re.escape(world.dir) + r"/mount\d+", "/mnt/openai", text)
    text = text.replace(world.dir, "/home/me")
    text = re.sub(r"\bmount\d+\.state", "state", text)
    text = re.sub(r"\bmount\d+", "/mnt/openai", text)
    for pattern, instead in CHANGES:
        text = re.sub(pattern, instead, text, flags=re.M)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


class Screen:
    """
    A shell on a terminal, in world.dir, with `uploadfs` in its PATH, and the key in its
    environment.
    """

    def __init__(self, world, columns=100, rows=24, env=()):
        self.world = world
        self.socket = world.path("tmux")
        bin_dir = world.path("bin")
        os.mkdir(bin_dir)
        path = os.path.join(bin_dir, "uploadfs")
        with open(path, "w", encoding="utf-8") as f:
            words = " ".join(sanitizer.wrap(SAN, [os.path.join(BUILD, "uploadfs")]))
            f.write(f'#!/bin/sh\nexec {words} "$@"\n')
        os.chmod(path, 0o755)
        config = world.path("tmux.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("set -g status off\nset -g default-terminal screen\n")
        env = {"PATH": bin_dir + ":" + os.environ["PATH"], "PS1": "$ ", "LC_ALL": "C.UTF-8",
               "OPENAI_API_KEY": KEY, "HOME": world.dir, **sanitizer.options(world.dir),
               **dict(env)}
        words = [f"{k}={v}" for k, v in env.items()]
        run(["tmux", "-u", "-S", self.socket, "-f", config, "new-session", "-d", "-x",
             str(columns), "-y", str(rows), "-c", world.dir, "env", *words, "bash", "--norc",
             "--noprofile"], cwd=world.dir)
        try:
            wait_until(lambda: self.text() == "$", "the shell's prompt")
        except AssertionError:
            self.close()
            raise

    def tmux(self, *words):
        return run(["tmux", "-u", "-S", self.socket, *words]).stdout

    def text(self, *options):
        """What stands there; lines that the terminal broke are whole."""
        raw = self.tmux("capture-pane", "-p", "-J", *options)
        return "\n".join(line.rstrip() for line in raw.splitlines()).strip("\n")

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def clear(self):
        """A shell that has ended its command gets a fresh screen."""
        wait_until(lambda: self.text().endswith("$"), "the prompt")
        self.keys("-R", "C-l")
        self.tmux("clear-history")
        wait_until(lambda: self.text() == "$", "an empty screen")

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.keys("Enter")

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def history(self):
        """Lines that went out at the top."""
        return int(self.tmux("display-message", "-p", "#{history_size}"))

    def see(self, name):
        """Until the screen is the one of tests/screens/NAME.txt."""
        path = os.path.join(FOLDER, name + ".txt")
        if WRITE:
            self._write(path)
        with open(path, encoding="utf-8") as f:
            want = f.read()
        end = time.monotonic() + DEADLINE
        while (now := tidy(self.world, self.text())) != want:
            if time.monotonic() > end:
                lines = difflib.unified_diff(want.splitlines(), now.splitlines(), name + ".txt",
                                             "the screen", lineterm="")
                raise AssertionError("\n".join(lines) + "\n" + self.text())
            time.sleep(0.02)

    def _write(self, path):
        """For who makes the files: what stands there when it has stood there for two seconds."""
        def settled():
            before = tidy(self.world, self.text())
            time.sleep(2)
            return before == tidy(self.world, self.text()) and before

        text = wait_until(settled, "the screen stands still")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def close(self):
        pid = self.tmux("display-message", "-p", "#{pid}").strip()
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=DEADLINE, check=False)
        wait_until(lambda: proc_state(pid) in ("", "Z"), "tmux ends")
