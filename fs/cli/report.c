#include "fs/cli/report.h"

#include <stdarg.h>
#include <stdio.h>

#include "fs/cli/cli.h"

static bool sick;

static void say(const char *word, const char *fmt, va_list ap)
{
	char text[2048];

	vsnprintf(text, sizeof(text), fmt, ap);
	printf("%-5s  %s\n", word, cli_clean(text));
	fflush(stdout);
}

void cli_report_well(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("ok", fmt, ap);
	va_end(ap);
}

void cli_report_ill(const char *fmt, ...)
{
	va_list ap;

	sick = true;
	va_start(ap, fmt);
	say("WRONG", fmt, ap);
	va_end(ap);
}

bool cli_report_found_ill(void)
{
	return sick;
}
