/* opts: command lines, environments and key files, and what each error tells to do. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/config/key.h"
#include "fs/config/opts.h"
#include "net/base/log.h"

#define ARGS_MAX 16
#define KEY "sk-test-0123456789abcdef"

static char dir[PATH_MAX], mnt[PATH_MAX], file[PATH_MAX], out_path[PATH_MAX], err_path[PATH_MAX];
static char out_text[8192], err_text[8192];

static int setup_all(void **state)
{
	char made[] = "/tmp/test_opts.XXXXXX";

	(void)state;
	if (!mkdtemp(made) || !realpath(made, dir) || chmod(dir, 0755))
		return -1;
	snprintf(mnt, sizeof(mnt), "%.4000s/mnt", dir);
	snprintf(file, sizeof(file), "%.4000s/key", dir);
	snprintf(out_path, sizeof(out_path), "%.4000s/out", dir);
	snprintf(err_path, sizeof(err_path), "%.4000s/err", dir);
	return mkdir(mnt, 0755);
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown_all(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *const network_names[] = { "http_proxy", "https_proxy",   "HTTPS_PROXY",
					     "all_proxy",  "ALL_PROXY",	    "no_proxy",
					     "NO_PROXY",   "SSL_CERT_FILE", "SSL_CERT_DIR",
					     NULL };

static int setup(void **state)
{
	(void)state;
	unsetenv("OPENAI_API_KEY");
	unsetenv("OPENAI_BASE_URL");
	unsetenv("AZURE_OPENAI_API_KEY");
	unsetenv("AZURE_OPENAI_ENDPOINT");
	unsetenv("OPENAI_API_VERSION");
	unsetenv("OPENAI_ORG_ID");
	unsetenv("OPENAI_PROJECT_ID");
	unsetenv("XDG_STATE_HOME");
	/* How this host reaches others is test_opts_network's. */
	for (const char *const *name = network_names; *name; name++)
		unsetenv(*name);
	/* Nobody's own configuration: the tests set HOME themselves. */
	setenv("XDG_CONFIG_HOME", "/dev/null", 1);
	return 0;
}

static int redirect(int fd, const char *path)
{
	int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	int to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(saved >= 0 && to >= 0);
	assert_int_equal(dup2(to, fd), fd);
	close(to);
	return saved;
}

static void restore(int fd, int saved, const char *path, char *text, size_t size)
{
	FILE *f;
	size_t n;

	dup2(saved, fd);
	close(saved);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
}

/* Splits line at blanks (MNT stands for the mountpoint) and parses it. */
static enum opts_result parse(const char *line, struct opts *o)
{
	char *argv[ARGS_MAX + 1] = { NULL }, *copy = strdup(line), *rest = copy, *word;
	enum opts_result r;
	int argc = 1, out, err;

	assert_non_null(copy);
	argv[0] = (char[]){ "uploadfs" };
	while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX)
		argv[argc++] = strcmp(word, "MNT") ? word : mnt;
	fflush(stdout);
	fflush(stderr);
	out = redirect(1, out_path);
	err = redirect(2, err_path);
	r = opts_parse(argc, argv, o);
	fflush(stdout);
	fflush(stderr);
	restore(1, out, out_path, out_text, sizeof(out_text));
	restore(2, err, err_path, err_text, sizeof(err_text));
	free(copy);
	return r;
}

static void runs(const char *line, struct opts *o)
{
	enum opts_result r = parse(line, o);

	if (r != OPTS_RUN)
		print_error("%s: %s", line, err_text);
	assert_int_equal(r, OPTS_RUN);
	assert_string_equal(err_text, "");
	assert_string_equal(out_text, "");
}

/* The message is one line, begins with the program's name, names a next step, and says part. */
static void fails(const char *line, const char *part)
{
	struct opts o, before;
	char *end;

	memset(&o, 0x5a, sizeof(o));
	before = o;
	assert_int_equal(parse(line, &o), OPTS_EXIT_USAGE);
	assert_memory_equal(&o, &before, sizeof(o));
	assert_string_equal(out_text, "");
	if (strncmp(err_text, "uploadfs: ", 10) || !strstr(err_text, "; ") ||
	    !strstr(err_text, part))
		print_error("%s: %s lacks: %s\n", line, err_text, part);
	assert_int_equal(strncmp(err_text, "uploadfs: ", 10), 0);
	assert_non_null(strstr(err_text, "; "));
	assert_non_null(strstr(err_text, part));
	end = strchr(err_text, '\n');
	assert_non_null(end);
	assert_string_equal(end, "\n");
}

