#include "fs/cli/commands.h"

#include <string.h>
#include <sys/stat.h>

#include "fs/cli/cli.h"
#include "net/base/near.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "doctor", cli_doctor }, { "fetch", cli_fetch },   { "ls", cli_ls },
	{ "mounts", cli_mounts }, { "prune", cli_prune },   { "recover", cli_recover },
	{ "status", cli_status }, { "umount", cli_umount }, { "wait", cli_wait },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static size_t command_at(const char *word)
{
	size_t i = 0;

	while (i < COMMANDS && strcmp(commands[i].name, word))
		i++;
	return i;
}

bool cli_selects(const char *word)
{
	struct stat st;

	if (command_at(word) == COMMANDS)
		return false;
	/* A directory called `status` here is the MOUNTPOINT, not the subcommand. */
	return stat(word, &st) < 0 || !S_ISDIR(st.st_mode);
}

const char *cli_near(const char *word)
{
	const char *names[COMMANDS + 1] = { NULL };
	struct stat st;

	/* A mountpoint, or SOURCE. */
	if (strpbrk(word, "/:.-") || stat(word, &st) == 0)
		return NULL;
	for (size_t i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	return near_word(word, names);
}

int cli_run(int argc, char **argv)
{
	size_t i = command_at(argv[0]);

	if (i == COMMANDS)
		return CLI_USAGE;
	cli_name = commands[i].name;
	return commands[i].run(argc, argv);
}
