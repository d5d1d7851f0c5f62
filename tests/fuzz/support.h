/*
 * support: what the fuzz targets share.
 *
 * A target is a file fuzz_NAME.c with one LLVMFuzzerTestOneInput() and seeds in
 * seeds/NAME.txt. Beside not crashing, and whatever the sanitizers see, it says
 * by must() what has to hold for any input. One thread.
 */
#ifndef UPLOADFS_TESTS_FUZZ_SUPPORT_H
#define UPLOADFS_TESTS_FUZZ_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/buf.h"

/* libFuzzer calls it with each input; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints the condition that doesn't hold and aborts, which is how libFuzzer is told. */
#define must(cond) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #cond))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

/* The input up to its first NUL as a string of just that size; to be freed. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Whether text has no C0, DEL and C1, and with utf8 whole characters only. */
bool fuzz_printable(const char *text, bool utf8);

/* A directory of this process below TMPDIR, removed when it ends; blocks on the local disk. */
const char *fuzz_dir(void);
int fuzz_dir_fd(void);
/* Makes, replaces and reads the file of that name in it. */
void fuzz_put(const char *name, const void *data, size_t len);
void fuzz_get(const char *name, struct buf *ret); /* appended */
void fuzz_remove(const char *name);		  /* one that isn't there: a no-op */

#endif
