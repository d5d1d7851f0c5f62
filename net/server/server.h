/*
 * server: the Uploads and Files API on libmicrohttpd, storing in a directory.
 *
 * The same code runs as build/uploads-server and inside `uploadfs local:DIR`.
 * Start after any fork: it starts threads of its own. It keeps no globals, never
 * exits the process and handles no signals; the embedding process should ignore
 * SIGPIPE. Several servers may run in one process, each in its own directory.
 */
#ifndef UPLOADFS_NET_SERVER_SERVER_H
#define UPLOADFS_NET_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/server/flavor.h"

struct fault_hook; /* faults.h */

struct server_opts {
	const char *dir;	 /* where it stores; created 0700 when missing. NULL: sink */
	const char *listen_addr; /* NULL: 127.0.0.1 */
	uint16_t port;		 /* 0: any free one */
	const char *key;	 /* NULL or "": any key is accepted */
	unsigned upload_ttl_s;	 /* 0: 3600 */
	unsigned latency_ms;	 /* added before each reply */
	bool no_range;		 /* contents are sent whole whatever Range asks for */
	enum flavor flavor;	 /* which service it plays */
	uint64_t rate;		 /* bytes a second and connection, both ways; 0: no limit */
	/* For tests: both or none. faults is a JSON file of rules, fault_hook &fault_rules. */
	const char *faults;
	const struct fault_hook *fault_hook;
	const char *journal; /* one JSON line per request is appended here, or NULL */
	/*
	 * A sink, for measuring clients: bytes are counted and forgotten, no MD5 is computed or
	 * compared, Files live in memory and read as zeros. It begins with this many Files.
	 */
	size_t sink_files;
	uint64_t sink_file_bytes;
};

struct server;

/*
 * 0, or negative errno after a log line that says why: -EBUSY (another server
 * has the directory), -EACCES (not a loopback address, and no key), -EINVAL (bad
 * address or fault rules), -EADDRINUSE, … Strings are copied. Blocks on the disk.
 */
int server_start(const struct server_opts *opts, struct server **ret);
/* "http://127.0.0.1:PORT/v1" (azure: /openai/v1); valid until server_stop(). */
const char *server_url(const struct server *srv);
/* Stops accepting, cuts what is under way, joins its threads. NULL is a no-op. */
void server_stop(struct server *srv);

#endif
