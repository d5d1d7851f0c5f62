/*
 * blockid: the second id of a Part on Azure, azure_block_id: the base64 of the bytes that the
 * hexadecimal digits of the Part's id stand for. Its description lists it in the reply to a Part,
 * and gives such ids to complete. Pure, any thread.
 */
#ifndef UPLOADFS_NET_SERVER_BLOCKID_H
#define UPLOADFS_NET_SERVER_BLOCKID_H

#include "net/server/model.h"

#define BLOCK_ID_SIZE 25 /* of 16 bytes, with NUL */

/* Make the block id of a Part. 0, or -EINVAL (not an id of a Part). */
int block_id_of(const char *part_id, char ret_block[BLOCK_ID_SIZE]);
/* Make the id of the Part. 0, or -EINVAL (not a block id). */
int block_id_part(const char *block, char ret_part_id[ID_SIZE]);

#endif
