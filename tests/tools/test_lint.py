"""The lint finds what it is there to find, and nothing in a clean tree."""
import os
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)
import lint  # noqa: E402

CLEAN = {
    "net/good.h": "/* good: nothing */\n#ifndef UPLOADFS_NET_GOOD_H\n#define UPLOADFS_NET_GOOD_H\n"
                  "\nint good_do(void);\n\n#endif\n",
    "net/good.c": '#include "net/good.h"\n\n#include <string.h>\n\n/* not sprintf() in a comment */\n'
                  'int good_do(void)\n{\n\tconst char *s = "strcpy(x)";\n\n'
                  "\treturn (int)strlen(s);\n}\n",
    "net/http/thread.c": "#include <curl/curl.h>\n",
    "net/base/json.c": "#include <cjson/cJSON.h>\n",
    "net/base/digest.c": "#include <openssl/evp.h>\n",
    "net/server/server.c": "#include <microhttpd.h>\n#include \"net/good.h\"\n",
    "fs/fuse/read.c": "#include <fuse_lowlevel.h>\n#include \"net/good.h\"\n",
    "fs/fuse/ops.h": "#ifndef UPLOADFS_FS_FUSE_OPS_H\n#define UPLOADFS_FS_FUSE_OPS_H\n"
                "#include <fuse_lowlevel.h>\n#endif\n",
    "fs/main.c": "#include <fuse3/fuse_lowlevel.h>\n#include \"fs/fuse/ops.h\"\n",
}

# A file, its text, and words of the only finding.
BAD = [
    ("net/x.c", '#include "fs/super.h"\n', "net includes fs"),
    ("net/x.c", '#include "../fs/super.h"\n', "net includes fs"),
    ("net/server/x.c", '#include "fs/super.h"\n', "net includes fs"),
    ("net/x.c", '#include "net/server/server.h"\n', "client library includes the server"),
    ("fs/x.c", '#include "net/none.h"\n', "not a header of this tree"),
    ("net/x.c", "#include <cjson/cJSON.h>\n", "cJSON is included only by"),
    ("fs/x.c", "#include <cJSON.h>\n", "cJSON is included only by"),
    ("fs/x.c", "#include <openssl/md5.h>\n", "OpenSSL is included only by"),
    ("net/server/x.c", "#include <curl/curl.h>\n", "curl is included only by"),
    ("net/http/thread.h", "#ifndef UPLOADFS_NET_HTTP_THREAD_H\n#define UPLOADFS_NET_HTTP_THREAD_H\n"
                   "#include <curl/curl.h>\n#endif\n", "curl is included only by"),
    ("fs/x.c", "#include <sqlite3.h>\n", "SQLite is included only by"),
    ("net/x.c", "#include <microhttpd.h>\n", "libmicrohttpd is included only by"),
    ("fs/super.c", "#include <fuse_lowlevel.h>\n", "FUSE is included only by"),
    ("fs/super.c", "#  include <fuse3/fuse.h>\n", "FUSE is included only by"),
    ("fs/super.c", '#include "fs/fuse/ops.h"\n', "FUSE is included only by"),
    ("fs/x.c", "void f(char *b)\n{\n\tsprintf(b, \"x\");\n}\n", "sprintf() is banned"),
    ("fs/x.c", "int f(char *b)\n{\n\treturn atoi (b);\n}\n", "atoi() is banned"),
    ("tests/unit/x.c", "void f(char *b)\n{\n\tstrcat(b, b);\n}\n", "strcat() is banned"),
    ("fs/x.c", "int x;  \n", "trailing blanks"),
    ("fs/x.c", "int x;\r\n", "trailing blanks"),
    ("fs/x.c", "int x;", "no newline at the end"),
    ("fs/x.c", "int f(void)\n{\n        return 0;\n}\n", "indented with spaces"),
    ("fs/x.c", "int f(void)\n{\n  \treturn 0;\n}\n", "indented with spaces"),
    ("fs/x.c", "/* " + "x" * 100 + " */\n", "columns; at most 100"),
    ("fs/x.h", "int x;\n", "wants the guard UPLOADFS_FS_X_H"),
    ("net/server/x.h", "#ifndef X_H\n#define X_H\n#endif\n",
     "wants the guard UPLOADFS_NET_SERVER_X_H"),
]


def write(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8", newline="") as f:
            f.write(text)


def findings(root):
    results, _ = lint.run(str(root), tools=False)
    return [line for _, found in results for line in found]


def test_clean_tree(tmp_path):
    write(tmp_path, CLEAN)
    assert findings(tmp_path) == []


@pytest.mark.parametrize("path,text,words", BAD)
def test_finding(tmp_path, path, text, words):
    write(tmp_path, {**CLEAN, "fs/super.h": "#ifndef UPLOADFS_FS_SUPER_H\n"
                     "#define UPLOADFS_FS_SUPER_H\n#endif\n",
                     "net/server/server.h": "#ifndef UPLOADFS_NET_SERVER_SERVER_H\n"
                     "#define UPLOADFS_NET_SERVER_SERVER_H\n#endif\n", path: text})
    found = findings(tmp_path)
    assert [x for x in found if words in x and x.startswith(path + ":")], found
    assert all(x.startswith(path + ":") for x in found), found


def test_long_file_is_a_warning(tmp_path):
    write(tmp_path, {"fs/long.c": "int x;\n" * 651})
    results, warnings = lint.run(str(tmp_path), tools=False)
    assert not any(found for _, found in results)
    assert len(warnings) == 1 and "fs/long.c" in warnings[0]


def test_compilers_findings(tmp_path):
    """What clang and cppcheck say is a finding, too."""
    write(tmp_path, {
        "Makefile": "print-%:\n\t@printf '%s\\n' '$($*)'\nWARN := -Wall -Wextra\n",
        "fs/clang.c": "int f(void);\nint f(void)\n{\n\tint unused;\n\n\treturn 0;\n}\n",
        "fs/check.c": "#include <stdlib.h>\nint g(void);\nint g(void)\n{\n"
                      "\tint a[2] = { 1, 2 };\n\n\treturn a[2];\n}\n"})
    results, _ = lint.run(str(tmp_path))
    found = {check: lines for check, lines in results}
    assert any(x.startswith("fs/clang.c:4:") for x in found["no warning from clang"])
    assert any(x.startswith("fs/check.c:7:") for x in found["no warning from cppcheck"])