static void test_defaults(void **state)
{
	struct opts o;

	(void)state;
	setenv("OPENAI_API_KEY", KEY, 1);
	runs("MNT", &o);
	assert_null(o.source);
	assert_null(o.local_dir);
	assert_string_equal(o.mountpoint, mnt);
	assert_string_equal(o.base_url, "https://api.openai.com/v1");
	assert_string_equal(o.key, KEY);
	assert_null(o.key_file);
	assert_null(o.organization);
	assert_null(o.project);
	assert_null(o.purpose);
	assert_true(o.part_size == 64 << 20);
	assert_int_equal(o.parallel, 4);
	assert_true(o.cache_size == 8ULL << 30);
	assert_true(o.staging_size == 0);
	assert_false(o.resend || o.check_jsonl);
	assert_false(o.close_async || o.keep_old || o.allow_http || o.foreground || o.debug);
	assert_false(o.ro || o.allow_other || o.has_uid || o.has_gid || o.has_umask);
	assert_int_equal(o.list_ttl_s, 30);
	assert_int_equal(o.hold_timeout_s, 60);
	assert_int_equal(o.retry_timeout_s, 120);
	assert_int_equal(o.connect_timeout_s, 10);
	assert_int_equal(o.idle_timeout_s, 60);
	assert_int_equal(o.drain_timeout_s, 60);
	assert_int_equal(o.log_level, LOG_LVL_INFO);
	assert_null(o.log_file);
	assert_int_equal(o.file_mode, 0644);
	assert_int_equal(o.dir_mode, 0755);
	assert_string_equal(o.fuse_opts, "fsname=https://api.openai.com/v1,subtype=uploadfs,"
					 "default_permissions");
	opts_release(&o);
	assert_null(o.key);
}

static void test_all_options(void **state)
{
	struct opts o;

	(void)state;
	runs("-o ro,allow_other,part_size=64K,parallel=64 local:/srv/x -oclose=async,keep_old "
	     "MNT -fo list_ttl=0,hold_timeout=1,retry_timeout=2,connect_timeout=3 -o "
	     "shared_cache=/srv/../srv/x,"
	     "idle_timeout=4,drain_timeout=5,cache_size=0,staging_size=3g,allow_http,purpose=evals,"
	     "organization=org-1,project=proj_1,log_level=warn,log_format=json,"
	     "log_file=/tmp/l,state_dir=/tmp/s,"
	     "resend,check=jsonl,"
	     "uid=1,gid=2,umask=022,file_mode=600,dir_mode=0700",
	     &o);
	assert_true(o.ro && o.allow_other && o.close_async && o.keep_old && o.foreground);
	assert_true(o.allow_http && !o.debug);
	assert_true(o.resend && o.check_jsonl);
	assert_true(o.part_size == 65536);
	assert_int_equal(o.parallel, 64);
	assert_int_equal(o.list_ttl_s, 0);
	assert_int_equal(o.hold_timeout_s, 1);
	assert_int_equal(o.retry_timeout_s, 2);
	assert_int_equal(o.connect_timeout_s, 3);
	assert_int_equal(o.idle_timeout_s, 4);
	assert_int_equal(o.drain_timeout_s, 5);
	assert_true(o.cache_size == 0);
	assert_string_equal(o.shared_cache, "/srv/../srv/x");
	assert_true(o.staging_size == 3ULL << 30);
	assert_string_equal(o.purpose, "evals");
	assert_string_equal(o.organization, "org-1");
	assert_string_equal(o.project, "proj_1");
	assert_int_equal(o.log_level, LOG_LVL_WARN);
	assert_true(o.log_json);
	assert_string_equal(o.log_file, "/tmp/l");
	assert_string_equal(o.state_dir, "/tmp/s");
	assert_true(o.has_uid && o.uid == 1 && o.has_gid && o.gid == 2);
	assert_true(o.has_umask && o.umask == 022);
	assert_int_equal(o.file_mode, 0600);
	assert_int_equal(o.dir_mode, 0700);
	assert_string_equal(o.local_dir, "/srv/x");
	assert_null(o.base_url);
	assert_null(o.key);
	assert_string_equal(o.fuse_opts, "fsname=local:/srv/x,subtype=uploadfs,default_permissions,"
					 "ro,allow_other");
	opts_release(&o);
}

static void test_later_wins(void **state)
{
	struct opts o;

	(void)state;
	runs("local:/x MNT -o ro,parallel=2,purpose=batch,rw,parallel=3,purpose=vision,close=async,"
	     "close=sync",
	     &o);
	assert_false(o.ro);
	assert_false(o.close_async);
	assert_int_equal(o.parallel, 3);
	assert_string_equal(o.purpose, "vision");
	opts_release(&o);
	runs("-d local:/x MNT", &o);
	assert_true(o.debug && o.foreground);
	assert_int_equal(o.log_level, LOG_LVL_DEBUG);
	opts_release(&o);
}

