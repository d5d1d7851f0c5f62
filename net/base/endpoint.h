/* endpoint: an address to listen on, from text. Pure, any thread. */
#ifndef UPLOADFS_NET_BASE_ENDPOINT_H
#define UPLOADFS_NET_BASE_ENDPOINT_H

#include <sys/socket.h>
#include <sys/un.h>

struct endpoint {
	struct sockaddr_storage addr; /* a sockaddr_un fits */
	socklen_t len;
};

/*
 * Take "ADDR:PORT", "[ADDR]:PORT", "PORT" or ":PORT" on 127.0.0.1, or "/PATH" of a unix socket.
 * Names are not resolved. 0; -EADDRNOTAVAIL: ADDR may be a name, it is no address; -EINVAL.
 */
int endpoint_parse(const char *text, struct endpoint *ret);
/*
 * Listen there; the socket is closed on exec. A unix socket that nobody listens on any more is
 * replaced; a new one has mode 0600. 0 with a descriptor, or negative errno.
 */
int endpoint_listen(const struct endpoint *e, int *ret_fd);
/* Remove the unix socket, if it is one. */
void endpoint_remove(const struct endpoint *e);

#endif
