/* Calls of the API: each has one answer, an OK has the right bytes, and the next calls succeed. */
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/api/api.h"
#include "net/base/digest.h"
#include "tests/torture/net.h"
#include "tests/torture/torture.h"
#include "tests/unit/raw_server.h"

#define BYTES 200000
#define CALLS 9
/* Faults end after a while, for a call that waits for memory. */
#define PATIENCE_MS 400

#define FILE_JSON                                                                            \
	"{\"id\":\"file_1\",\"object\":\"file\",\"bytes\":200000,\"created_at\":1700000000," \
	"\"filename\":\"a\",\"purpose\":\"batch\",\"status\":\"processed\",\"expires_at\":null}"
#define UPLOAD_JSON(status, more)                                                                \
	"{\"id\":\"upload_1\",\"object\":\"upload\",\"bytes\":200000,\"created_at\":1700000000," \
	"\"filename\":\"a\",\"purpose\":\"batch\",\"status\":\"" status                          \
	"\",\"expires_at\":1700003600" more "}"

static char bytes[BYTES];

static bool send_content(int fd)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
			 BYTES);

	return raw_write_n(fd, head, (size_t)n) && raw_write_n(fd, bytes, BYTES);
}

/* The first entry that the request line begins with. */
static bool answer(struct raw_server *srv, int fd, const struct raw_request *rq)
{
	static const struct {
		const char *line, *body;
	} replies[] = {
		{ "POST /v1/uploads/upload_1/parts",
		  "{\"id\":\"part_1\",\"object\":\"upload.part\",\"upload_id\":\"upload_1\"}" },
		{ "POST /v1/uploads/upload_1/complete",
		  UPLOAD_JSON("completed", ",\"file\":" FILE_JSON) },
		{ "POST /v1/uploads/upload_1/cancel", UPLOAD_JSON("cancelled", "") },
		{ "POST /v1/uploads", UPLOAD_JSON("pending", "") },
		{ "POST /v1/files", FILE_JSON },
		{ "GET /v1/files/file_1", FILE_JSON },
		{ "DELETE /v1/files/file_1", "{\"id\":\"file_1\",\"deleted\":true}" },
		{ "GET /v1/files", "{\"object\":\"list\",\"data\":[" FILE_JSON
				   "],\"has_more\":false,\"last_id\":\"file_1\"}" },
	};

	(void)srv;
	if (strstr(rq->head, "/content"))
		return send_content(fd);
	for (unsigned i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		if (!strncmp(rq->head, replies[i].line, strlen(replies[i].line)))
			return raw_reply(fd, 200, "", replies[i].body);
	return raw_reply(fd, 404, "", "{}");
}

struct call {
	struct api_req *req; /* NULL: it was not begun */
	atomic_uint answers;
	enum api_err_kind kind;
	uint64_t next; /* of content */
};

static void end(void *arg, const struct api_error *err, bool as_it_should)
{
	struct call *c = arg;

	must(err->kind != API_OK || as_it_should);
	c->kind = err->kind;
	atomic_fetch_add(&c->answers, 1);
}

static void on_upload(void *arg, const struct api_error *err, const struct api_upload *up)
{
	end(arg, err, up && !strcmp(up->id, "upload_1"));
}

static void on_completed(void *arg, const struct api_error *err, const struct api_upload *up)
{
	end(arg, err, up && up->has_file && !strcmp(up->file.id, "file_1"));
}

static void on_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	end(arg, err, part && !strcmp(part->id, "part_1"));
}

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	end(arg, err, file && !strcmp(file->id, "file_1") && file->bytes == BYTES);
}

static void on_done(void *arg, const struct api_error *err)
{
	end(arg, err, true);
}

static void on_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	end(arg, err, page && page->count == 1 && !strcmp(page->files[0].filename, "a"));
}

static int on_data(void *arg, uint64_t off, const void *data, size_t len)
{
	struct call *c = arg;

	must(off == c->next && off + len <= BYTES && !memcmp(data, bytes + off, len));
	c->next = off + len;
	return 0;
}

