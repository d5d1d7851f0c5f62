/*
 * service: the Files API of the simulation. A call is sent by its daemon's network coroutine, done
 * when the world picks it, and answered, or its answer is lost.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_SERVICE_H
#define UPLOADFS_TESTS_SIMULATE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_file {
	struct sim_file *next;
	char id[24], upload[24];
	char *filename;
	unsigned char *data;
	size_t len;
	int64_t created_at;
	uint64_t made_ms;
	unsigned maker; /* host */
	bool deleted;
	unsigned deleter;
	unsigned listed; /* hosts that had it in a list, a bit each */
	unsigned doomed; /* hosts that may delete what is not theirs: it stood for a name */
	bool astray;	 /* its maker got no answer, or the answer to its deletion was a failure */
};

void service_reset(void);
bool service_step(void);	      /* one call is done; false: none waits */
bool service_waits(void);	      /* a call waits to be done */
bool service_busy(void);	      /* any call is under way */
void service_calm(void);	      /* no more faults; completes that go on alone are done */
void service_forget(unsigned host);   /* a daemon was killed; what it asked for may still be done */
struct sim_file *service_files(void); /* the oldest first, deleted ones too */
bool service_shows(const struct sim_file *f);
unsigned service_uploads_pending(void);
/* Not checked: for what no daemon makes. data stays the caller's. */
struct sim_file *service_add_file(const char *filename, unsigned char *data, size_t len,
				  unsigned maker);
/* Name and size of the Upload that is pending, nth modulo their number; NULL: none. */
const char *service_upload_at(unsigned nth, size_t *ret_len);
/* True if host made an Upload of that name and size in that second. */
bool service_has_twin(const struct sim_file *f, unsigned host);

/* check.c */
void check_made(const struct sim_file *f);
void check_deleted(struct sim_file *f);

#endif
