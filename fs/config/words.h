/* words: the options behind -o, in one table. Start-up only, one thread. */
#ifndef UPLOADFS_FS_CONFIG_WORDS_H
#define UPLOADFS_FS_CONFIG_WORDS_H

struct opts_draft;

/*
 * Take one argument of -o: options with commas between them; "\," is a comma inside a value. 0, or
 * a negative errno (-EINVAL after a message).
 */
int opts_words(struct opts_draft *d, const char *text);
/* Take one option, "NAME" or "NAME=VALUE"; commas and backslashes are plain characters. */
int opts_word(struct opts_draft *d, const char *text);

#endif