/* As mount(8) hands over a line of fstab. */
static void test_fstab(void **state)
{
	struct opts o;

	(void)state;
	runs("local:/x MNT -o rw,noauto,user,users,nofail,_netdev,x-systemd.automount,defaults,"
	     "nosuid,nodev,noatime,max_read=65536,subtype=foo,default_permissions,user=me",
	     &o);
	assert_string_equal(o.fuse_opts, "fsname=local:/x,subtype=uploadfs,default_permissions,"
					 "nosuid,nodev,noatime,max_read=65536");
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	runs("none MNT", &o);
	assert_null(o.source);
	assert_string_equal(o.base_url, "https://api.openai.com/v1");
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_BASE_URL", "https://example.com/v1/", 1);
	runs("uploadfs MNT", &o);
	assert_null(o.source);
	assert_string_equal(o.base_url, "https://example.com/v1");
	/* As it stands in fstab, by which mount -a knows it for mounted. */
	assert_string_equal(o.fsname, "uploadfs");
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	runs("https://example.com/v1/ MNT -o allow_root,X-mount.mkdir", &o);
	assert_string_equal(o.fuse_opts, "fsname=https://example.com/v1/,subtype=uploadfs,"
					 "default_permissions,allow_root");
	opts_release(&o);
	runs("http://[::1]:1/v1 MNT -o fsname=x", &o);
	assert_string_equal(o.fsname, "x");
	opts_release(&o);
}

static void test_escapes(void **state)
{
	struct opts o;

	(void)state;
	runs("local:/x MNT -o fsname=a\\,b\\\\c,ro,state_dir=/tmp/d\\,e", &o);
	assert_string_equal(o.fuse_opts,
			    "fsname=a\\,b\\\\c,subtype=uploadfs,default_permissions,ro");
	assert_string_equal(o.state_dir, "/tmp/d,e");
	opts_release(&o);
	/* A comma in what we make ourselves slips in no option. */
	runs("local:/x,allow_root MNT", &o);
	assert_string_equal(o.fuse_opts, "fsname=local:/x\\,allow_root,subtype=uploadfs,"
					 "default_permissions");
	opts_release(&o);
}

static void test_sources(void **state)
{
	struct opts o;

	(void)state;
	runs("http://127.0.0.1:8080/v1/ MNT", &o);
	assert_string_equal(o.base_url, "http://127.0.0.1:8080/v1");
	assert_null(o.key);
	opts_release(&o);
	runs("http://localhost/v1 MNT", &o);
	opts_release(&o);
	runs("http://[::1]:1/v1 MNT", &o);
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	runs("http://example.com/v1 MNT -o allow_http", &o);
	assert_string_equal(o.key, KEY);
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	fails("http://example.com/v1 MNT", "allow_http");
	fails("http://127.0.0.1.example.com/v1 MNT", "allow_http");
	setenv("OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_BASE_URL", "local:/x", 1);
	fails("MNT", "OPENAI_BASE_URL local:/x");
	unsetenv("OPENAI_BASE_URL");
	fails("ftp://example.com MNT", "neither a URL, nor azure:URL, nor local:DIR");
	fails("example.com MNT", "neither a URL, nor azure:URL, nor local:DIR");
	fails("local: MNT", "local:DIR");
	fails("https:// MNT", "host");
	fails("https://example.com/v1?api-version=1 MNT", "query");
}

#define AZURE "https://me.openai.azure.com"

/* Either form of path, whatever end of the endpoint was pasted; the key of Azure and no other. */
static void test_azure(void **state)
{
	static const char *const ends[] = { "",		"/",	      "/openai",
					    "/openai/", "/openai/v1", "/openai/v1/" };
	char line[128], state_dir[2][4096];
	struct opts o;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		setenv("AZURE_OPENAI_API_KEY", KEY, 1);
		snprintf(line, sizeof(line), "azure:" AZURE "%s MNT", ends[i]);
		runs(line, &o);
		assert_string_equal(o.azure, AZURE);
		assert_string_equal(o.base_url, AZURE "/openai/v1");
		assert_null(o.api_version);
		assert_string_equal(o.key, KEY);
		/* As it was given: mount -a compares it with fstab. */
		line[strlen(line) - strlen(" MNT")] = '\0';
		assert_string_equal(o.fsname, line);
		snprintf(state_dir[0], sizeof(state_dir[0]), "%s", o.state_dir);
		opts_release(&o);
	}
	assert_null(getenv("AZURE_OPENAI_API_KEY"));
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_API_VERSION", "2024-10-21", 1);
	setenv("OPENAI_ORG_ID", "org-1", 1);
	runs("azure:" AZURE " MNT", &o);
	assert_string_equal(o.base_url, AZURE "/openai");
	assert_string_equal(o.api_version, "2024-10-21");
	assert_null(o.organization);
	/* Another version shows the same Files: what is staged is found again. */
	snprintf(state_dir[1], sizeof(state_dir[1]), "%s", o.state_dir);
	assert_string_equal(state_dir[0], state_dir[1]);
	opts_release(&o);
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	runs("azure:" AZURE " MNT -o api_version=preview", &o);
	assert_string_equal(o.base_url, AZURE "/openai/v1");
	assert_string_equal(o.api_version, "preview");
	opts_release(&o);
	unsetenv("OPENAI_API_VERSION");
	setenv("OPENAI_API_KEY", KEY, 1);
	fails("azure:" AZURE " MNT", "set AZURE_OPENAI_API_KEY");
	setenv("AZURE_OPENAI_API_KEY", KEY " x", 1);
	fails("azure:" AZURE " MNT", "AZURE_OPENAI_API_KEY holds blanks");
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	fails("azure: MNT", "azure:https://NAME.openai.azure.com");
	fails("azure:me MNT", "azure:https://NAME.openai.azure.com");
	fails("azure:http://example.com MNT", "allow_http");
	fails("azure:" AZURE " MNT -o api_version=1&x=2", "api_version=2024-10-21");
	setenv("OPENAI_API_KEY", KEY, 1);
	fails("https://example.com/v1 MNT -o api_version=2024-10-21", "api_version is for Azure");
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	fails("https://example.com/v1 MNT", "set OPENAI_API_KEY");
}

