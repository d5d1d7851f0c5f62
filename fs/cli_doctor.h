/*
 * cli_doctor: what the files of the doctor share: a line for each finding, to
 * stdout. One thread.
 */
#ifndef UPLOADFS_FS_CLI_DOCTOR_H
#define UPLOADFS_FS_CLI_DOCTOR_H

void cli_doctor_well(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Something that has to be done, and what: the exit status tells that there was such a line. */
void cli_doctor_ill(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * The lines of a file like /etc/fstab that mount uploadfs, or the one for that mountpoint if it
 * isn't NULL: would mount(8) and the next start of the host make it?
 */
void cli_doctor_fstab(const char *fstab, const char *mountpoint);

#endif
