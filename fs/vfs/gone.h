/*
 * gone: Files deleted or superseded here that a listing may still name.
 */
#ifndef UPLOADFS_FS_VFS_GONE_H
#define UPLOADFS_FS_VFS_GONE_H

#include <stdbool.h>
#include <stdint.h>

struct vfs;

/* time for which listings may miss a new File (api.md, U) */
#define PUBLISH_GRACE_MS 60000

/*
 * Keep listings under way from showing a File that was deleted or superseded here. Under lock.
 * Without memory the File may show once more.
 */
void vfs_note_gone(struct vfs *s, const char *file_id);
bool vfs_is_gone(struct vfs *s, const char *file_id); /* noted and not expired; under lock */
/*
 * Remove the entry that a listing gave the File before the reply about it came: the service made or
 * deleted it for a file of ours. An entry with a local side stays. Under lock.
 */
void vfs_forget_listed(struct vfs *s, const char *file_id);
void vfs_forget_gone(struct vfs *s);			 /* forget all notes */
void vfs_forget_gone_until(struct vfs *s, uint64_t now); /* forget the expired notes; under lock */
/*
 * True if file_id is overwritten here and about to be deleted. Under lock, while a listing is
 * applied.
 */
bool vfs_is_superseded(struct vfs *s, const char *file_id);
/* Delete a File no inode refers to; log failures. Not under lock. */
void vfs_delete_unwanted(struct vfs *s, const char *file_id);

#endif
