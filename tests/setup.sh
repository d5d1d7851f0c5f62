#!/bin/sh
# Installs the Debian packages that are missing, and only those.
#
#   tests/setup.sh build   what compiling needs
#   tests/setup.sh deb     that, and what make deb uses
#   tests/setup.sh demo    what compiling needs, and what tests/demo.sh uses
#   tests/setup.sh unit    that, and what the unit tests use
#   tests/setup.sh test    that, and what the tests use
#   tests/setup.sh fuzz    what building needs, and what make fuzz does
#   tests/setup.sh model   what make model uses
#   tests/setup.sh bench   what demo has, and what make bench compares with
#   tests/setup.sh releases  what make releases uses on the machine that it runs on
#   tests/setup.sh --check SET   installs nothing: says what is missing, exits 1
#
# Each need is tested by what it gives (a command, a pkg-config module, a file),
# so nothing is asked of the network, and no package manager is needed, where
# all of it is there. Needs root or sudo otherwise. Plain sh: a fresh machine
# may have no compiler and no Python.
set -eu

check=
if [ "${1:-}" = --check ]; then
	check=1
	shift
fi
set=${1:-}
case $set in
build | deb | demo | unit | test | fuzz | model | bench | releases) ;;
*)
	echo "usage: tests/setup.sh [--check] build|deb|demo|unit|test|fuzz|model|bench|releases" >&2
	exit 2
	;;
esac

missing=
old=
pkg_config=${PKG_CONFIG:-pkg-config}

# need PACKAGE COMMAND...: PACKAGE is missing when COMMAND fails
need() {
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

# need_lib PACKAGE MODULE VERSION NAME: PACKAGE is missing when pkg-config knows no MODULE, which NAME
# calls for people. The versions are those of Debian 11, the oldest release that is tried.
need_lib() {
	if ! $pkg_config --exists "$2" >/dev/null 2>&1; then
		missing="$missing $1"
	elif ! $pkg_config --atleast-version="$3" "$2"; then
		old="$old$4 $($pkg_config --modversion "$2") is too old: $3 or later is needed
"
	fi
}

has() {
	command -v "$1"
}

# Named after the machine, or in a folder that is, by clang's version.
has_fuzzer() {
	ls "$(clang -print-runtime-dir)"/libclang_rt.fuzzer[-.]*
}

look_fuzz() {
	need clang has clang
	need libclang-rt-dev has_fuzzer
}

look_model() {
	need python3 has /usr/bin/python3
	need gcc has gcc
	need libc6-dev test -e /usr/include/stdlib.h
	need spin has spin
}

look_bench() {
	need curl has curl
	need openssl has openssl
	need util-linux has findmnt
	need nodejs has node
	need npm has npm
	need s3fs has s3fs
	need rclone has rclone
	need bindfs has bindfs
	need stunnel4 has stunnel4
}

look_releases() {
	need python3 has /usr/bin/python3
	need debootstrap has debootstrap
	need git has git
	need util-linux has unshare
	need util-linux has setpriv
	need mount has mount
}

look() {
	if [ "$set" = releases ]; then
		look_releases
		return
	fi
	if [ "$set" = model ]; then
		look_model
		return
	fi
	need gcc has gcc
	need libc6-dev test -e /usr/include/stdlib.h
	need binutils has ar
	need pkg-config has "$pkg_config"
	need_lib libfuse3-dev fuse3 3.10.3 libfuse
	need_lib libcurl4-openssl-dev libcurl 7.74.0 libcurl
	need_lib libcjson-dev libcjson 1.7.14 cJSON
	need_lib libssl-dev libcrypto 1.1.1 OpenSSL
	need_lib libmicrohttpd-dev libmicrohttpd 0.9.72 libmicrohttpd
	need_lib libsqlite3-dev sqlite3 3.34.1 SQLite
	need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
	[ "$set" = build ] && return
	if [ "$set" = deb ]; then
		need dpkg-dev has dpkg-shlibdeps
		return
	fi
	if [ "$set" = fuzz ]; then
		need python3 has /usr/bin/python3
		look_fuzz
		return
	fi
	need bash has bash
	need fuse3 has fusermount3
	need attr has getfattr
	need diffutils has cmp
	[ "$set" = demo ] && return
	need python3 has /usr/bin/python3
	if [ "$set" = bench ]; then
		look_bench
		return
	fi
	need_lib libcmocka-dev cmocka 1.1.5 cmocka
	need openssl has openssl
	[ "$set" = unit ] && return
	need python3-pytest /usr/bin/python3 -c 'import pytest'
	need spin has spin
	need zsh has zsh
	need tmux has tmux
	need python3-jsonschema /usr/bin/python3 -c 'import jsonschema'
	need nodejs has node
	need npm has npm
	need curl has curl
	look_fuzz
	need clang-format has clang-format
	need cppcheck has cppcheck
	need rsync has rsync
	need vim has vim
	need git has git
	need sqlite3 has sqlite3
	need zip has zip
	need unzip has unzip
	need patch has patch
	need perl has perl
	need util-linux has setarch
	need mount has mount
	need e2fsprogs has mkfs.ext4
	need util-linux has nsenter
	need util-linux has setpriv
	need dpkg-dev has dpkg-shlibdeps
	need lintian has lintian
	need systemd has systemd-analyze
	need man-db has man
}

problem=
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# apt-get is long-winded: only what failed is worth reading.
quietly() {
	log=$(mktemp)
	if as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return 0
	fi
	problem=$(cat "$log")
	rm -f "$log"
	return 1
}

install() {
	quietly apt-get install -y -q --no-install-recommends "$@"
}

# Installing a package would not help: it is there.
refuse_old() {
	[ -z "$old" ] || {
		printf '%s' "$old" >&2
		exit 1
	}
}

look || true
refuse_old
if [ -n "$missing" ]; then
	if [ -n "$check" ]; then
		echo "missing packages:$missing" >&2
		echo "run: make deps" >&2
		exit 1
	fi
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "setup: not a Debian system; install what is called on Debian:$missing" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
		echo "setup: neither root nor sudo here; as root, install:$missing" >&2
		exit 1
	fi
	echo "setup: installing$missing"
	# The package lists of a fresh machine are empty or old: ask for them only then.
	# shellcheck disable=SC2086
	if ! install $missing; then
		# shellcheck disable=SC2086
		if ! { quietly apt-get update -q && install $missing; }; then
			printf '%s\n' "$problem" >&2
			exit 1
		fi
	fi
	missing=
	look || true
	refuse_old
	if [ -n "$missing" ]; then
		echo "setup: still missing after the installation:$missing" >&2
		exit 1
	fi
fi
[ -n "$check" ] && exit 0
case $set in build | fuzz | model | unit | releases) exit 0 ;; esac

# Mounting needs the device; a container may have the module but not the node.
if [ ! -e /dev/fuse ]; then
	as_root modprobe fuse >/dev/null 2>&1 || true
	[ -e /dev/fuse ] || as_root mknod -m 666 /dev/fuse c 10 229 >/dev/null 2>&1 || true
fi
if [ ! -e /dev/fuse ]; then
	echo "setup: there is no /dev/fuse here, so nothing can be mounted" >&2
	exit 1
fi
