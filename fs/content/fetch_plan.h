/*
 * fetch_plan: which ranges are asked for next. Under the fetcher's lock.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_PLAN_H
#define UPLOADFS_FS_CONTENT_FETCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct fetch;
struct fetch_waiters;

/* Reads that follow one another. */
struct fetch_run {
	uint64_t low;	  /* its first byte */
	uint64_t next;	  /* where its next read is expected */
	uint64_t ahead;	  /* bytes from there on that are asked for in advance */
	uint64_t read;	  /* bytes read since ahead was last judged, without those skipped */
	uint64_t skipped; /* bytes passed over since then, and not read yet */
	uint64_t come;	  /* bytes read since it began */
	uint64_t used;	  /* the number of its last read; 0: free */
};

/*
 * Notes a read of [off, end) in its run. Returns how many bytes from off on are likely to be
 * wanted: those alone, unless they continue a run.
 */
uint64_t fetch_note_read(struct fetch *ft, uint64_t off, uint64_t end);
/* Stops reading ahead until readers have gone on for a while. */
void fetch_calm_down(struct fetch *ft);
/* Returns the first byte of [start, end) that is not there; end if all are. */
uint64_t fetch_missing(const struct fetch *ft, uint64_t start, uint64_t end);
/* Returns whether the byte at off is on its way, and near. */
bool fetch_served(const struct fetch *ft, uint64_t off);
/* Moves the waiters that no request serves to ret. */
void fetch_take_unserved(struct fetch *ft, struct fetch_waiters *ret);
/*
 * Starts the requests that the waiters need, then those that read ahead. 0, or a negative errno
 * if one could not be started; its waiter stays unserved.
 */
int fetch_pump(struct fetch *ft);
/* Starts only requests that read ahead. */
void fetch_pump_ahead(struct fetch *ft);

#endif
