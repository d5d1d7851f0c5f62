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
	const char *dir;       /* storage directory, created 0700 if missing; NULL: sink */
	const char *listen;    /* as server_parse_listen() takes it; NULL: 127.0.0.1:0 */
	const char *key;       /* NULL or "": any key is accepted */
	unsigned upload_ttl_s; /* 0: that of the flavor */
	unsigned latency_ms;   /* added before each reply */
	bool no_range;	       /* send contents whole, ignoring Range */
	enum flavor flavor;    /* the service to play */
	uint64_t rate;	       /* bytes per second and connection, both ways; 0: no limit */
	/* For tests: both or none. faults is a JSON file of rules, fault_hook &fault_rules. */
	const char *faults;
	const struct fault_hook *fault_hook;
	const char *journal; /* append one JSON line per request here; or NULL */
	/*
	 * A sink, for measuring clients: it counts and forgets bytes and computes no MD5; Files
	 * live in memory and read as zeros. It starts with this many Files.
	 */
	size_t sink_files;
	uint64_t sink_file_bytes;
};

struct endpoint;
struct server;

/*
 * Take "ADDR:PORT", "[ADDR]:PORT", "localhost:PORT", ":PORT" or "PORT"; without a port any free
 * one. 0, or as endpoint_parse(); a unix socket is -EINVAL.
 */
int server_parse_listen(const char *text, struct endpoint *ret);
/*
 * Start a server. 0, or a negative errno after a log line with the reason: -EBUSY (another server
 * has the directory), -EACCES (not a loopback address, and no key), -EINVAL (bad address or fault
 * rules), -EADDRINUSE, … Strings are copied. Blocks on the disk.
 */
int server_start(const struct server_opts *opts, struct server **ret);
/* Return "http://127.0.0.1:PORT/v1" (azure: /openai/v1); valid until server_stop(). */
const char *server_url(const struct server *srv);
/* Stop accepting, cut connections, join the threads. NULL is a no-op. */
void server_stop(struct server *srv);

#endif
