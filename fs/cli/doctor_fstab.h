/*
 * cli_doctor: what the files of the doctor share: a line for each finding, to
 * stdout. One thread.
 */
#ifndef UPLOADFS_FS_CLI_DOCTOR_H
#define UPLOADFS_FS_CLI_DOCTOR_H

void cli_doctor_well(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Something that has to be done, and what: the exit status tells that there was such a line. */
void cli_doctor_ill(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What the line of a mountpoint would be mounted with, as a command line. */
struct doctor_line {
	char *source, *options; /* owned */
	char **argv;		/* owned, but not what it points to; NULL: there is no such line */
	int argc;
	char *mountpoint; /* owned */
};

/*
 * A command line that has just a MOUNTPOINT, no SOURCE: with both from its line in a file like
 * /etc/fstab. The options that argv has itself go before those of the line.
 */
void cli_doctor_line(const char *fstab, int argc, char **argv, struct doctor_line *ret);
void cli_doctor_line_free(struct doctor_line *l);
/*
 * The lines of a file like /etc/fstab that mount uploadfs, or the one for that mountpoint if it
 * isn't NULL: would mount(8) and the next start of the host make it?
 */
void cli_doctor_fstab(const char *fstab, const char *mountpoint);

#endif
