/*
 * Shared by all requests and replies: the caller, the vfs, an entry.
 */
#include <errno.h>
#include <string.h>

#include "fs/fuse/ops_impl.h"

void ops_entry(const struct vfs_entry *e, struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = e->ino;
	ret->attr = e->st;
	ret->attr_timeout = ret->entry_timeout = e->settled ? SETTLED_S : 0;
}

void ops_reply_entry(fuse_req_t req, const struct vfs_entry *e)
{
	struct vfs *s = ops_vfs(req);
	struct fuse_entry_param p;
	uint64_t ino = e->ino;

	ops_entry(e, &p);
	/* The caller is gone: the kernel does not count this lookup. */
	if (fuse_reply_entry(req, &p) == -ENOENT)
		vfs_forget(s, ino, 1);
}

struct vfs_caller ops_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct vfs_caller){ ctx->pid, ctx->uid, ctx->gid };
}

struct vfs *ops_vfs(fuse_req_t req)
{
	return ((struct ops_context *)fuse_req_userdata(req))->vfs;
}