/* Without SOURCE: what the environment names, and nothing by a guess. */
static void test_azure_environment(void **state)
{
	struct opts o;

	(void)state;
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	setenv("AZURE_OPENAI_ENDPOINT", AZURE "/", 1);
	runs("MNT", &o);
	assert_string_equal(o.azure, AZURE);
	assert_string_equal(o.key, KEY);
	opts_release(&o);
	setenv("AZURE_OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_API_KEY", KEY, 1);
	fails("MNT", "azure:" AZURE);
	setenv("OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_API_VERSION", "2024-10-21", 1);
	runs("https://api.openai.com/v1 MNT", &o);
	assert_null(o.azure);
	assert_null(o.api_version);
	opts_release(&o);
	setenv("OPENAI_API_KEY", KEY, 1);
	setenv("OPENAI_BASE_URL", "https://example.com/v1", 1);
	runs("MNT", &o);
	assert_null(o.azure);
	assert_string_equal(o.base_url, "https://example.com/v1");
	opts_release(&o);
}

/* The key in the place of the URL: not repeated, whatever service it is of. */
static void test_key_as_source(void **state)
{
	static const char azure[] = "0123456789abcdef0123456789abcdef";

	(void)state;
	fails(KEY " MNT", "looks like a key");
	assert_null(strstr(err_text, KEY));
	fails("0123456789abcdef0123456789abcdef MNT", "looks like a key");
	assert_null(strstr(err_text, azure));
	fails("htps://example.com/v1 MNT", "htps://example.com/v1");
	/* Nor is it printed in the place of anything else. */
	fails("api-key:" KEY " MNT", "is neither a URL");
	assert_null(strstr(err_text, KEY));
	fails("-o " KEY " MNT", "is not known");
	assert_null(strstr(err_text, KEY));
	fails("https://example.com/v1 MNT -o api_key_file=" KEY, "the key file");
	assert_null(strstr(err_text, KEY));
}

/* A secret in the URL is neither taken nor repeated. */
static void test_secrets_in_url(void **state)
{
	(void)state;
	fails("https://user:" KEY "@example.com/v1 MNT", "api_key_file");
	assert_null(strstr(err_text, KEY));
	fails("https://example.com/v1?key=" KEY " MNT", "api_key_file");
	assert_null(strstr(err_text, KEY));
	setenv("OPENAI_BASE_URL", "https://" KEY "@example.com/v1", 1);
	fails("MNT", "OPENAI_BASE_URL is refused");
	assert_null(strstr(err_text, KEY));
}

static void test_key_on_command_line(void **state)
{
	(void)state;
	fails("local:/x MNT -o api_key=" KEY, "api_key_file");
	assert_null(strstr(err_text, KEY));
	fails("local:/x MNT -o api_key", "api_key_file");
	fails("local:/x MNT -o openai_key=" KEY, "\"openai_key\" is not known");
	assert_null(strstr(err_text, KEY));
	fails("local:/x MNT --api-key=" KEY, "--api-key is not known");
	assert_null(strstr(err_text, KEY));
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = { { "3", 3 },
		      { "3K", 3 << 10 },
		      { "3kb", 3 << 10 },
		      { "3KiB", 3 << 10 },
		      { "3M", 3 << 20 },
		      { "3MB", 3 << 20 },
		      { "3GB", 3ULL << 30 },
		      { "2gib", 2ULL << 30 },
		      { "2T", 2ULL << 40 },
		      { "2TB", 2ULL << 40 } };
	char line[100];
	struct opts o;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(line, sizeof(line), "local:/x MNT -o cache_size=%s", sizes[i].text);
		runs(line, &o);
		assert_true(o.cache_size == sizes[i].bytes);
		opts_release(&o);
	}
}

static void test_unknown(void **state)
{
	(void)state;
	fails("local:/x MNT -o readonly", "did you mean \"ro\"?");
	fails("local:/x MNT -o passwd_file=/k", "did you mean \"api_key_file\"?");
	fails("local:/x MNT -o paralell=3", "did you mean \"parallel\"?");
	fails("local:/x MNT -o cachesize=3", "did you mean \"cache_size\"?");
	fails("local:/x MNT -o list_tll", "did you mean \"list_ttl\"?");
	fails("local:/x MNT -o quux", "\"quux\" is not known; see uploadfs --help");
	fails("local:/x MNT -o x", "\"x\" is not known");
	fails("local:/x MNT -o =3", "\"\" is not known");
	/* Hundreds of bytes, and control bytes. */
	fails("local:/x MNT -o aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1",
	      "is not known");
	fails("local:/x MNT -o a\033[2J\nb", "\"a?[2J?b\" is not known");
	/* A mount option of libfuse with its value missing. */
	fails("local:/x MNT -o max_read", "is not known");
	fails("local:/x MNT -q", "-q is not known");
	fails("local:/x MNT -fq", "-q is not known");
	fails("local:/x MNT --nonsense", "--nonsense is not known");
	fails("local:/x MNT -o", "-o needs options");
	fails("local:/x MNT more", "an argument too many");
}

