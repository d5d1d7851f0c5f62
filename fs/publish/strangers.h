/*
 * strangers: Files that look like a publication's own while complete is in doubt, and are not.
 * Publisher thread.
 */
#ifndef UPLOADFS_FS_PUBLISH_STRANGERS_H
#define UPLOADFS_FS_PUBLISH_STRANGERS_H

struct publish;

/* Note that the File is not p's; the record has it while complete is in doubt. 0 or -ENOMEM. */
int publish_note_stranger(struct publish *p, const char *file_id);
/*
 * About to ask for complete or POST /files: note the Files of that name and size that are there
 * already. Does nothing while an earlier one is in doubt, since its File may be listed by now.
 */
void publish_note_strangers(struct publish *p);

#endif
