/*
 * kernel: the kernel's side of FUSE: requests to a daemon's table of operations (fs/fuse), each on
 * a coroutine of the daemon, and their replies. A client waits in each call; errors are negative
 * errno; -ENOTCONN: the daemon died.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_KERNEL_H
#define UPLOADFS_TESTS_SIMULATE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sim_process {
	unsigned host;
	pid_t pid;
	bool killed; /* by a signal: its closes tell */
};

struct sim_handle {
	uint64_t ino, fh;
	unsigned life; /* of the daemon */
	int flags;
};

void kernel_reset(void);
void kernel_died(unsigned host); /* its requests fail with -ENOTCONN */
unsigned kernel_waiting(unsigned host);
/* A signal ends a process that waits for a reply; false: there is none. */
bool kernel_kill_one(void);

int k_lookup(struct sim_process *p, uint64_t dir, const char *name, uint64_t *ret_ino);
int k_mkdir(struct sim_process *p, uint64_t dir, const char *name, uint64_t *ret_ino);
void k_forget(struct sim_process *p, uint64_t ino, unsigned life);
int k_create(struct sim_process *p, uint64_t dir, const char *name, struct sim_handle *ret);
int k_open(struct sim_process *p, uint64_t ino, int flags, struct sim_handle *ret);
ssize_t k_write(struct sim_process *p, struct sim_handle *h, const void *buf, size_t len,
		uint64_t off);
ssize_t k_read(struct sim_process *p, struct sim_handle *h, void *buf, size_t len, uint64_t off);
int k_flush(struct sim_process *p, struct sim_handle *h);
int k_release(struct sim_process *p, struct sim_handle *h);
int k_fsync(struct sim_process *p, struct sim_handle *h);
int k_truncate(struct sim_process *p, struct sim_handle *h, uint64_t size);
/* user.upload.file_id; 0 or negative errno. */
int k_file_id(struct sim_process *p, uint64_t ino, char *ret, size_t size);
int k_unlink(struct sim_process *p, uint64_t dir, const char *name);
int k_rename(struct sim_process *p, uint64_t dir, const char *from, const char *to);

#endif