static void test_values(void **state)
{
	static const char *const bad[][2] = {
		{ "parallel=0", "1 to 64" },
		{ "parallel=65", "1 to 64" },
		{ "parallel=", "not a number" },
		{ "parallel", "parallel=NUMBER" },
		{ "parallel=-1", "not a number" },
		{ "parallel=+1", "not a number" },
		{ "parallel=4x", "not a number" },
		{ "parallel=4K", "not a number" },
		{ "part_size=65535", "64K to 64M" },
		{ "part_size=65M", "64K to 64M" },
		{ "part_size=1T", "64K to 64M" },
		{ "part_size=1MBB", "not a size" },
		{ "part_size=1P", "not a size" },
		{ "part_size=1iB", "not a size" },
		{ "cache_size=99999999999G", "not a size" },
		{ "cache_size=99999999999999999999", "not a size" },
		{ "cache_size=9000000000G", "out of range" },
		{ "list_ttl=86401", "0 to 86400" },
		{ "idle_timeout=0", "1 to 86400" },
		{ "umask=08", "not a mode" },
		{ "umask=1000", "0 to 777" },
		{ "file_mode=rw", "not a mode" },
		{ "close=maybe", "close=sync or close=async" },
		{ "close", "close=sync|async" },
		{ "keep_old=1", "use just keep_old" },
		{ "resend=1", "use just resend" },
		{ "check=json", "check=none or check=jsonl" },
		{ "check", "check=none|jsonl" },
		{ "ro=1", "use just ro" },
		{ "purpose=batch_output", "fine-tune" },
		{ "purpose=", "fine-tune" },
		{ "log_level=loud", "error, warn, info or debug" },
		{ "log_format=xml", "text or json" },
		{ "uid=root", "uid=1000" },
		{ "gid=4294967295", "gid=1000" },
		{ "uid=-1", "uid=1000" },
		{ "state_dir=", "state_dir=DIR" },
		{ "api_key_file", "api_key_file=FILE" },
		{ "fsname", "fsname=NAME" },
		{ "remount,ro", "unmount it" },
		{ "allow_root=1", "use just allow_root" },
	};
	char line[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "local:/x MNT -o %s", bad[i][0]);
		fails(line, bad[i][1]);
	}
}

static void test_mountpoint(void **state)
{
	char line[PATH_MAX + 64], real[PATH_MAX];
	struct opts o;

	(void)state;
	fails("", "no MOUNTPOINT");
	fails("-f", "no MOUNTPOINT");
	fails("https://example.com/v1", "no MOUNTPOINT");
	fails("local:/x", "no MOUNTPOINT");
	snprintf(line, sizeof(line), "local:/x %.4000s/missing", dir);
	fails(line, "mkdir -p ");
	fails("local:/x /dev/null", "not a directory");
	fails("local:/x /", "root directory");
	fails("local:missing/../x MNT", "can be reached");
	/* Relative, through a link: the real place is told, and chdir() does no harm. */
	snprintf(line, sizeof(line), "%.4000s/link", dir);
	assert_int_equal(symlink("mnt", line), 0);
	assert_non_null(getcwd(real, sizeof(real)));
	assert_int_equal(chdir(dir), 0);
	runs("-- local:./x ./link", &o);
	assert_int_equal(chdir(real), 0);
	assert_string_equal(o.mountpoint, mnt);
	opts_release(&o);
	unlink(line);
}

static void test_relative_paths(void **state)
{
	char want[PATH_MAX], was[PATH_MAX];
	struct opts o;

	(void)state;
	assert_non_null(getcwd(was, sizeof(was)));
	assert_int_equal(chdir(dir), 0);
	runs("local:new/deep mnt -o state_dir=st,log_file=./l", &o);
	assert_int_equal(chdir(was), 0);
	snprintf(want, sizeof(want), "%.4000s/new/deep", dir);
	assert_string_equal(o.local_dir, want);
	snprintf(want, sizeof(want), "%.4000s/st", dir);
	assert_string_equal(o.state_dir, want);
	snprintf(want, sizeof(want), "%.4000s/l", dir);
	assert_string_equal(o.log_file, want);
	opts_release(&o);
}

/* Our own files under the mountpoint would be hidden by the mount, or hang it. */
static void test_outside(void **state)
{
	char line[2 * PATH_MAX];
	struct opts o;

	(void)state;
	snprintf(line, sizeof(line), "local:%.4000s/sub MNT", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "local:%.4000s MNT", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "local:/x MNT -o state_dir=%.4000s/s", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "local:/x MNT -o log_file=%.4000s/l", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "local:/x MNT -o metrics_listen=%.4000s/s", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "%.4000s-link", mnt);
	assert_int_equal(symlink(mnt, line), 0);
	snprintf(line, sizeof(line), "local:/x MNT -o metrics_listen=%.4000s-link/s", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "local:/x MNT -o shared_cache=%.4000s-link", mnt);
	fails(line, "lies under the mountpoint");
	snprintf(line, sizeof(line), "%.4000s-link", mnt);
	assert_int_equal(unlink(line), 0);
	snprintf(line, sizeof(line), "local:%.4000s2 MNT", mnt);
	runs(line, &o);
	opts_release(&o);
}