static void on_content(void *arg, const struct api_error *err, bool ranged)
{
	(void)ranged;
	end(arg, err, ((struct call *)arg)->next == BYTES);
}

static void begin(struct api *api, int fd, const char *md5, struct call c[CALLS])
{
	static const char *const parts[] = { "part_1" };
	const struct api_upload_spec spec = { "a", "batch", "text/plain", BYTES, 0 };
	const struct api_part_body part = { .fd = fd, .len = BYTES };
	const struct api_file_body file = { .fd = fd, .md5_hex = md5 };

	c[0].req = api_upload_create(api, &spec, on_upload, &c[0]);
	c[1].req = api_part_add(api, "upload_1", &part, on_part, &c[1]);
	c[2].req = api_upload_complete(api, "upload_1", parts, 1, md5, BYTES, on_completed, &c[2]);
	c[3].req = api_upload_cancel(api, "upload_1", on_upload, &c[3]);
	c[4].req = api_file_list(api, NULL, NULL, 100, true, on_page, &c[4]);
	c[5].req = api_file_get(api, "file_1", on_file, &c[5]);
	c[6].req = api_file_delete(api, "file_1", on_done, &c[6]);
	c[7].req =
		api_file_content(api, "file_1", 0, UINT64_MAX, BYTES, on_data, on_content, &c[7]);
	c[8].req = api_file_upload(api, &spec, &file, on_file, &c[8]);
}

static void use(struct api *api, int fd, const char *md5, bool all_well)
{
	struct timespec pause = { 0, 1000000 };
	struct call c[CALLS];
	unsigned ms = 0;

	memset(c, 0, sizeof(c));
	begin(api, fd, md5, c);
	for (int i = 0; i < CALLS; i++) {
		must(c[i].req || !all_well);
		while (c[i].req && !atomic_load(&c[i].answers)) {
			nanosleep(&pause, NULL);
			if (ms++ == PATIENCE_MS)
				inject_disarm();
		}
		api_req_unref(c[i].req);
	}
	for (int i = 0; i < CALLS; i++) {
		must(atomic_load(&c[i].answers) == (c[i].req ? 1 : 0));
		must(!all_well || c[i].kind == API_OK);
	}
}

void *torture_malloc(size_t n);
void *torture_calloc(size_t n, size_t size);
void *torture_realloc(void *p, size_t n);
char *torture_strdup(const char *s);

static int make_bytes(char md5[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();
	FILE *f = tmpfile();
	int fd;

	for (unsigned i = 0; i < BYTES; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	must(d && f && !digest_update(d, bytes, BYTES) && !digest_hex(d, md5));
	digest_free(d);
	fd = dup(fileno(f));
	must(fd >= 0 && pwrite(fd, bytes, BYTES, 0) == BYTES);
	fclose(f);
	return fd;
}

void scene_api(void)
{
	static bool hooked;
	struct api_config cfg = { .key = "sk-torture",
				  .user_agent = "torture",
				  .parallel = 2,
				  .connect_timeout_s = 5,
				  .idle_timeout_s = 5,
				  .retry_timeout_s = 1 };
	struct raw_server *srv;
	struct api *api = NULL;
	char md5[DIGEST_HEX_SIZE];
	int fd, err;

	if (!hooked)
		must(!curl_global_init_mem(CURL_GLOBAL_DEFAULT, torture_malloc, free,
					   torture_realloc, torture_strdup, torture_calloc));
	hooked = true;
	srv = raw_start(answer, NULL);
	fd = make_bytes(md5);
	cfg.base_url = raw_url(srv);
	inject_arm();
	err = api_new(&cfg, &api);
	must(!err == !!api);
	if (api)
		use(api, fd, md5, false);
	inject_disarm();
	if (!api)
		must(!api_new(&cfg, &api));
	use(api, fd, md5, true);
	api_free(api);
	raw_stop(srv);
	close(fd);
}
