#!/usr/bin/python3
"""Checks that the compiler does not make: the house and its circles, banned calls, layout.

Usage: tests/lint.py [--root DIR] [--no-tools]

Prints FILE:LINE: MESSAGE for each finding and exits 1 when there is any. Each
check is a function that yields findings; CHECKS lists them, and tests/run.py
counts one test per check.
"""
import argparse
import os
import re
import subprocess
import sys

# The house: a folder and the folders (or single headers) its files may include. net/base and the
# folder itself always; fs/main.c everything. An include of anything else is a finding, and so is
# a circle; docs/design.md shows the same table.
FOLDERS = {
    "fs/cli": "fs/config fs/daemon fs/host fs/stage fs/state fs/status fs/remote fs/tree net/api net/http",
    "fs/daemon": "fs/config fs/host fs/content fs/stage fs/state fs/publish fs/status "
                 "fs/vfs fs/work net/api net/server/server.h",
    "fs/fuse": "fs/vfs fs/tree fs/proc",
    "fs/status": "fs/publish fs/stage fs/state fs/content fs/work net/api",
    "fs/vfs": "fs/tree fs/stage fs/state fs/publish fs/content fs/remote fs/proc fs/work "
              "net/api",
    "fs/publish": "fs/stage fs/state fs/remote fs/work net/api",
    "fs/content": "fs/state fs/remote fs/work net/api",
    "fs/config": "fs/host fs/state fs/tree net/api net/http",
    "fs/remote": "net/api",
    "fs/stage": "fs/state fs/work",
    "fs/state": "fs/work",
    "fs/tree": "",
    "fs/host": "",
    "fs/proc": "",
    "fs/work": "",
    "net/server": "net/base",
    "net/api": "net/http",
    "net/http": "",
    "net/base": "",
}
ALWAYS = "net/base"
EVERYTHING = "fs/main.c"
# A third-party header and the files (as a regular expression) that may include it.
OWNERS = [
    (r"(cjson/)?cJSON\.h", r"net/base/json\.c", "cJSON"),
    (r"openssl/.*", r"net/base/digest\.c", "OpenSSL"),
    (r"curl/.*", r"net/http/(conn|end|old_curl|thread_impl|xfer)\.h|net/http/thread\.c", "curl"),
    (r"sqlite3\.h", r"fs/state/store_impl\.h", "SQLite"),
    (r"microhttpd\.h", r"(net/server/[^/]*|fs/status/listen)\.[ch]", "libmicrohttpd"),
    # What includes these has FUSE, too.
    (r"(fuse3?/)?(fuse|cuse)[a-z_]*\.h|linux/fuse\.h|fs/fuse/.*",
     r"fs/fuse/[a-z_]*\.[ch]|fs/main\.c", "FUSE"),
]

# Each with what to use instead.
BANNED = {
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "strcpy": "memcpy, strdup or buf",
    "strcat": "buf", "strncpy": "memcpy or snprintf", "strncat": "buf", "stpcpy": "memcpy",
    "atoi": "strtoul with checks", "atol": "strtoull with checks",
    "atoll": "strtoull with checks", "atof": "strtod with checks", "gets": "fgets",
    "strtok": "strtok_r or strchr", "system": "posix_spawn", "popen": "posix_spawn",
    "alloca": "malloc", "tmpnam": "mkstemp", "mktemp": "mkstemp",
}

COLUMNS = 100
LINES = 650


