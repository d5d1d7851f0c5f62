/*
 * names: File name <-> directory entry. Pure functions, any thread.
 *
 * A File's filename is any string; '/' in it makes directories. What no
 * directory can hold is shown percent-encoded and never escapes its directory.
 * Encoding need not be reversible: an entry stands for its File by id, and two
 * Files that would be shown alike are told apart like duplicates. What a user
 * creates is sent as it is.
 */
#ifndef UPLOADFS_FS_TREE_NAMES_H
#define UPLOADFS_FS_TREE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/base/buf.h"

#define NAMES_MAX 255	    /* bytes of one entry's name */
#define NAMES_DEPTH_MAX 64  /* directories of one File's path; deeper '/' are encoded */
#define NAMES_PATH_MAX 3072 /* bytes of the whole path; a longer one is cut */

/*
 * Append the path under which a File is shown, below its purpose directory: components of
 * 1..NAMES_MAX bytes joined by '/', none of them "." or "..", no control bytes, valid UTF-8 only
 * (other bytes are encoded as %XX, JSON_NUL as %00), empty components shown as an encoded slash
 * ("a//b" -> "a/%2Fb", "/a" -> "%2Fa", "a/" -> "a%2F"), "" as "%". A component that is too long
 * keeps its beginning and
 * its ending (".jsonl", when short) with "~FILE_ID" between them or behind, cut at a character
 * border; so does the component that ends a path that is too long. ".by-id" and ".uploadfs" as the
 * first component get their dot encoded. Control bytes are C0, DEL and C1 (U+0080..U+009F). Any
 * other name that names_check_new() accepts is shown as it is. Appends to ret all or nothing: 0,
 * -ENOMEM, -EMSGSIZE (ret is full).
 */
int names_path(const char *filename, const char *file_id, struct buf *ret);
/*
 * Return the length of a filename that names_path() surely shows as it is, in one component. 0: it
 * may not; only simple names, which nearly all are, are recognized.
 */
size_t names_plain(const char *filename);

/*
 * Write file_id as a name: other bytes than [A-Za-z0-9._-] and a dot in front as %XX; a long one
 * ends with a hash.
 */
void names_id(const char *file_id, char ret[NAMES_MAX + 1]);
/* Write the id that name stands for to ret, which has room for name: each %XX but %00 as a byte. */
void names_id_decode(const char *name, char *ret);

/*
 * Write "NAME~FILE_ID" to ret, the id encoded as names_id() does; cut NAME at a character border so
 * that all fits NAMES_MAX.
 */
void names_duplicate(const char *name, const char *file_id, char ret[NAMES_MAX + 1]);

/*
 * True if name is a temporary name of rsync, ".NAME.XXXXXX" with six letters or digits; ret is then
 * NAME.
 */
bool names_temporary(const char *name, char ret[NAMES_MAX + 1]);

/*
 * May a user create `name`? 0, -EINVAL (control bytes, not UTF-8, "/", ".", "..", ""),
 * -ENAMETOOLONG. The caller refuses names reserved in its directory.
 */
int names_check_new(const char *name);

/* Purposes that the API accepts for Uploads, in listing order; NULL-terminated. */
extern const char *const names_purposes[];
bool names_purpose_writable(const char *purpose);
/*
 * Write a purpose from the server as a directory name: like the first component of names_path(),
 * but simply cut when too long, and with '/' encoded.
 */
void names_purpose_dir(const char *purpose, char ret[NAMES_MAX + 1]);

#endif
