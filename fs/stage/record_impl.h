/*
 * record_impl: what the files record*.c share; below, by file. Nobody else includes it.
 */
#ifndef UPLOADFS_FS_STAGE_RECORD_IMPL_H
#define UPLOADFS_FS_STAGE_RECORD_IMPL_H

#include "fs/stage/record.h"
#include "net/base/buf.h"

#define RECORD_SIZE_MAX (16UL << 20) /* bytes of a record file */

/* record.c */

/* Adds the text of r. 0, -EINVAL (no purpose or path), -EMSGSIZE or -ENOMEM. */
int record_format(const struct record *r, struct buf *b);
/* b holds the text, which is taken apart. 0, -EBADMSG or -ENOMEM; ret is to be released. */
int record_parse(struct buf *b, struct record *ret);

#endif