def read(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as f:
        return f.read()


def blank_out(match):
    """Spaces for everything but the newlines, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """The text without comments, string and character constants."""
    pattern = r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    return re.sub(pattern, blank_out, text, flags=re.S)


def no_comments(text):
    """The text without comments; strings, and with them include lines, stay."""
    pattern = r"""(/\*.*?\*/|//[^\n]*)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    return re.sub(pattern, lambda m: blank_out(m) if m.group(1) else m.group(0), text,
                  flags=re.S)


class Tree:
    """The C sources under root: path relative to root → text."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        self.warnings = []
        for top in ("net", "fs", "tests"):
            for folder, dirs, names in os.walk(os.path.join(root, top)):
                dirs.sort()
                for name in sorted(names):
                    if name.endswith((".c", ".h")):
                        full = os.path.join(folder, name)
                        self.files[os.path.relpath(full, root)] = read(full)

    def product(self):
        return {p: t for p, t in self.files.items() if not p.startswith("tests/")}

    def includes(self, path):
        """(line number, header, quoted) of each #include."""
        for n, line in enumerate(no_comments(self.files[path]).split("\n"), 1):
            m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if m:
                yield n, m.group(2), m.group(1) == '"'


def check_includes(tree):
    """Includes of folders that the line in FOLDERS does not name."""
    for path in tree.product():
        folder = os.path.dirname(path)
        for n, header, quoted in tree.includes(path):
            if quoted and not os.path.exists(os.path.join(tree.root, header)):
                yield path, n, "not a header of this tree, seen from its root: " + header
            elif quoted and path != EVERYTHING:
                target = os.path.dirname(header)
                if folder not in FOLDERS:
                    yield path, n, f'no line "{folder}" in FOLDERS of tests/lint.py'
                elif not {target, header} & {folder, ALWAYS, *FOLDERS[folder].split()}:
                    yield path, n, (f"{folder} may not include {target}: {header}; the line "
                                    f'"{folder}" of FOLDERS in tests/lint.py says which it may')


def circles(edges):
    """One shortest circle, as a list of nodes, through each group of nodes that reach each other.

    edges: node → the nodes that it leads to.
    """
    def path(start, goal):
        came, queue = {start: None}, [start]
        for node in queue:
            for after in sorted(edges.get(node, ())):
                if after == goal:
                    way = [goal]
                    while node is not None:
                        way.append(node)
                        node = came[node]
                    return way[::-1]
                if after not in came:
                    came[after] = node
                    queue.append(after)
        return None

    seen = set()
    for node in sorted(edges):
        way = path(node, node) if node not in seen else None
        if way:
            # All that lie on a circle with it: one finding for the group.
            seen |= {x for x in edges if path(node, x) and path(x, node)}
            yield way


def include_edges(tree, of_folders):
    """from → {to: (path, line)}, over headers, or over the folders of all files."""
    edges = {}
    for path in tree.product():
        if path == EVERYTHING or not (of_folders or path.endswith(".h")):
            continue
        for n, header, quoted in tree.includes(path):
            source, target = (os.path.dirname(x) if of_folders else x for x in (path, header))
            if quoted and source != target:
                edges.setdefault(source, {}).setdefault(target, (path, n))
    return edges


def functions(code):
    """name → is it static?, of the functions that a .c file defines: their { is at column 0."""
    found = {}
    for m in re.finditer(r"(?:^|(?<=[;}]\n)|(?<=\n\n))((?:[a-z_][^\n;{}]*\n)(?:[ \t][^\n;{}]*\n)*)"
                         r"\{", re.sub(r"(?m)^#.*$|[ \t]+$", "", code)):
        head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", m.group(1))
        name = re.search(r"(\w+)\s*\(", head)
        if name:
            found[name.group(1)] = head.startswith("static")
    return found


def used_names(code):
    """name → line of its first use as a call or as a value; not as a member of a struct."""
    uses = {}
    local = set(re.findall(r"(?:\b(?!return\b|else\b|goto\b|case\b)\w+\s+|\w\s*\*+\s*)(\w+)\s*"
                           r"(?=[;=,)\[])", code))
    for m in re.finditer(r"(?<![\w.])(?<!->)([a-z_]\w*)\b(\s*\()?", code):
        if m.group(2) or m.group(1) not in local:
            uses.setdefault(m.group(1), code.count("\n", 0, m.start()) + 1)
    return uses


def call_edges(tree):
    """file → {file of the same folder: (function, line)}: uses of functions defined there."""
    codes = {p: code_only(t) for p, t in tree.product().items() if p.endswith(".c")}
    defined = {p: functions(code) for p, code in codes.items()}
    homes = {}
    for path, names in defined.items():
        for name, static in names.items():
            if not static:
                homes[os.path.dirname(path), name] = path
    edges = {}
    for path, code in codes.items():
        for name, line in used_names(code).items():
            home = homes.get((os.path.dirname(path), name))
            if home and home != path and name not in defined[path]:
                edges.setdefault(path, {}).setdefault(home, (name, line))
    return edges


def check_circles(tree):
    """Circles of headers, of folders, and of files of a folder that call each other."""
    for edges in include_edges(tree, False), include_edges(tree, True):
        for way in circles(edges):
            path, n = edges[way[0]][way[1]]
            yield path, n, "a circle of includes: " + " → ".join(way)
    edges = call_edges(tree)
    for way in circles(edges):
        steps = [f"{os.path.basename(a)} calls {edges[a][b][0]}() of {os.path.basename(b)}"
                 for a, b in zip(way, way[1:])]
        yield way[0], edges[way[0]][way[1]][1], "a circle of calls: " + ", ".join(steps)


def check_owners(tree):
    """third-party headers only in their own module"""
    for path in tree.product():
        for n, header, _ in tree.includes(path):
            for pattern, owner, name in OWNERS:
                if re.fullmatch(pattern, header) and not re.fullmatch(owner, path):
                    yield path, n, f"{name} is included only by {owner}: {header}"


def check_banned(tree):
    """banned calls"""
    words = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    for path, text in tree.files.items():
        for n, line in enumerate(code_only(text).split("\n"), 1):
            for m in words.finditer(line):
                yield path, n, f"{m.group(1)}() is banned; use {BANNED[m.group(1)]}"


def check_layout(tree):
    """tabs of 8, 100 columns, no trailing blanks, a newline at the end"""
    for path, text in tree.files.items():
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "no newline at the end of the file"
        for n, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip():
                yield path, n, "trailing blanks"
            if re.match(r"\t* +\t|\t* {8}", line):
                yield path, n, "indented with spaces where a tab belongs"
            if len(line.expandtabs(8)) > COLUMNS:
                yield path, n, f"{len(line.expandtabs(8))} columns; at most {COLUMNS}"
        if not path.startswith("tests/") and text.count("\n") > LINES:
            tree.warnings.append(f"{path}: {text.count(chr(10))} lines: more than one duty?")


def check_guards(tree):
    """header guards named after the path"""
    for path, text in tree.files.items():
        if not path.endswith(".h"):
            continue
        guard = "UPLOADFS_" + re.sub(r"\W", "_", path.replace("tests/unit/", "tests/")).upper()
        lines = [x.strip() for x in no_comments(text).split("\n") if x.strip()]
        if lines[:2] != ["#ifndef " + guard, "#define " + guard] or lines[-1:] != ["#endif"]:
            yield path, 1, "wants the guard " + guard


def make_variable(tree, name):
    out = subprocess.run(["make", "-s", "--no-print-directory", "print-" + name], cwd=tree.root,
                         stdout=subprocess.PIPE, text=True, check=True)
    return out.stdout.split()


def tool_findings(result, root):
    """FILE:LINE[:COLUMN]: MESSAGE lines of a compiler or of cppcheck."""
    seen = set()
    for line in (result.stdout + result.stderr).splitlines():
        m = re.match(r"(?:\./)?([^:\s]+):(\d+):(?:\d+:)? (.*)", line)
        if m and "note:" not in m.group(3) and line not in seen:
            seen.add(line)
            yield os.path.relpath(m.group(1), root) if m.group(1).startswith("/") else \
                m.group(1), int(m.group(2)), m.group(3)
    if result.returncode and not seen:
        yield "tool", 0, (result.stdout + result.stderr).strip()[-2000:]


def check_clang(tree):
    """no warning from clang"""
    flags = make_variable(tree, "LANG_FLAGS") + make_variable(tree, "PKG_CFLAGS") + [
        x for x in make_variable(tree, "WARN") if x != "-Werror"]
    sources = [p for p in tree.files if p.endswith(".c")]
    if any("#include <cmocka.h>" in tree.files[p] for p in sources) and subprocess.run(
            ["clang", "-E", *flags, "-x", "c", "-"], cwd=tree.root, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, text=True,
            input="#if !__has_include(<cmocka.h>)\n#error\n#endif\n").returncode:
        yield "tests/unit", 0, "cmocka.h is missing: install the package libcmocka-dev"
        return
    # The parser's warnings only: one process for all files is the quickest.
    result = subprocess.run(["clang", "-fsyntax-only", "-Werror", "-pthread", *flags, *sources],
                            cwd=tree.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    yield from tool_findings(result, tree.root)


def check_cppcheck(tree):
    """no warning from cppcheck"""
    result = subprocess.run(
        ["cppcheck", "--quiet", "--enable=warning,portability", "--inline-suppr", "--std=c11",
         "--error-exitcode=1", "--suppress=missingInclude", "--suppress=missingIncludeSystem",
         "--suppress=unknownMacro",
         # It does not know the loops of sys/queue.h; the compilers warn of these.
         "--suppress=uninitvar", "--template={file}:{line}: {id}: {message}", "-j2", "-I.",
         "-D_GNU_SOURCE", *[p for p in tree.product() if p.endswith(".c")]],
        cwd=tree.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield from tool_findings(result, tree.root)


def check_house(tree):
    """a folder includes only the folders of its line in FOLDERS; no circles"""
    yield from check_includes(tree)
    yield from check_circles(tree)


CHECKS = [check_house, check_owners, check_banned, check_layout, check_guards]
TOOL_CHECKS = [check_clang, check_cppcheck]


def run(root, tools=True):
    """A list of (check, its findings as lines), and the warnings."""
    tree = Tree(root)
    results = []
    for check in CHECKS + (TOOL_CHECKS if tools else []):
        found = [f"{path}:{n}: {text}" for path, n, text in check(tree)]
        results.append((check.__doc__, found))
    return results, tree.warnings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    parser.add_argument("--no-tools", action="store_true", help="leave out clang and cppcheck")
    args = parser.parse_args()
    results, warnings = run(args.root, not args.no_tools)
    for line in warnings:
        print("warning: " + line)
    for _, found in results:
        for line in found:
            print(line)
    bad = sum(len(found) for _, found in results)
    print(f"lint: {len(results)} checks, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
