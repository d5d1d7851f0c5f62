/* scenes: what is tortured; a function is a scene (torture.h). */
#ifndef UPLOADFS_TESTS_TORTURE_SCENES_H
#define UPLOADFS_TESTS_TORTURE_SCENES_H

void scene_store(void);	    /* the store: opened, written, synced, read back */
void scene_recover(void);   /* the store and the data files of a daemon that died */
void scene_stage(void);	    /* a staged file: written, cut, punched, sealed, hashed, synced */
void scene_publish(void);   /* a File of three Parts that supersedes another */
void scene_whole(void);	    /* POST /files */
void scene_listing(void);   /* the account's Files */
void scene_fetch(void);	    /* content read, cached, evicted */
void scene_daemon(void);    /* a daemon without FUSE: its start, some requests, its end */
void scene_options(void);   /* a command line with configuration and key file */
void scene_texts(void);	    /* JSON, pages of lists, errors, URLs, names, logs */
void scene_multipart(void); /* the server's parser of forms */
void scene_client(void);    /* calls of the API to an honest server */
void scene_server(void);    /* uploads-server: its start, requests, its end */

#endif
