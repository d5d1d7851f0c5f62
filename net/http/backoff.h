/*
 * backoff: how long to wait before the next try. Pure functions, any thread.
 *
 * The policy is that of the official SDKs (openai-python, openai-node,
 * _calculate_retry_timeout): min(0.5 * 2^n, 8) s, less up to 25 % jitter; the
 * server's retry-after-ms or Retry-After wins when it lies in (0, 120] s.
 */
#ifndef UPLOADFS_NET_HTTP_BACKOFF_H
#define UPLOADFS_NET_HTTP_BACKOFF_H

#include <stdint.h>

#define BACKOFF_RETRY_AFTER_MAX_MS 120000

/*
 * attempt: 0 for the delay after the first failure. retry_after_ms: what the
 * server asked for, or -1. seed: any number; the same input gives the same
 * delay. Returns milliseconds.
 */
uint64_t backoff_delay_ms(unsigned attempt, int64_t retry_after_ms, uint32_t seed);

/*
 * Parses a Retry-After value: seconds (decimals allowed) or an HTTP date
 * (IMF-fixdate), relative to now_s (seconds since the epoch).
 * Returns milliseconds >= 0, or -1 when it is neither.
 */
int64_t backoff_parse_retry_after(const char *value, int64_t now_s);
/* Parses a retry-after-ms value. Returns milliseconds >= 0, or -1. */
int64_t backoff_parse_retry_after_ms(const char *value);

/*
 * Parses an HTTP date (IMF-fixdate) from 1970 on. Returns seconds since the epoch; -1: malformed.
 */
int64_t backoff_parse_date(const char *value);

#endif
