# uploadfs: build, test, install. `make help` lists the targets.
#
# Variables:  BUILD=dir  where everything is built (build)
#             SAN=asan | tsan  build under BUILD/asan or BUILD/tsan instead
#             FUZZ_SECONDS=60  how long make fuzz runs each target
#             SECONDS=60, FIRST=N, SEED=N  how long make simulate runs, from which seed, or which one
#             SECONDS=600  how long make soak runs
#             CC=clang   the compiler (gcc)
#             AR, STRIP, PKG_CONFIG  other tools of that name (a cross compiler's)
#             WERROR=1   warnings are errors (set when CI is set)
#             PREFIX, DESTDIR  where install puts things (/usr/local, none)
#             SBINDIR    where mount(8) looks for its helpers (/sbin)
#             RELEASES=trixie  those that make releases tries (bullseye bookworm trixie sid)
#             V=1        show the commands

BUILD ?= build
PREFIX ?= /usr/local
SBINDIR ?= /sbin
PYTHON ?= /usr/bin/python3
PKG_CONFIG ?= pkg-config
BASH_COMPLETIONS := $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS := $(PREFIX)/share/zsh/site-functions
UNITS := $(PREFIX)/lib/systemd/system
HELPERS := mount.uploadfs umount.fuse.uploadfs
ifeq ($(origin CC),default)
CC := gcc
endif
ifneq ($(CI),)
WERROR ?= 1
endif
OBJCOPY ?= objcopy
Q := $(if $(V),,@)
comma := ,

OUT := $(BUILD)$(if $(SAN),/$(SAN))
PKGS := fuse3 libcurl libcjson libcrypto libmicrohttpd sqlite3

# Evaluated once; silent where the packages are not there yet: .deps-ok speaks up then.
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
# -lm: clang calls floor() where gcc has it inline.
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -lm
CMOCKA_LIBS := $(shell $(PKG_CONFIG) --libs cmocka 2>/dev/null)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla $(if $(filter-out 0,$(WERROR)),-Werror)
LANG_FLAGS := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I.

# A flag if the compiler knows it, for this machine.
cc_option = $(shell $(CC) -Werror $(1) -x c -c /dev/null -o /dev/null 2>/dev/null && echo $(1))

ifeq ($(SAN),)
HARDENING := $(foreach flag,-fstack-clash-protection -fcf-protection,$(call cc_option,$(flag)))
# The directory stands in no binary: the same source gives the same bytes anywhere.
MODE_CFLAGS := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 $(HARDENING) \
	-fPIE -ffile-prefix-map=$(CURDIR)=.
MODE_LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack
else ifeq ($(SAN),asan)
MODE_CFLAGS := -O1 -g -fno-omit-frame-pointer -fPIE -fsanitize=address,undefined \
	-fno-sanitize-recover=all
MODE_LDFLAGS := -pie -fsanitize=address,undefined
else ifeq ($(SAN),tsan)
MODE_CFLAGS := -O1 -g -fno-omit-frame-pointer -fPIE -fsanitize=thread
MODE_LDFLAGS := -pie -fsanitize=thread
else ifeq ($(SAN),fuzz)
# What make fuzz builds with: clang's libFuzzer, and what it finds stops it.
MODE_CFLAGS := -O1 -g -fno-omit-frame-pointer -fPIE -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
MODE_LDFLAGS := -pie -fsanitize=fuzzer,address,undefined
else ifeq ($(SAN),cov)
# What make cov builds with.
MODE_CFLAGS := -O1 -g -fPIE --coverage -fprofile-update=atomic
MODE_LDFLAGS := -pie --coverage
else
$(error SAN is asan or tsan, not "$(SAN)")
endif

CFLAGS ?=
LDFLAGS ?=
ALL_CFLAGS = $(LANG_FLAGS) $(WARN) $(MODE_CFLAGS) -pthread $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(MODE_LDFLAGS) -pthread $(LDFLAGS)

