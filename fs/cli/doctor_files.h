/*
 * doctor_files: the doctor's check of files that are to be copied into a mount. One thread.
 */
#ifndef UPLOADFS_FS_CLI_DOCTOR_FILES_H
#define UPLOADFS_FS_CLI_DOCTOR_FILES_H

struct opts;

/* The doctor's command line, with its files apart. Borrows the strings of argv. */
struct doctor_words {
	int argc; /* of a line without files */
	char **argv;
	int file_count; /* 0: the line is about a mount */
	char **files;	/* ends with NULL */
};

/*
 * Tell files from SOURCE and MOUNTPOINT: words behind SOURCE are files if there are several, or if
 * the only one exists and is no directory. 0 or -ENOMEM. Free it by cli_doctor_words_free().
 */
int cli_doctor_words(int argc, char **argv, struct doctor_words *ret);
void cli_doctor_words_free(struct doctor_words *w);

/*
 * Report each file, and those below a directory: whether a copy into a mount with these options
 * becomes a File, by its name, size, purpose and format. The purpose is that of the options, else
 * the last component of the path that names one. Reads them; sends nothing.
 */
void cli_doctor_files(const struct opts *o, char **files);

#endif