static void write_key(const char *text, size_t len, mode_t mode)
{
	int fd;

	unlink(file);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static bool any_mode;

static void key_is(const char *text, size_t len, mode_t mode, int rc, const char *want)
{
	char *key = NULL;

	write_key(text, len, mode);
	assert_int_equal(opts_read_key_file(file, any_mode, &key), rc);
	if (want)
		assert_string_equal(key, want);
	else
		assert_null(key);
	free(key);
}

#define KEY_IS(text, mode, rc, want) key_is(text, sizeof(text) - 1, mode, rc, want)

static void test_key_file(void **state)
{
	static char big[8192], longest[4097];
	char *key = NULL;

	(void)state;
	KEY_IS(KEY "\n", 0600, 0, KEY);
	KEY_IS(KEY, 0400, 0, KEY);
	KEY_IS(" \t" KEY " \r\nsecond line\n", 0600, 0, KEY);
	KEY_IS(KEY "\n", 0640, -EPERM, NULL);
	KEY_IS(KEY "\n", 0604, -EPERM, NULL);
	KEY_IS(KEY "\n", 0602, -EPERM, NULL);
	KEY_IS("OPENAI_API_KEY=" KEY "\n", 0600, 0, KEY);
	KEY_IS(" export OPENAI_API_KEY=\"" KEY "\" \n", 0600, 0, KEY);
	KEY_IS("AZURE_OPENAI_API_KEY='" KEY "'", 0600, 0, KEY);
	KEY_IS("OPENAI_API_KEY=\n", 0600, -EINVAL, NULL);
	KEY_IS("OPENAI_API_KEY=\"\"\n", 0600, -EINVAL, NULL);
	KEY_IS("", 0600, -EINVAL, NULL);
	any_mode = true;
	KEY_IS(KEY "\n", 0444, 0, KEY);
	KEY_IS(KEY "\n", 0640, 0, KEY);
	KEY_IS(KEY "\n", 0620, -EPERM, NULL);
	KEY_IS(KEY "\n", 0602, -EPERM, NULL);
	any_mode = false;
	KEY_IS("\n" KEY "\n", 0600, -EINVAL, NULL);
	KEY_IS("  \n", 0600, -EINVAL, NULL);
	KEY_IS("sk-a b\n", 0600, -EINVAL, NULL);
	KEY_IS("sk-a\0b\n", 0600, -EINVAL, NULL);
	KEY_IS("sk-a\rX-Header: b\n", 0600, -EINVAL, NULL);
	KEY_IS("sk-\xc3\xbc\n", 0600, -EINVAL, NULL);
	memset(big, 'k', sizeof(big));
	key_is(big, sizeof(big), 0600, -EINVAL, NULL);
	/* The longest one, and one byte more. */
	big[4096] = '\n';
	memcpy(longest, big, 4096);
	key_is(big, sizeof(big), 0600, 0, longest);
	big[4096] = 'k';
	big[4097] = '\n';
	key_is(big, sizeof(big), 0600, -EINVAL, NULL);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(opts_read_key_file(file, false, &key), -ENOENT);
	assert_int_equal(opts_read_key_file(dir, false, &key), -EISDIR);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_int_equal(opts_read_key_file(file, false, &key), -EISDIR);
	assert_int_equal(unlink(file), 0);
	assert_null(key);
}

static void test_key_sources(void **state)
{
	char line[PATH_MAX + 128];
	struct opts o;

	(void)state;
	fails("https://example.com/v1 MNT", "OPENAI_API_KEY, or use -o api_key_file");
	setenv("OPENAI_API_KEY", "", 1);
	fails("https://example.com/v1 MNT", "OPENAI_API_KEY, or use -o api_key_file");
	setenv("OPENAI_API_KEY", "sk-a\nb", 1);
	fails("https://example.com/v1 MNT", "OPENAI_API_KEY holds");
	assert_null(getenv("OPENAI_API_KEY"));
	snprintf(line, sizeof(line), "https://example.com/v1 MNT -o api_key_file=%.4000s", file);
	fails(line, "No such file");
	write_key(KEY "\n", strlen(KEY) + 1, 0644);
	fails(line, "others can read the key file ");
	assert_non_null(strstr(err_text, "; run chmod 600 /"));
	assert_null(strstr(err_text, "chown"));
	assert_int_equal(unlink(file), 0);
	assert_int_equal(mkfifo(file, 0600), 0);
	fails(line, "is not a regular file; ");
	assert_int_equal(unlink(file), 0);
	write_key("\n", 1, 0600);
	fails(line, "holds no key");
	/* The file was asked for by name, so it goes before the environment. */
	write_key("sk-from-file\n", 13, 0600);
	setenv("OPENAI_API_KEY", KEY, 1);
	runs(line, &o);
	assert_string_equal(o.key, "sk-from-file");
	assert_string_equal(o.key_file, file);
	assert_null(getenv("OPENAI_API_KEY"));
	opts_release(&o);
	unlink(file);
	/* A server of our own needs none; with a wrong one in the environment too. */
	setenv("OPENAI_API_KEY", "sk-a\nb", 1);
	runs("local:/x MNT", &o);
	assert_null(o.key);
	opts_release(&o);
}

static void test_headers(void **state)
{
	struct opts o;

	(void)state;
	setenv("OPENAI_ORG_ID", "org-env", 1);
	setenv("OPENAI_PROJECT_ID", "proj-env", 1);
	runs("http://127.0.0.1/v1 MNT -o project=proj-opt", &o);
	assert_string_equal(o.organization, "org-env");
	assert_string_equal(o.project, "proj-opt");
	opts_release(&o);
	setenv("OPENAI_ORG_ID", "org\r\nX-Evil: 1", 1);
	fails("http://127.0.0.1/v1 MNT", "OPENAI_ORG_ID");
}

static void test_help_and_version(void **state)
{
	const char *line, *end;
	struct opts o;
	int lines = 0;

	(void)state;
	assert_int_equal(parse("local:/x --help /nowhere --nonsense", &o), OPTS_EXIT_OK);
	assert_string_equal(err_text, "");
	assert_non_null(strstr(out_text, "usage: uploadfs [SOURCE] MOUNTPOINT"));
	for (line = out_text; *line; line = end + 1, lines++) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_true(end - line <= 80);
	}
	assert_true(lines <= 24);
	assert_int_equal(parse("-h", &o), OPTS_EXIT_OK);
	assert_int_equal(parse("--version", &o), OPTS_EXIT_OK);
	assert_int_equal(strncmp(out_text, "uploadfs ", 9), 0);
	assert_int_equal(parse("-V", &o), OPTS_EXIT_OK);
}

