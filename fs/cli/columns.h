/*
 * columns: how wide a text is on a terminal. It is UTF-8, whatever the locale of
 * the user. Pure but for the locale that the first call makes. One thread.
 */
#ifndef UPLOADFS_FS_CLI_COLUMNS_H
#define UPLOADFS_FS_CLI_COLUMNS_H

/*
 * Columns that text takes, or may take: two for what is wide (CJK, emoji) and what the C library
 * does not know, none for what combines with the character before it, one for a byte that is no
 * UTF-8.
 */
unsigned columns_of(const char *text);
/* The end of what fits in width columns, with all that combines with its last character. */
const char *columns_cut(const char *text, unsigned width);
/* Where the rest of text begins that fits in width columns. */
const char *columns_tail(const char *text, unsigned width);

#endif
