/*
 * raw_server: answers HTTP requests with exactly the bytes a test wants.
 *
 * For what an honest server never sends. Listens on 127.0.0.1; one thread for
 * each connection. Fails the process (abort) when it cannot be set up.
 */
#ifndef UPLOADFS_TESTS_RAW_SERVER_H
#define UPLOADFS_TESTS_RAW_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_HEAD_MAX 8192

struct raw_request {
	unsigned nr;		 /* 0 for the first of the server */
	char head[RAW_HEAD_MAX]; /* request line and headers */
	size_t body_len;	 /* bytes of body that were read */
	unsigned char body_sum;	 /* xor of them */
};

struct raw_server;

/*
 * Called on the connection's thread for each request, its body read whole.
 * Writes the reply with raw_write(). Returns whether to keep the connection.
 */
typedef bool raw_handler(struct raw_server *srv, int fd, const struct raw_request *rq);

struct raw_server *raw_start(raw_handler *handler, void *arg);
void raw_stop(struct raw_server *srv); /* cuts all connections, joins all threads */
void *raw_arg(struct raw_server *srv);
const char *raw_url(struct raw_server *srv); /* "http://127.0.0.1:PORT/v1" */
unsigned raw_port(struct raw_server *srv);
unsigned raw_requests(struct raw_server *srv); /* that came whole so far */
unsigned raw_connections(struct raw_server *srv);
/* Do not read bodies: the handler runs as soon as the head is there. Before the first request. */
void raw_heads_only(struct raw_server *srv);

/* Bytes of bodies that were read so far, of whole requests and others. */
uint64_t raw_body_bytes(struct raw_server *srv);
/* The connection on which so many of them are passed is cut, once. */
void raw_cut_at(struct raw_server *srv, uint64_t bytes);

/* From now on nobody can connect; the connections there are stay. Any thread. */
void raw_refuse(struct raw_server *srv);

/* False when the peer is gone. */
bool raw_write(int fd, const char *text);
bool raw_write_n(int fd, const void *data, size_t len);
/* A whole reply with a JSON body. */
bool raw_reply(int fd, int status, const char *headers, const char *body);
/* Cuts with a reset instead of an orderly end. */
void raw_reset(int fd);
/* Waits until the peer closes or the server stops. */
void raw_wait_gone(int fd);

#endif
