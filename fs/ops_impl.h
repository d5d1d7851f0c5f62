/* ops_impl: what ops.c and ops_file.c share. Nobody else includes it. */
#ifndef UPLOADFS_FS_OPS_IMPL_H
#define UPLOADFS_FS_OPS_IMPL_H

#include "fs/ops.h"
#include "fs/super.h"

void ops_entry(const struct super_entry *e, struct fuse_entry_param *ret);
/* Replies with an entry, and takes the lookup back if nobody takes the reply. */
void ops_reply_entry(fuse_req_t req, const struct super_entry *e);
struct super_caller ops_caller(fuse_req_t req);
struct super *ops_super(fuse_req_t req);
void ops_done(void *arg, int err); /* arg: the fuse_req_t; a super_done_cb */

static inline struct handle *ops_handle(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
		  struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);

#endif
