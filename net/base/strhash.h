/*
 * strhash: hashes of strings for tables whose keys somebody else chose.
 *
 * SipHash-2-4 (Aumasson, Bernstein) under a key that is random in each process:
 * without it nobody can choose names or ids that all fall into one chain. Not
 * for what is stored or sent. Any thread, never blocks.
 */
#ifndef UPLOADFS_NET_BASE_STRHASH_H
#define UPLOADFS_NET_BASE_STRHASH_H

#include <stddef.h>
#include <stdint.h>

/* Hashes s without its NUL. */
uint64_t strhash(const char *s);
/*
 * Hashes s within a context, such as a directory's number: equal strings in different contexts get
 * different hashes.
 */
uint64_t strhash_in(uint64_t context, const char *s);

/* SipHash-2-4 itself, with the caller's key. */
uint64_t strhash_keyed(const uint64_t key[2], const void *data, size_t len);

#endif
