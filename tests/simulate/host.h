/* host: the daemons: started, killed, cut off from power, ended. */
#ifndef UPLOADFS_TESTS_SIMULATE_HOST_H
#define UPLOADFS_TESTS_SIMULATE_HOST_H

#include <stdbool.h>
#include <sys/types.h>

struct sim_process;

enum host_state { HOST_DOWN, HOST_STARTING, HOST_UP, HOST_ENDING, HOST_ENDED };

void host_reset(void);
void host_start(unsigned host);
/* cut: the power, too. The state directory is what is left. */
void host_kill(unsigned host, bool cut);
void host_end(unsigned host); /* as by SIGTERM: drain, then end */
enum host_state host_state(unsigned host);
bool host_is_up(unsigned host);
bool host_drained(unsigned host);  /* after HOST_ENDED: nothing was left */
unsigned host_life(unsigned host); /* counts the starts */
void *host_context(unsigned host);

/* client.c */
const struct sim_process *host_process(pid_t pid);

#endif
