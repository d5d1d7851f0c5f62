"""The Makefile's targets, beside those that all the other tests go through."""
import json
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("UPLOADFS_BUILD_TOP") or os.path.join(ROOT, "build")


def make(*args, env=None):
    return subprocess.run(["make", "-s", "--no-print-directory", "BUILD=" + BUILD, *args],
                          cwd=ROOT, env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=True, timeout=300).stdout


def test_help_lists_every_target():
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    targets = set(re.search(r"^\.PHONY:(.*)$", text, re.M).group(1).split()) - {"FORCE"}
    listed = {line.split()[0] for line in make("help").splitlines()}
    assert listed == targets
    assert {"all", "demo", "test", "help", "install", "clean", "fmt", "fmt-check", "lint", "asan",
            "tsan"} <= listed


def test_install_and_uninstall(tmp_path):
    make("install", "DESTDIR=" + str(tmp_path), "PREFIX=/opt/x")
    bin_dir = tmp_path / "opt/x/bin"
    assert sorted(os.listdir(bin_dir)) == ["uploadfs", "uploads-server"]
    for name in os.listdir(bin_dir):
        out = subprocess.run([str(bin_dir / name), "--version"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
        assert re.search(r"\d", out)
    # mount(8) looks for its helpers in /sbin alone, wherever the rest is.
    for name in ("mount.uploadfs", "umount.fuse.uploadfs"):
        assert os.path.realpath(tmp_path / "sbin" / name) == str(bin_dir / "uploadfs")
        assert (tmp_path / "opt/x/share/man/man8" / (name + ".8")).exists()
    unit = (tmp_path / "opt/x/lib/systemd/system/uploadfs@.service").read_text()
    assert "\nExecStart=/opt/x/bin/uploadfs -f " in unit and "@bindir@" not in unit
    make("uninstall", "DESTDIR=" + str(tmp_path), "PREFIX=/opt/x")
    assert [files for _, _, files in os.walk(tmp_path) if files] == []


def test_compile_commands():
    make("compile_commands.json")
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as f:
        entries = json.load(f)
    assert {"net/api/uploads.c", "fs/main.c", "net/server/main.c"} <= {x["file"] for x in entries}
    assert all(x["directory"] == ROOT and "-std=gnu11" in x["command"] for x in entries)


def test_warnings_are_errors_in_ci():
    assert "-Werror" in make("print-WARN", env={"CI": "true"}).split()
    assert "-Werror" in make("print-WARN", "WERROR=1").split()
    assert "-Werror" not in make("print-WARN", env={"CI": ""}).split()


def test_fault_rules_are_in_the_test_server_only():
    """The daemon embeds the server, but nothing in it reads fault rules."""
    found = {}
    for name in ("uploadfs", "uploads-server"):
        out = subprocess.run(["nm", os.path.join(BUILD, name)], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
        found[name] = set(re.findall(r"\b(?:fault_rules|faults_\w+)$", out, re.M))
    assert found["uploadfs"] == set()
    assert "fault_rules" in found["uploads-server"]


def test_hardening():
    """
    A position-independent executable with all relocations read-only and no stack that code runs
    on; canaries, checked calls of the C library, and where the compiler has them stack probes and
    marked targets of jumps.
    """
    for name in ("uploadfs", "uploads-server"):
        path = os.path.join(BUILD, name)
        out = subprocess.run(["readelf", "-hldW", "--dyn-syms", path],
                             stdout=subprocess.PIPE, text=True, check=True).stdout
        assert re.search(r"Type:\s+DYN", out) and "GNU_RELRO" in out
        assert re.search(r"BIND_NOW|FLAGS.*NOW", out)
        assert re.search(r"GNU_STACK\s.* RW ", out)
        assert "__stack_chk_fail" in out and re.search(r"__v?snprintf_chk\b", out)
        if "-fcf-protection" in make("print-HARDENING").split() and "X86-64" in out:
            code = subprocess.run(["objdump", "-d", "--disassemble=main", path],
                                  stdout=subprocess.PIPE, text=True, check=True).stdout
            assert re.search(r"<main>:\n.*endbr64", code)
    probe = subprocess.run(["gcc", "-Werror", "-fstack-clash-protection", "-x", "c", "-c",
                            "/dev/null", "-o", "/dev/null"], check=False)
    assert probe.returncode or "-fstack-clash-protection" in make("print-HARDENING").split()


def test_setup_says_what_is_missing(tmp_path):
    """Where nothing is installed, the check names packages; it installs none."""
    sh = {"PATH": str(tmp_path)}
    for name in ("env", "id"):
        os.symlink("/usr/bin/" + name, tmp_path / name)
    result = subprocess.run(["/bin/sh", os.path.join(ROOT, "tests/setup.sh"), "--check", "test"],
                            env=sh, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            check=False)
    assert result.returncode == 1
    for package in ("gcc", "pkg-config", "libfuse3-dev", "libcmocka-dev", "rsync"):
        assert package in result.stderr.split()


def fake_pkg_config(folder, module, version):
    """A pkg-config of which one module is of this version."""
    path = folder / "my-pkg-config"
    path.write_text(f"""#!/bin/sh
case $* in
*--atleast-version=*" {module}") exit 1 ;;
"--modversion {module}") echo {version} ;;
*) exec pkg-config "$@" ;;
esac
""")
    path.chmod(0o755)
    return str(path)


def test_a_library_that_is_too_old_is_named(tmp_path):
    """One line, before anything is compiled; nothing is installed."""
    old = fake_pkg_config(tmp_path, "libcurl", "7.52.1")
    for target in ("all", "deps"):
        result = subprocess.run(["make", "-s", "--no-print-directory", f"BUILD={tmp_path}/b",
                                 "PKG_CONFIG=" + old, target], cwd=ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, check=False)
        lines = result.stderr.splitlines()
        assert result.returncode == 2 and result.stdout == "", result
        assert lines[0] == "libcurl 7.52.1 is too old: 7.74.0 or later is needed"
        assert all(x.startswith("make") for x in lines[1:]), lines
    assert not list(tmp_path.glob("b/**/*.o"))


def test_32_bit_time_is_refused(tmp_path):
    """By words that say what to do, wherever the C library has no other time."""
    source = tmp_path / "old.c"
    source.write_text("#include <time.h>\n#define time_t int\n#include \"net/base/compat.h\"\n")
    argv = ["gcc", "-D_GNU_SOURCE", "-I", ROOT, "-fsyntax-only", str(source)]
    result = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode and result.stderr.count("error") == 1
    assert "uploadfs needs 64-bit time: build it on a 64-bit machine" in result.stderr
    source.write_text("#include \"net/base/compat.h\"\n")
    subprocess.run(argv, check=True)


def test_other_tools_by_name(tmp_path):
    """PKG_CONFIG and AR, from the command line or the environment; STRIP: test_deb.py."""
    own = tmp_path / "pkg"
    own.write_text("#!/bin/sh\necho -DFROM_OUR_PKG_CONFIG\n")
    own.chmod(0o755)
    assert make("print-PKG_CFLAGS", f"PKG_CONFIG={own}").strip() == "-DFROM_OUR_PKG_CONFIG"
    assert make("print-PKG_CFLAGS", env={"PKG_CONFIG": str(own)}).strip() == "-DFROM_OUR_PKG_CONFIG"
    commands = make("-n", f"BUILD={tmp_path}/b", "AR=our-ar", f"{tmp_path}/b/libnet.a")
    assert re.search(r"\bour-ar qcs \S+/libnet\.a ", commands)
    assert not re.search(r"(?:^|[ ;&])ar qcs", commands)


def test_setup_is_a_no_op_here():
    """All is there now, so nothing is asked of the network: apt-get is never called."""
    result = subprocess.run(["sh", "-x", os.path.join(ROOT, "tests/setup.sh"), "test"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    assert "apt-get" not in result.stderr and result.stdout == ""
