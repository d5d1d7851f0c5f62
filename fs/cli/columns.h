/*
 * columns: the width of a text on a terminal. Texts are UTF-8 in any locale. Pure, except that the
 * first call creates a locale. One thread.
 */
#ifndef UPLOADFS_FS_CLI_COLUMNS_H
#define UPLOADFS_FS_CLI_COLUMNS_H

/*
 * The most columns that text takes: two for wide and for unknown characters, none for combining
 * ones, one for a byte that is not UTF-8.
 */
unsigned columns_of(const char *text);
/* The end of the longest start of text that fits in width columns, with combining characters. */
const char *columns_cut(const char *text, unsigned width);
/* The longest end of text that fits in width columns. */
const char *columns_tail(const char *text, unsigned width);

#endif
