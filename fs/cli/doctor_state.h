/* doctor_state: the doctor's check of the state directory. One thread. */
#ifndef UPLOADFS_FS_CLI_DOCTOR_STATE_H
#define UPLOADFS_FS_CLI_DOCTOR_STATE_H

struct opts;

/*
 * Report where the state directory lies, its room, and the files in it that are not published. Asks
 * the daemon that has it; opens the database only under the directory's lock.
 */
void cli_doctor_state(const struct opts *o);

#endif
