/*
 * data: a staged file's descriptor. Opened at the first use, closed when the file is at rest, so
 * that files which only wait hold none.
 */
#ifndef UPLOADFS_FS_STAGE_DATA_H
#define UPLOADFS_FS_STAGE_DATA_H

struct staged;

/* Return the descriptor, which stays open until staged_unpin(), or negative errno. */
int staged_pin(struct staged *st);
void staged_unpin(struct staged *st);
/* Return the descriptor, or negative errno. Under st->lock. */
int staged_fd_locked(struct staged *st);

#endif
