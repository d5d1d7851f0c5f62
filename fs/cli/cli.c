#include "fs/cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/base/log.h"

#define TEXTS 4 /* results of cli_clean() and cli_size() that live at once */

const char *cli_name = "";

/* ---- words ---- */

static char *next_text(size_t size)
{
	static char *texts[TEXTS];
	static unsigned at;

	at = (at + 1) % TEXTS;
	free(texts[at]);
	texts[at] = malloc(size);
	return texts[at];
}

const char *cli_clean(const char *text)
{
	char *out = next_text(strlen(text) + 1);
	size_t n = 0;

	if (!out)
		return "";
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == 0x7f) {
			out[n++] = '?';
		} else if (c == 0xc2 && (unsigned char)text[1] >= 0x80 &&
			   (unsigned char)text[1] < 0xa0) {
			out[n++] = '?'; /* a C1 control in UTF-8 */
			text++;
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return out;
}

const char *cli_size(uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes / 1024;
	char *out = next_text(24);
	unsigned u = 0;

	if (!out)
		return "";
	if (bytes < 1024) {
		snprintf(out, 24, "%u B", (unsigned)bytes);
		return out;
	}
	for (; v >= 999.95 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	snprintf(out, 24, "%.1f %s", v, units[u]);
	return out;
}

#define KEY_CHARS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
#define KEY_MIN 20 /* bytes of the shortest key */

static bool has_key(const char *text)
{
	while ((text = strstr(text, "sk-")) != NULL) {
		if (strspn(text, KEY_CHARS) >= KEY_MIN)
			return true;
		text++;
	}
	return false;
}

void cli_error(const char *fmt, ...)
{
	char raw[4096], text[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	/* A key may be given in the place of anything. */
	if (has_key(raw))
		log_redact(text, sizeof(text), raw);
	else
		memcpy(text, raw, sizeof(raw));
	fprintf(stderr, "uploadfs %s: %s\n", cli_name, cli_clean(text));
}

void cli_sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L };

	nanosleep(&ts, NULL);
}

/* ---- arguments ---- */

static int take_number(const char *name, const char *value, unsigned *ret)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = value ? strtoull(value, &end, 10) : 0;
	if (!value || !isdigit((unsigned char)*value) || *end || errno || n > INT_MAX) {
		cli_error("%s needs a number%s, as in %s 60", name,
			  strcmp(name, "--timeout") ? "" : " of seconds", name);
		return -1;
	}
	*ret = (unsigned)n;
	return 0;
}

/* Parse one option. Returns the number of argv words used, or -1. */
static int take_option(const struct cli_option *options, char **argv, int left)
{
	size_t len = strcspn(argv[0], "=");

	for (; options && options->name; options++) {
		const char *value = argv[0][len] ? argv[0] + len + 1 : NULL;
		int took = 1;

		if (strlen(options->name) != len || strncmp(argv[0], options->name, len))
			continue;
		if (options->flag) {
			if (value)
				break;
			*options->flag = true;
			return 1;
		}
		if (!value && left > 1) {
			value = argv[1];
			took = 2;
		}
		return take_number(options->name, value, options->number) ? -1 : took;
	}
	cli_error("option %s is not known; see uploadfs %s --help", argv[0], cli_name);
	return -1;
}

int cli_args(int argc, char **argv, const char *help, const struct cli_option *options,
	     const char **words, size_t max, size_t *ret_count)
{
	bool no_more = false;

	*ret_count = 0;
	for (int i = 1; i < argc;) {
		const char *arg = argv[i];
		int took = 1;

		if (no_more || arg[0] != '-' || !arg[1]) {
			if (*ret_count >= max) {
				cli_error("there is an argument too many: %s; see uploadfs %s "
					  "--help",
					  arg, cli_name);
				return -1;
			}
			words[(*ret_count)++] = arg;
		} else if (!strcmp(arg, "--")) {
			no_more = true;
		} else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			fputs(help, stdout);
			return 1;
		} else {
			took = take_option(options, argv + i, argc - i);
		}
		if (took < 0)
			return -1;
		i += took;
	}
	return 0;
}
