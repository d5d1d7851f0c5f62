/* journal: see journal.h. */
#include "net/server/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/base/json.h"
#include "net/base/log.h"

int journal_open(const char *path, int *ret_fd)
{
	/* A FIFO needs a reader, and is not waited for: not by requests, either. */
	int fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static void add_id(struct json_writer *w, const char *key, const char *id)
{
	json_w_str(w, key, *id ? id : NULL);
}

void journal_write(int fd, const struct journal_entry *e)
{
	struct json_writer w;
	struct buf line;

	if (fd < 0)
		return;
	buf_init(&line, 65536);
	json_w_init(&w, &line);
	json_w_object(&w, NULL);
	json_w_u64(&w, "t_start_ms", e->t_start_ms);
	if (e->t_first_ms)
		json_w_u64(&w, "t_first_ms", e->t_first_ms);
	json_w_u64(&w, "t_end_ms", e->t_end_ms);
	json_w_str(&w, "op", e->op);
	json_w_str(&w, "method", e->method);
	json_w_str(&w, "path", e->path);
	json_w_i64(&w, "status", e->status);
	add_id(&w, "upload_id", e->upload_id);
	add_id(&w, "part_id", e->part_id);
	add_id(&w, "file_id", e->file_id);
	json_w_u64(&w, "bytes", e->bytes);
	if (e->items)
		json_w_u64(&w, "items", *e->items);
	add_id(&w, "md5", e->md5);
	json_w_str(&w, "fault", e->fault);
	json_w_u64(&w, "conn", e->conn);
	json_w_end_object(&w);
	buf_addc(&line, '\n');
	if (line.err || write(fd, line.data, line.len) != (ssize_t)line.len)
		log_error("journal: a line was lost: %s", strerror(errno));
	buf_release(&line);
}
