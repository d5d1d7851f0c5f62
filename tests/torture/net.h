/* net: scenes of the client library and of uploads-server; a function is a scene (torture.h). */
#ifndef UPLOADFS_TESTS_TORTURE_NET_H
#define UPLOADFS_TESTS_TORTURE_NET_H

void scene_api(void);	 /* each call of net/api once, side by side, curl's allocations included */
void scene_server(void); /* an Upload of two Parts: made, listed, read in a range, deleted */

#endif
