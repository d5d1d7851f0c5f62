/* report: the doctor's findings, one line each on stdout. One thread. */
#ifndef UPLOADFS_FS_CLI_REPORT_H
#define UPLOADFS_FS_CLI_REPORT_H

#include <stdbool.h>

/* Print "ok     TEXT". */
void cli_report_well(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Print "WRONG  TEXT": what is wrong, and what to do. */
void cli_report_ill(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool cli_report_found_ill(void); /* True once cli_report_ill() was called. */

#endif
