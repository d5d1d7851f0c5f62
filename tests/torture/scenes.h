/* scenes: what is tortured; a function is a scene (torture.h). */
#ifndef UPLOADFS_TESTS_TORTURE_SCENES_H
#define UPLOADFS_TESTS_TORTURE_SCENES_H

void scene_store(void);	  /* the store: opened, written, synced, read back */
void scene_recover(void); /* the store and the data files of a daemon that died */
void scene_stage(void);	  /* a staged file: written, cut, punched, sealed, hashed, synced */
void scene_publish(void); /* a File of three Parts that supersedes another */
void scene_whole(void);	  /* the same by POST /files */
void scene_fetch(void);	  /* content read and cached */
void scene_texts(void);	  /* words of -o, and JSON */
void scene_vfs(void); /* a daemon: its start, files made, listed, read, moved, removed; its end */

#endif
