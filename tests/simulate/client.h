/* client: processes that use a host's mount, each with names of its own. */
#ifndef UPLOADFS_TESTS_SIMULATE_CLIENT_H
#define UPLOADFS_TESTS_SIMULATE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

void clients_reset(void);
void clients_start(void);
bool clients_ended(void);
struct sim_file;

/* A File was made or deleted by another host. */
void clients_stranger_came(const struct sim_file *f);
void clients_host_died(unsigned host, bool cut);
/* After the end of all hosts. */
void clients_check_end(void);
uint64_t clients_operations(void);

#endif
