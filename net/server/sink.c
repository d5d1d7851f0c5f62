/* sink: see sink.h. */
#include "net/server/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "net/server/store.h"

int sink_open(struct sink *sink, struct store *store, const char *owner, const char *id,
	      uint64_t max)
{
	sink->store = store;
	sink->bytes = 0;
	sink->max = max;
	snprintf(sink->owner, sizeof(sink->owner), "%s", owner);
	snprintf(sink->id, sizeof(sink->id), "%s", id);
	sink->fd = -1;
	return store_part_create(store, owner, id, &sink->fd);
}

int sink_write(struct sink *sink, const void *data, size_t len)
{
	const char *p = data;

	if (len > sink->max - sink->bytes)
		return -EFBIG;
	while (len) {
		ssize_t n = write(sink->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		sink->bytes += (uint64_t)n;
	}
	return 0;
}

int sink_commit(struct sink *sink)
{
	int err;

	/*
	 * Start writeback, so that the sync at complete finds most of the work done; ignore
	 * failures.
	 */
	(void)sync_file_range(sink->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	err = store_part_commit(sink->store, sink->owner, sink->id);
	if (err)
		return err;
	close(sink->fd);
	sink->fd = -1;
	return 0;
}

void sink_abort(struct sink *sink)
{
	if (sink->fd < 0)
		return;
	close(sink->fd);
	sink->fd = -1;
	store_part_remove(sink->store, sink->owner, sink->id, false);
}
