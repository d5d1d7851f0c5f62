/* sys: what the world asks of the system calls. */
#ifndef UPLOADFS_TESTS_SIMULATE_SYS_H
#define UPLOADFS_TESTS_SIMULATE_SYS_H

void sys_new_boot(unsigned host);	/* after a power cut */
unsigned sys_open_count(unsigned host); /* descriptors */

#endif
