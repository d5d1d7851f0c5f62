/*
 * gone: Files that are on their way out.
 */
#ifndef UPLOADFS_FS_VFS_GONE_H
#define UPLOADFS_FS_VFS_GONE_H

#include <stdbool.h>
#include <stdint.h>

struct vfs;

/* a new File may be missing from listings for a while (api.md, U) */
#define PUBLISH_GRACE_MS 60000

/*
 * A File that was deleted or superseded here: a listing that was on its way at
 * that time must not bring it back. Under lock; without memory it may.
 */
void vfs_note_gone(struct vfs *s, const char *file_id);
bool vfs_is_gone(struct vfs *s, const char *file_id); /* noted lately; under lock */
/*
 * Under lock: an entry of its own that a listing gave that File, which the service
 * made for a file of ours, or deleted for one, before we heard of it. Not one
 * with a local side.
 */
void vfs_forget_listed(struct vfs *s, const char *file_id);
void vfs_forget_gone(struct vfs *s);			 /* all of them */
void vfs_forget_gone_until(struct vfs *s, uint64_t now); /* those whose time is over; under lock */
/* True if file_id is overwritten here and to be deleted. Under lock, while a listing is applied. */
bool vfs_is_superseded(struct vfs *s, const char *file_id);
/* Deletes a File nobody asked for; what comes of it is logged. Not under lock. */
void vfs_delete_unwanted(struct vfs *s, const char *file_id);

#endif
