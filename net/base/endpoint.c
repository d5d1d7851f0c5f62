#include "net/base/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 16

static int parse_path(const char *text, struct endpoint *ret)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&ret->addr;
	size_t len = strlen(text);

	if (len >= sizeof(un->sun_path))
		return -EINVAL;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, text, len + 1);
	ret->len = sizeof(*un);
	return 0;
}

static int parse_port(const char *text, in_port_t *ret)
{
	unsigned long port = 0;
	size_t len = strlen(text);

	if (!len || len > 5 || strspn(text, "0123456789") != len)
		return -EINVAL;
	port = strtoul(text, NULL, 10);
	if (port > 65535)
		return -EINVAL;
	*ret = htons((in_port_t)port);
	return 0;
}

static int parse_address(const char *text, size_t len, in_port_t port, struct endpoint *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->addr;
	struct sockaddr_in *in = (struct sockaddr_in *)&ret->addr;
	char copy[INET6_ADDRSTRLEN];
	bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (brackets) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (brackets && inet_pton(AF_INET6, copy, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
		ret->len = sizeof(*in6);
		return 0;
	}
	if (!brackets && inet_pton(AF_INET, len ? copy : "127.0.0.1", &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = port;
		ret->len = sizeof(*in);
		return 0;
	}
	return len && !strpbrk(copy, ":[]") && !brackets ? -EADDRNOTAVAIL : -EINVAL;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
	const char *colon = strrchr(text, ':');
	in_port_t port;

	memset(ret, 0, sizeof(*ret));
	if (*text == '/')
		return parse_path(text, ret);
	if (parse_port(colon ? colon + 1 : text, &port))
		return -EINVAL;
	return parse_address(text, colon ? (size_t)(colon - text) : 0, port, ret);
}

/* Remove a unix socket whose listener is gone. One that accepts nobody is not waited for. */
static void remove_stale(const struct endpoint *e)
{
	int fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)&e->addr, e->len) && errno == ECONNREFUSED)
		endpoint_remove(e);
	close(fd);
}

static int bind_to(int fd, const struct endpoint *e)
{
	int one = 1;

	if (e->addr.ss_family == AF_UNIX) {
		remove_stale(e);
		/* The name gets the mode that the socket has before bind(). */
		if (fchmod(fd, 0600))
			return -errno;
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	}
	return bind(fd, (const struct sockaddr *)&e->addr, e->len) ? -errno : 0;
}

int endpoint_listen(const struct endpoint *e, int *ret_fd)
{
	int fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = bind_to(fd, e);
	if (!r && listen(fd, BACKLOG))
		r = -errno;
	if (r)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

void endpoint_remove(const struct endpoint *e)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&e->addr;
	struct stat st;

	if (e->addr.ss_family == AF_UNIX && lstat(un->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(un->sun_path);
}