NET_SRCS := $(sort $(filter-out net/server/%,$(wildcard net/*/*.c)))
SERVER_SRCS := $(filter-out net/server/main.c,$(sort $(wildcard net/server/*.c)))
FS_SRCS := $(sort $(wildcard fs/*/*.c))
MAIN_SRCS := $(wildcard net/server/main.c fs/main.c)
UNIT_SRCS := $(sort $(wildcard tests/unit/test_*.c))
# net/api.h in memory: linked with the unit tests that say "/* uses: fake_api */".
FAKE_API_SRCS := $(sort $(wildcard tests/unit/fake_api*.c))
FAKE_API_USERS := $(if $(UNIT_SRCS),$(shell grep -l '^/\* uses: fake_api \*/' $(UNIT_SRCS)))
HELPER_SRCS := $(filter-out $(UNIT_SRCS) $(FAKE_API_SRCS),$(sort $(wildcard tests/unit/*.c)))
FUZZ_TARGETS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
# The modules that take foreign bytes, and what they stand on: compiling all would take minutes.
FUZZ_SRCS := tests/fuzz/support.c $(wildcard fs/config/*.c) \
	$(addprefix fs/host/,mountpoint.c mounts.c place.c real.c statedir.c) fs/tree/names.c \
	$(addprefix fs/cli/,view.c columns.c health.c cli.c mount.c) $(wildcard fs/state/*.c) \
	fs/work/pool.c $(addprefix net/server/,multipart.c range.c route.c form.c) $(wildcard net/base/*.c) \
	$(addprefix net/http/,backoff.c bucket.c head.c network.c url.c) \
	$(addprefix net/api/,error.c json.c page.c text.c)
# make torture: scenes above the service in memory, and scenes of net.
TORTURE_CORE := tests/torture/torture.c tests/torture/inject.c
TORTURE_NET := tests/torture/scenes_net.c tests/torture/net_api.c tests/torture/net_server.c
TORTURE_FS := $(filter-out $(TORTURE_CORE) $(TORTURE_NET),$(sort $(wildcard tests/torture/*.c)))
TORTURE_BINS := $(OUT)/bin/torture-fs $(OUT)/bin/torture-net
SIM_SRCS := $(sort $(wildcard tests/simulate/*.c))
PRODUCT_SRCS := $(NET_SRCS) $(SERVER_SRCS) $(FS_SRCS) $(MAIN_SRCS)
# Not with a sanitizer, whose own library wants to be the first one preloaded.
CRASH_PRELOAD := $(if $(SAN),,$(OUT)/tests/crash_preload.so $(OUT)/tests/server_crash.so)
ALL_SRCS := $(PRODUCT_SRCS) $(UNIT_SRCS) $(HELPER_SRCS) $(FAKE_API_SRCS) \
	$(wildcard tests/mount/*.c tests/server/*.c tests/fuzz/*.c tests/fsx/*.c tests/torture/*.c) \
	$(SIM_SRCS)
MAN_PAGES := $(sort $(wildcard docs/*.1))
MAN5_PAGES := $(sort $(wildcard docs/*.5))
MAN8_PAGES := $(sort $(wildcard docs/*.8))
DOC_FILES := $(wildcard README.md docs/*.md docs/*.json docs/packaging/uploadfs.conf)
FMT_FILES = $(sort $(ALL_SRCS) $(wildcard net/*/*.h fs/*/*.h tests/unit/*.h \
	tests/fuzz/*.h tests/torture/*.h tests/simulate/*.h))

obj = $(patsubst %.c,$(OUT)/%.o,$(1))
OBJS := $(call obj,$(ALL_SRCS))
LIBS := $(OUT)/libfs.a $(OUT)/libserver.a $(OUT)/libnet.a
UNIT_BINS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(UNIT_SRCS))
FUZZ_BINS := $(patsubst tests/fuzz/%.c,$(OUT)/bin/%,$(FUZZ_TARGETS))
BINS := $(if $(wildcard net/server/main.c),$(OUT)/uploads-server) \
	$(if $(wildcard fs/main.c),$(OUT)/uploadfs)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY: $(OBJS)
.PHONY: all demo test unit server-test mounted soak soak-many fsx simulate torture mutate model cov fuzz \
	boot releases bench lint fmt fmt-check asan tsan unit-bins torture-bins fuzz-bins \
	compile_commands.json deps install uninstall deb clean \
	help FORCE

## all: build build/uploadfs and build/uploads-server (the default)
all: $(BINS) $(OUT)/compile_commands.json

## demo: install what is missing, build, mount, copy a file in, print its File ID
demo:
	$(Q)sh tests/setup.sh demo
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(BUILD) tests/demo.sh

## test: install what is missing, then build and run every test; the last line has the totals
test:
	$(Q)sh tests/setup.sh test
	$(Q)$(PYTHON) -B tests/run.py --build $(BUILD)

## unit: the C unit tests (SAN=asan or SAN=tsan to run them under a sanitizer)
unit:
	$(Q)$(PYTHON) -B tests/run.py --build $(BUILD) unit$(if $(SAN),-$(SAN))

## server-test: the tests of uploads-server
server-test:
	$(Q)$(PYTHON) -B tests/run.py --build $(BUILD) server$(if $(SAN),-$(SAN))

## mounted: the tests on a mounted file system (plain build; SAN=asan, SAN=tsan)
mounted:
	$(Q)$(PYTHON) -B tests/run.py --build $(BUILD) mounted$(if $(SAN),-$(SAN))

## soak: two mounts, faults and deaths for SECONDS (600); what remains, a table of memory and the like
soak: all $(CRASH_PRELOAD)
	$(Q)UPLOADFS_BUILD=$(abspath $(OUT)) $(PYTHON) -B tests/soak.py $(if $(SECONDS),--seconds $(SECONDS))

## soak-many: 10,000 small files through close=async
soak-many: all
	$(Q)UPLOADFS_BUILD=$(abspath $(OUT)) $(PYTHON) -B tests/soak.py --many

## fsx: files under random operations, compared with a copy in memory (FSX_OPERATIONS=20000 a file)
fsx: all $(OUT)/bin/fsx
	$(Q)UPLOADFS_BUILD=$(abspath $(OUT)) $(PYTHON) -B tests/fsx/fsx.py

## simulate: daemons, disk and service under one seeded scheduler for SECONDS (60); SEED=N: that one
simulate: $(OUT)/simulate
	$(Q)$(OUT)/simulate --regressions tests/simulate/seeds.txt $(if $(SEED),--seed $(SEED), \
		--seconds $(or $(SECONDS),60) --first $(or $(FIRST),$(shell date +%s)000))

## cov: lines and branches that the tests reach, by folder (COV="unit tests/mount/test_cp.py")
cov:
	$(Q)sh tests/setup.sh test
	$(Q)$(MAKE) --no-print-directory SAN=cov all unit-bins
	$(Q)$(PYTHON) -B tests/cov.py --build $(BUILD)/cov $(COV)

## torture: one allocation or call after the other fails, in scenes of net and fs (TORTURE=publish)
torture:
	$(Q)sh tests/setup.sh test
	$(Q)$(MAKE) --no-print-directory SAN=asan torture-bins
	$(Q)$(PYTHON) -B tests/torture/torture.py --build $(BUILD)/asan $(TORTURE)

## mutate: change one line after the other, count what the unit tests notice (MUTATE="--sample 20 fs/stage")
mutate: all unit-bins
	$(Q)$(PYTHON) -B tests/mutate.py --build $(OUT) $(MUTATE)

## fuzz: run what reads foreign bytes with inputs made up, FUZZ_SECONDS (60) each; needs clang
fuzz:
	$(Q)sh tests/setup.sh fuzz
	$(Q)$(MAKE) --no-print-directory SAN=fuzz CC=clang fuzz-bins
	$(Q)$(PYTHON) -B tests/fuzz/fuzz.py --build $(BUILD)/fuzz --seconds $(or $(FUZZ_SECONDS),60)

## model: check the models of publication and namespace by spin, some minutes; a line for each run
model:
	$(Q)sh tests/setup.sh model
	$(Q)$(PYTHON) -B tests/model/run.py --build $(BUILD)

## boot: start a Debian under systemd with the package in it, in a container; shut it down in use
boot: all
	$(Q)UPLOADFS_BUILD=$(abspath $(OUT)) UPLOADFS_BUILD_TOP=$(abspath $(BUILD)) $(PYTHON) -B tests/boot.py

## releases: build, run the unit tests and make demo on Debian 11, 12, 13 and sid (RELEASES=trixie)
releases:
	$(Q)sh tests/setup.sh releases
	$(Q)$(PYTHON) -B tests/releases.py --build $(BUILD) $(RELEASES)

## bench: measure against other tools, write the table of docs/performance.md (ROWS=cp,small REPS=5)
bench:
	$(Q)sh tests/setup.sh bench
	$(Q)$(MAKE) --no-print-directory all $(OUT)/bench/npm/.installed
	$(Q)UPLOADFS_BUILD=$(abspath $(OUT)) $(PYTHON) -B tests/bench/bench.py --rows '$(ROWS)' \
		$(if $(REPS),--reps $(REPS))

# What it compares with and Debian does not have.
$(OUT)/bench/npm/.installed: tests/bench/package.json
	@mkdir -p $(@D)
	@echo '  NPM     $(@D)'
	$(Q)cp $< $(@D)/ && npm install --silent --no-audit --no-fund --prefix $(@D) && touch $@

## lint: layering, banned calls, layout, and what cppcheck and clang have to say
lint: | $(OUT)/.deps-ok
	$(Q)$(PYTHON) -B tests/lint.py

## fmt: format the C sources in place with clang-format
fmt:
	$(Q)clang-format -i $(FMT_FILES)

## fmt-check: say which C sources clang-format would change
fmt-check:
	$(Q)clang-format --dry-run -Werror $(FMT_FILES)

## asan: build under build/asan with AddressSanitizer and UBSan
asan:
	$(Q)$(MAKE) --no-print-directory SAN=asan all unit-bins

## tsan: build under build/tsan with ThreadSanitizer
tsan:
	$(Q)$(MAKE) --no-print-directory SAN=tsan all unit-bins

## unit-bins: build the unit tests, and what other tests need, without running them
unit-bins: $(UNIT_BINS) $(CRASH_PRELOAD) $(OUT)/bin/fsx

## fuzz-bins: build what make fuzz runs, without running it (SAN=fuzz CC=clang)
fuzz-bins: $(FUZZ_BINS)

## torture-bins: build what make torture runs, without running it (SAN=asan)
torture-bins: $(TORTURE_BINS)

## compile_commands.json: write build/compile_commands.json for clangd and friends
compile_commands.json: $(OUT)/compile_commands.json

## deps: install the Debian packages that building needs (as root or with sudo)
deps:
	$(Q)sh tests/setup.sh build

## install: programs, manual pages, documents, completions, unit to DESTDIR/PREFIX; links in SBINDIR
install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man1 share/man/man5 share/man/man8 \
		share/doc/uploadfs) $(addprefix $(DESTDIR),$(SBINDIR) $(BASH_COMPLETIONS) \
		$(ZSH_COMPLETIONS) $(UNITS))
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(MAN_PAGES) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(MAN5_PAGES) $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 $(MAN8_PAGES) $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 $(DOC_FILES) $(DESTDIR)$(PREFIX)/share/doc/uploadfs/
	install -m 644 docs/completions/uploadfs.bash $(DESTDIR)$(BASH_COMPLETIONS)/uploadfs
	install -m 644 docs/completions/_uploadfs $(DESTDIR)$(ZSH_COMPLETIONS)/
	sed 's|@bindir@|$(PREFIX)/bin|' docs/packaging/uploadfs@.service \
		> $(DESTDIR)$(UNITS)/uploadfs@.service
	chmod 644 $(DESTDIR)$(UNITS)/uploadfs@.service
	for name in $(HELPERS); do \
		ln -srf $(DESTDIR)$(PREFIX)/bin/uploadfs $(DESTDIR)$(SBINDIR)/$$name; done

## uninstall: remove what install put there
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/uploadfs $(DESTDIR)$(PREFIX)/bin/uploads-server
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(MAN_PAGES)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man5/,$(notdir $(MAN5_PAGES)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,$(notdir $(MAN8_PAGES)))
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/uploadfs
	rm -f $(DESTDIR)$(BASH_COMPLETIONS)/uploadfs $(DESTDIR)$(ZSH_COMPLETIONS)/_uploadfs
	rm -f $(DESTDIR)$(UNITS)/uploadfs@.service $(addprefix $(DESTDIR)$(SBINDIR)/,$(HELPERS))

## deb: install what is missing, then build the Debian package in build/deb
deb:
	$(Q)sh tests/setup.sh deb
	$(Q)$(MAKE) --no-print-directory all
	$(Q)docs/packaging/build-deb $(BUILD)

## clean: remove the build directory
clean:
	rm -rf $(BUILD)

## help: list the targets
help:
	@sed -n 's/^## \([^:]*\): \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F '\t' '{ printf "  %-22s %s\n", $$1, $$2 }'

# make print-NAME shows a variable: the tests ask for compiler and flags this way.
print-%:
	@printf '%s\n' '$($*)'

$(OUT)/.deps-ok: tests/setup.sh
	$(Q)sh tests/setup.sh --check build
	$(Q)mkdir -p $(OUT) && touch $@

# Touched when the compiler or its flags change, so that everything is built anew then.
FLAGS_LINE = $(CC) $(LANG_FLAGS) $(MODE_CFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(ALL_LDFLAGS)
$(OUT)/.flags: FORCE | $(OUT)/.deps-ok
	@printf '%s\n' '$(FLAGS_LINE)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_LINE)' > $@

$(OUT)/%.o: %.c $(OUT)/.flags
	@mkdir -p $(@D)
	@echo '  CC      $@'
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# An archive is written anew, so that a module that was removed leaves it; it
# depends on the list of its members for the same reason. q: folders share file names.
define archive
$(OUT)/$(1).a: $(call obj,$(2)) $(OUT)/.$(1).list
	@echo '  AR      $$@'
	$(Q)rm -f $$@ && $(AR) qcs $$@ $(call obj,$(2))
$(OUT)/.$(1).list: FORCE | $(OUT)/.deps-ok
	@printf '%s\n' '$(2)' | cmp -s - $$@ || printf '%s\n' '$(2)' > $$@
endef
$(eval $(call archive,libnet,$(NET_SRCS)))
$(eval $(call archive,libserver,$(SERVER_SRCS)))
$(eval $(call archive,libfs,$(FS_SRCS)))
$(eval $(call archive,libunit,$(HELPER_SRCS)))
$(eval $(call archive,libfuzz,$(FUZZ_SRCS)))

LINK = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@
$(OUT)/uploadfs: $(OUT)/fs/main.o $(LIBS)
	@echo '  LINK    $@'
	$(Q)$(LINK) $< -Wl,--start-group $(LIBS) -Wl,--end-group $(PKG_LIBS)

$(OUT)/uploads-server: $(OUT)/net/server/main.o $(OUT)/libserver.a $(OUT)/libnet.a
	@echo '  LINK    $@'
	$(Q)$(LINK) $< $(OUT)/libserver.a $(OUT)/libnet.a $(PKG_LIBS)

# A test may bring its own implementation of a header (net/api.h): what a test
# or a helper defines is then not taken from the archives.
$(OUT)/unit/%: $(OUT)/tests/unit/%.o $(OUT)/libunit.a $(LIBS)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	$(Q)$(LINK) $< $(EXTRA_OBJS) -Wl,--start-group $(OUT)/libunit.a $(LIBS) -Wl,--end-group \
		$(PKG_LIBS) $(CMOCKA_LIBS)

$(OUT)/bin/fsx: $(OUT)/tests/fsx/fsx.o
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	$(Q)$(CC) $^ -o $@ $(ALL_LDFLAGS)

# The code under test with its calls renamed: they go to inject.c.
$(OUT)/torture/%.a: $(OUT)/%.a tests/torture/calls.syms
	@mkdir -p $(@D)
	@echo '  OBJCOPY $@'
	$(Q)$(OBJCOPY) --redefine-syms=tests/torture/calls.syms $< $@

TORTURE_LIBS := $(patsubst $(OUT)/%,$(OUT)/torture/%,$(LIBS))
$(OUT)/bin/torture-fs: $(call obj,$(TORTURE_FS) $(FAKE_API_SRCS))
$(OUT)/bin/torture-net: $(call obj,$(TORTURE_NET))
$(TORTURE_BINS): $(call obj,$(TORTURE_CORE)) $(OUT)/libunit.a $(TORTURE_LIBS)
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	$(Q)$(LINK) $(filter %.o,$^) -Wl,--start-group $(OUT)/libunit.a $(TORTURE_LIBS) \
		-Wl,--end-group $(PKG_LIBS) $(CMOCKA_LIBS)

$(OUT)/bin/%: $(OUT)/tests/fuzz/%.o $(OUT)/libfuzz.a
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	$(Q)$(LINK) $< $(OUT)/libfuzz.a $(PKG_LIBS)

$(OUT)/tests/crash_preload.so: tests/mount/crash_preload.c $(OUT)/.flags
$(OUT)/tests/server_crash.so: tests/server/crash_preload.c $(OUT)/.flags
$(OUT)/tests/crash_preload.so $(OUT)/tests/server_crash.so:
	@mkdir -p $(@D)
	@echo '  LINK    $@'
	$(Q)$(CC) $(filter-out -fPIE,$(ALL_CFLAGS)) -fPIC -shared -MMD -MP -o $@ $< -ldl

# Whole daemons on one seeded scheduler: their calls of threads, of the clock and of the disk are
# its own, and so is malloc(): not with SAN.
SIM_OBJS := $(call obj,$(SIM_SRCS))
SIM_WRAPS := $(addprefix pthread_,mutex_init mutex_destroy mutex_lock mutex_trylock mutex_unlock \
	cond_init cond_destroy cond_wait cond_timedwait cond_signal cond_broadcast create join self exit) \
	clock_gettime nanosleep open64 openat64 close read write pread64 __pread64_chk pwrite64 \
	ftruncate64 fallocate64 fdatasync fsync sync_file_range fstat64 fstatat64 stat64 lstat64 statx \
	unlink unlinkat rename renameat renameat2 mkdirat symlinkat fchmod fchmodat flock fcntl64 futimens \
	utimensat fstatvfs64 copy_file_range fdopendir readdir64 closedir place_look statedir_open \
	process_give_way digest_random digest_lanes predict_begin log_msg log_event
$(OUT)/simulate: $(SIM_OBJS) $(LIBS)
	@echo '  LINK    $@'
	$(Q)$(LINK) $(SIM_OBJS) $(addprefix -Wl$(comma)--wrap=,$(SIM_WRAPS)) \
		-Wl,--start-group $(LIBS) -Wl,--end-group $(PKG_LIBS)

FAKE_API_BINS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(FAKE_API_USERS))
$(FAKE_API_BINS): EXTRA_OBJS := $(call obj,$(FAKE_API_SRCS))
$(FAKE_API_BINS): $(call obj,$(FAKE_API_SRCS))

# Of a name of its own while it is made: tests call make beside each other.
$(OUT)/compile_commands.json: FORCE | $(OUT)/.deps-ok
	@new=$@.$$$$; { sep='['; for f in $(ALL_SRCS); do \
		printf '%s\n{"directory": "%s", "file": "%s", "command": "%s"}' \
			"$$sep" '$(CURDIR)' "$$f" "$(CC) $(ALL_CFLAGS) -c $$f"; sep=','; \
	done; printf '\n]\n'; } > $$new; \
	if cmp -s $$new $@; then rm $$new; else mv $$new $@; fi

-include $(OBJS:.o=.d) $(CRASH_PRELOAD:.so=.d)
