/*
 * model: what the oracle knows: each content that a client has written, and what each name may be
 * now, and may be after a power cut.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_MODEL_H
#define UPLOADFS_TESTS_SIMULATE_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/simulate/service.h"

/* A file's content as it shall be at its close; 0 is no file. */
struct version {
	unsigned nr, host;
	unsigned char *data;
	size_t len, base; /* base: of another version's File, which it begins with */
	bool closing; /* its close was asked, and all was written: a File of it may come to be */
	bool closed;  /* the close was 0 */
	bool renamed; /* that makes new Files of it */
};

struct version *version_new(unsigned host, const struct version *base, size_t more);
struct version *version_at(unsigned nr);
/* The version of exactly these bytes; NULL: none. */
struct version *version_of(const unsigned char *data, size_t len);
void model_reset(void);

/* The first min bytes of a version, and perhaps more of it, up to max; loose: or anything. */
struct may {
	unsigned nr;
	size_t min, max;
	bool loose;
};

#define MAYS 32
struct mays {
	struct may v[MAYS];
	unsigned n;
	bool all; /* too many to tell */
};

void mays_only(struct mays *m, unsigned nr, size_t min, size_t max, bool loose);
void mays_add(struct mays *m, unsigned nr, size_t min, size_t max, bool loose);
void mays_join(struct mays *m, const struct mays *more);
/* The Files that the service has by that name, but those of a version (0: all). */
void mays_add_files(struct mays *m, const char *filename, unsigned but);
bool mays_has(const struct mays *m, unsigned nr);
/* Where len bytes fit; -1: nowhere. data NULL: there is no file. */
int mays_find(const struct mays *m, const unsigned char *data, size_t len);
void mays_text(const struct mays *m, char *ret, size_t size);

/* client.c: the names of all clients. False: f is what some name certainly is. */
bool names_can_lose(const struct sim_file *f, unsigned host);
/* True: f, which host did not make, is or was what a name of that host stands for. */
bool names_can_doom(struct sim_file *f, unsigned host);
/* True: host renames or has renamed a File of v, which another one wrote. */
bool names_can_move(struct version *v, unsigned host);

#endif
