#include "fs/host/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT_MAX 6000 /* a status names a path, which has at most 4096 bytes */
#define WAIT_S 5

/* "/path", or "@name" for an abstract socket. 0 and the address, or -EINVAL. */
static int make_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	if ((*name != '/' && *name != '@') || len < 2 || len >= sizeof(sa.sun_path))
		return -EINVAL;
	memcpy(sa.sun_path, name, len);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (*name == '@')
		sa.sun_path[0] = '\0';
	else
		++*ret_len;
	*ret = sa;
	return 0;
}

static int send_text(const char *text)
{
	static const struct timeval wait = { .tv_sec = WAIT_S };
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa;
	socklen_t len;
	int fd, r;

	if (!name || !*name)
		return 0;
	r = make_address(name, &sa, &len);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&sa, len) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* Keep the status on one line: a path in it may hold newlines. */
static int send_status(const char *before, const char *status)
{
	char text[TEXT_MAX];
	int at = snprintf(text, sizeof(text), "%sSTATUS=", before);

	snprintf(text + at, sizeof(text) - (size_t)at, "%s", status);
	for (char *c = text + at; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = '?';
	return send_text(text);
}

int notify_ready(const char *status)
{
	return send_status("READY=1\n", status);
}

int notify_stopping(unsigned seconds, const char *status)
{
	char before[80];

	snprintf(before, sizeof(before), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\n",
		 seconds * 1000000ULL);
	return send_status(before, status);
}
