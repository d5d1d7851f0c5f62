/* doctor_fstab: the lines of /etc/fstab that mount uploadfs. One thread. */
#ifndef UPLOADFS_FS_CLI_DOCTOR_FSTAB_H
#define UPLOADFS_FS_CLI_DOCTOR_FSTAB_H

/* A line of fstab as a command line. */
struct doctor_line {
	char *source, *options; /* owned */
	char **argv;		/* the array is owned, its strings are not; NULL: no such line */
	int argc;
	char *mountpoint; /* owned */
};

/*
 * If argv has a MOUNTPOINT and no SOURCE, fill in both source and options from the mountpoint's
 * line in fstab, a file like /etc/fstab. Options of argv go before those of the line. The caller
 * releases ret; argv outlives it.
 */
void cli_doctor_line(const char *fstab, int argc, char **argv, struct doctor_line *ret);
void cli_doctor_line_free(struct doctor_line *l);
/*
 * Report whether mount(8) and the next boot would make the mounts of fstab's uploadfs lines, or
 * only the mount at mountpoint unless that is NULL.
 */
void cli_doctor_fstab(const char *fstab, const char *mountpoint);

#endif