static char *state_dir_of(const char *line)
{
	struct opts o;
	char *path;

	runs(line, &o);
	path = strdup(o.state_dir);
	opts_release(&o);
	assert_non_null(path);
	return path;
}

/* One for each mountpoint and service, the same every time. */
static void test_state_dirs_differ(void **state)
{
	char line[PATH_MAX + 64], sub[PATH_MAX];
	char *paths[8];
	size_t n = 0, i, j;

	(void)state;
	paths[n++] = state_dir_of("local:/x MNT");
	paths[n++] = state_dir_of("local:/y MNT");
	paths[n++] = state_dir_of("http://127.0.0.1/v1 MNT");
	paths[n++] = state_dir_of("http://127.0.0.1/v2 MNT");
	paths[n++] = state_dir_of("http://127.0.0.1/v1 MNT -o organization=a");
	paths[n++] = state_dir_of("http://127.0.0.1/v1 MNT -o project=a");
	/* "/a-b" and "/a/b" are not alike. */
	snprintf(sub, sizeof(sub), "%.4000s-x", mnt);
	assert_int_equal(mkdir(sub, 0755), 0);
	snprintf(line, sizeof(line), "local:/x %.4000s", sub);
	paths[n++] = state_dir_of(line);
	assert_int_equal(rmdir(sub), 0);
	snprintf(sub, sizeof(sub), "%.4000s/x", mnt);
	assert_int_equal(mkdir(sub, 0755), 0);
	snprintf(line, sizeof(line), "local:/x %.4000s", sub);
	paths[n++] = state_dir_of(line);
	assert_int_equal(rmdir(sub), 0);
	for (i = 0; i < n; i++) {
		for (j = 0; j < i; j++)
			assert_string_not_equal(paths[i], paths[j]);
		assert_null(strchr(strrchr(paths[i], '/') + 1, ' '));
		assert_true(strlen(strrchr(paths[i], '/')) < 128);
	}
	for (i = 0; i < n; i++)
		free(paths[i]);
	paths[0] = state_dir_of("http://127.0.0.1/v1 MNT");
	paths[1] = state_dir_of("http://127.0.0.1/v1/ MNT -o parallel=2,purpose=evals");
	assert_string_equal(paths[0], paths[1]);
	free(paths[0]);
	free(paths[1]);
}

