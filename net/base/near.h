/* near: the known word that a mistyped one is most like. Pure, any thread. */
#ifndef UPLOADFS_NET_BASE_NEAR_H
#define UPLOADFS_NET_BASE_NEAR_H

#include <limits.h>

#define NEAR_MAX 64 /* longer words, in bytes, are like none */
#define NEAR_FAR UINT_MAX

/* Levenshtein's distance, case ignored, NEAR_FAR if the words are too unlike for a typing error. */
unsigned near_distance(const char *typed, const char *word);
/* The nearest word of a list that NULL ends, or NULL. */
const char *near_word(const char *typed, const char *const *list);

#endif
