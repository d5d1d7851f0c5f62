/*
 * uploads-server, in this process: each request is answered, or its connection ends; what was
 * answered by 200 is there, after a restart as well; and the next requests succeed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/server/server.h"
#include "tests/torture/net.h"
#include "tests/torture/torture.h"

#define ID_SIZE 128

static int dial(const struct server *srv)
{
	static const struct timeval limit = { .tv_sec = 20 };
	struct sockaddr_in addr = { .sin_family = AF_INET };
	unsigned port;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(sscanf(server_url(srv), "http://127.0.0.1:%u/v1", &port) == 1);
	addr.sin_port = htons((uint16_t)port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	must(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

/* The status, or 0 if the connection ended; reply: all of it, with a NUL. */
static int ask(const struct server *srv, const char *line, const char *headers, const char *body,
	       char *reply, size_t size)
{
	char request[2048];
	int fd = dial(srv), status = 0;
	size_t len = 0;
	ssize_t n = snprintf(request, sizeof(request),
			     "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
			     "Content-Length: %zu\r\n\r\n%s",
			     line, headers, strlen(body), body);

	must(n > 0 && (size_t)n < sizeof(request));
	/* The server may close before it has read all. */
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) < 0)
		must(errno == EPIPE || errno == ECONNRESET);
	while ((n = recv(fd, reply + len, size - 1 - len, 0)) > 0)
		len += (size_t)n;
	/* Not the limit: it hangs. */
	must(n == 0 || errno == ECONNRESET);
	reply[len] = '\0';
	close(fd);
	if (sscanf(reply, "HTTP/1.1 %d ", &status) != 1)
		status = 0;
	return status;
}

static bool find_id(const char *reply, const char *prefix, char ret[ID_SIZE])
{
	const char *at = strstr(reply, prefix);
	size_t len = at ? strcspn(at, "\"") : 0;

	if (!len || len >= ID_SIZE)
		return false;
	memcpy(ret, at, len);
	ret[len] = '\0';
	return true;
}

static bool add_part(const struct server *srv, const char *upload, const char *data,
		     char ret_id[ID_SIZE])
{
	char reply[4096], line[256], body[512];

	snprintf(line, sizeof(line), "POST /v1/uploads/%s/parts", upload);
	snprintf(body, sizeof(body),
		 "--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\n"
		 "%s\r\n--b--\r\n",
		 data);
	return ask(srv, line, "Content-Type: multipart/form-data; boundary=b\r\n", body, reply,
		   sizeof(reply)) == 200 &&
	       find_id(reply, "part_", ret_id);
}

/* Makes a File of "Hello world": true if the service said so, with its id. */
static bool make_file(const struct server *srv, char ret_id[ID_SIZE])
{
	static const char create[] = "{\"filename\":\"a\",\"purpose\":\"batch\",\"bytes\":11,"
				     "\"mime_type\":\"text/plain\"}";
	char reply[4096], line[256], body[512], upload[ID_SIZE], part[2][ID_SIZE];

	if (ask(srv, "POST /v1/uploads", "", create, reply, sizeof(reply)) != 200 ||
	    !find_id(reply, "upload_", upload) || !add_part(srv, upload, "Hello ", part[0]) ||
	    !add_part(srv, upload, "world", part[1]))
		return false;
	snprintf(line, sizeof(line), "POST /v1/uploads/%s/complete", upload);
	snprintf(body, sizeof(body),
		 "{\"part_ids\":[\"%s\",\"%s\"],\"md5\":\"3e25960a79dbc69b674cd4ec67a72c62\"}",
		 part[0], part[1]);
	return ask(srv, line, "", body, reply, sizeof(reply)) == 200 &&
	       find_id(reply, "file-", ret_id);
}

static int read_file(const struct server *srv, const char *id)
{
	char reply[4096], line[256];
	int status;

	snprintf(line, sizeof(line), "GET /v1/files/%s/content", id);
	status = ask(srv, line, "Range: bytes=6-\r\n", "", reply, sizeof(reply));
	if (status == 206)
		must(strstr(reply, "\r\n\r\nworld") || !strstr(reply, "\r\n\r\n") ||
		     strlen(strstr(reply, "\r\n\r\n") + 4) < 5);
	return status;
}

static int remove_file(const struct server *srv, const char *id)
{
	char reply[4096], line[256];

	snprintf(line, sizeof(line), "DELETE /v1/files/%s", id);
	return ask(srv, line, "", "", reply, sizeof(reply));
}

static void check_file(const struct server *srv, const char *id)
{
	char reply[8192];

	must(read_file(srv, id) == 206);
	must(ask(srv, "GET /v1/files?limit=100", "", "", reply, sizeof(reply)) == 200);
	must(strstr(reply, id));
}

static struct server *start(const char *dir)
{
	struct server_opts opts = { .dir = dir };
	struct server *srv = NULL;

	must(!server_start(&opts, &srv));
	return srv;
}

void scene_server(void)
{
	char dir[200], id[ID_SIZE], other[ID_SIZE], reply[8192];
	struct server_opts opts = { .dir = dir };
	struct server *srv = NULL;
	bool made = false;
	int removed = 0;

	torture_dir(dir, sizeof(dir));
	inject_arm();
	if (server_start(&opts, &srv)) {
		inject_disarm();
		srv = start(dir);
	} else {
		made = make_file(srv, id);
		if (made) {
			read_file(srv, id);
			ask(srv, "GET /v1/files", "", "", reply, sizeof(reply));
		}
		if (make_file(srv, other))
			removed = remove_file(srv, other);
		inject_disarm();
	}
	if (made)
		check_file(srv, id);
	must(make_file(srv, reply));
	server_stop(srv);
	srv = start(dir);
	if (made)
		check_file(srv, id);
	if (removed == 200)
		must(read_file(srv, other) == 404);
	must(make_file(srv, reply));
	check_file(srv, reply);
	must(remove_file(srv, reply) == 200);
	server_stop(srv);
	torture_remove(dir);
}