/* Runs act in a child that isn't root; its exit code is the outcome. */
static int as_user(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(90);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int begins_with(const char *start)
{
	char *argv[] = { (char[]){ "uploadfs" }, (char[]){ "local:/x" }, mnt, NULL };
	struct opts o;
	int rc;

	if (opts_parse(3, argv, &o) != OPTS_RUN)
		return 91;
	rc = strncmp(o.state_dir, start, strlen(start)) ? 92 : 0;
	opts_release(&o);
	return rc;
}

static int act_xdg(void)
{
	setenv("XDG_STATE_HOME", "/nowhere/xdg", 1);
	setenv("HOME", "/nowhere/home", 1);
	return begins_with("/nowhere/xdg/uploadfs/");
}

static int act_home(void)
{
	setenv("XDG_STATE_HOME", "relative", 1);
	setenv("HOME", "/nowhere/home", 1);
	return begins_with("/nowhere/home/.local/state/uploadfs/");
}

static int act_passwd(void)
{
	unsetenv("HOME");
	/* nobody's home is /nonexistent; whoever we are, it isn't root's place. */
	return begins_with("/var/lib/uploadfs") == 92 ? begins_with("/") : 93;
}

static int act_key_of_other(void)
{
	char *key;

	/* /etc/shadow's like: not ours, and if root's then closed to us. */
	return opts_read_key_file(file, false, &key) == -EACCES ? 0 : 94;
}

static void test_users(void **state)
{
	(void)state;
	if (geteuid() == 0)
		assert_int_equal(begins_with("/var/lib/uploadfs/"), 0);
	assert_int_equal(as_user(act_xdg), 0);
	assert_int_equal(as_user(act_home), 0);
	assert_int_equal(as_user(act_passwd), 0);
	write_key(KEY, strlen(KEY), geteuid() ? 0 : 0600);
	assert_int_equal(as_user(act_key_of_other), 0);
	unlink(file);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc;

	rc = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int be_root_inside(uid_t uid, gid_t gid)
{
	char uid_map[64], gid_map[64];

	snprintf(uid_map, sizeof(uid_map), "0 %u 1", uid);
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", gid);
	return write_text("/proc/self/uid_map", uid_map) ||
	       write_text("/proc/self/setgroups", "deny") ||
	       write_text("/proc/self/gid_map", gid_map);
}

/* In a mount namespace of its own, so that nothing is left. */
static int act_stale_mount(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	struct opts o;
	char data[128];
	int fd;

	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS))
		return 80;
	if (uid && be_root_inside(uid, gid))
		return 86;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 81;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 82;
	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("test", mnt, "fuse", 0, data))
		return 83;
	close(fd);
	if (parse("local:/x MNT", &o) != OPTS_EXIT_USAGE)
		return 84;
	return strstr(err_text, "fusermount3 -u ") ? 0 : 85;
}

static void test_stale_mount(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		_exit(act_stale_mount());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Started anew with a key in its environment, looks for it where everybody of this user can. */
static int act_environ(void)
{
	char *argv[] = { (char[]){ "uploadfs" }, (char[]){ "http://127.0.0.1/v1" },
			 (char[]){ "/tmp" }, NULL };
	char text[65536];
	struct opts o;
	size_t n;
	FILE *f;

	if (opts_parse(3, argv, &o) != OPTS_RUN)
		return 70;
	if (!o.key || strcmp(o.key, KEY))
		return 71;
	opts_release(&o);
	f = fopen("/proc/self/environ", "re");
	if (!f)
		return 72;
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	if (!memmem(text, n, "OTHER=kept", 10))
		return 73;
	return memmem(text, n, KEY, 10) ? 74 : 0;
}

static void test_environ(void **state)
{
	char *argv[] = { (char[]){ "test_opts" }, (char[]){ "--environ" }, NULL };
	char *env[] = { (char[]){ "OPENAI_API_KEY=" KEY }, (char[]){ "OTHER=kept" },
			(char[]){ "OPENAI_API_KEY=" KEY }, NULL };
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		execve("/proc/self/exe", argv, env);
		_exit(79);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, setup),
		cmocka_unit_test_setup(test_all_options, setup),
		cmocka_unit_test_setup(test_later_wins, setup),
		cmocka_unit_test_setup(test_fstab, setup),
		cmocka_unit_test_setup(test_escapes, setup),
		cmocka_unit_test_setup(test_sources, setup),
		cmocka_unit_test_setup(test_azure, setup),
		cmocka_unit_test_setup(test_azure_environment, setup),
		cmocka_unit_test_setup(test_secrets_in_url, setup),
		cmocka_unit_test_setup(test_key_as_source, setup),
		cmocka_unit_test_setup(test_key_on_command_line, setup),
		cmocka_unit_test_setup(test_sizes, setup),
		cmocka_unit_test_setup(test_unknown, setup),
		cmocka_unit_test_setup(test_values, setup),
		cmocka_unit_test_setup(test_mountpoint, setup),
		cmocka_unit_test_setup(test_relative_paths, setup),
		cmocka_unit_test_setup(test_outside, setup),
		cmocka_unit_test_setup(test_key_file, setup),
		cmocka_unit_test_setup(test_key_sources, setup),
		cmocka_unit_test_setup(test_headers, setup),
		cmocka_unit_test_setup(test_help_and_version, setup),
		cmocka_unit_test_setup(test_state_dirs_differ, setup),
		cmocka_unit_test_setup(test_users, setup),
		cmocka_unit_test_setup(test_stale_mount, setup),
		cmocka_unit_test_setup(test_environ, setup),
	};

	if (argc > 1 && !strcmp(argv[1], "--environ"))
		return act_environ();
	return cmocka_run_group_tests_name("opts", tests, setup_all, teardown_all);
}
