/*
 * list: what a server's directory holds, as one JSON document, without a server.
 *
 * {"uploads":[{id,status,filename,purpose,mime_type,bytes,created_at,expires_at,
 * file_id,parts:[{id,bytes}]}],"files":[{id,filename,purpose,bytes,created_at,
 * expires_at,upload_id,parts:[…]}]}, each oldest first. Parts are finished ones,
 * oldest first. Works beside a running server, reads only; blocks on the disk.
 */
#ifndef UPLOADFS_NET_SERVER_LIST_H
#define UPLOADFS_NET_SERVER_LIST_H

#include "net/base/buf.h"

/* 0, or negative errno (-ENOENT: not a server's directory). */
int list_directory(const char *dir, struct buf *out);

#endif
