/* doctor_state: the doctor's check of the state directory. One thread. */
#ifndef UPLOADFS_FS_CLI_DOCTOR_STATE_H
#define UPLOADFS_FS_CLI_DOCTOR_STATE_H

#include <stdint.h>

struct opts;

/*
 * Report where the state directory lies, its room, and the files in it that are not published. Asks
 * the daemon that has it; opens the database only under the directory's lock.
 */
void cli_doctor_state(const struct opts *o);
/* Bytes that may be staged on the disk of the state directory, which need not exist. 0 or errno. */
int cli_doctor_room(const struct opts *o, uint64_t *ret);

#endif
