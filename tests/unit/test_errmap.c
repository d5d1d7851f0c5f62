/* errmap: the table of docs/semantics.md, row by row, and texts that say what to do. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/remote/errmap.h"
#include "net/api/api.h"

#define ALL ((enum errmap_call) - 1)

struct row {
	enum api_err_kind kind;
	int status, local;
	const char *code, *message;
	enum errmap_call call; /* or ALL */
	int want;
};

static const struct row rows[] = {
	{ API_OK, 0, 0, "", "", ALL, 0 },
	{ API_ERR_HTTP, 401, 0, "invalid_api_key", "Incorrect API key provided", ALL, -EACCES },
	{ API_ERR_HTTP, 401, 0, "", "Missing scopes: api.files.write", ALL, -EACCES },
	{ API_ERR_HTTP, 403, 0, "unsupported_country_region_territory", "", ALL, -EACCES },
	{ API_ERR_HTTP, 407, 0, "", "", ALL, -EACCES },
	{ API_ERR_HTTP, 400, 0, "", "Not allowed to download files of purpose: user_data",
	  ERRMAP_READ, -EACCES },
	{ API_ERR_HTTP, 400, 0, "", "Not allowed to download files of purpose: user_data",
	  ERRMAP_WRITE, -EINVAL },
	{ API_ERR_HTTP, 400, 0, "", "'x' is not one of ['batch'] - 'purpose'", ALL, -EINVAL },
	{ API_ERR_HTTP, 400, 0, "", "", ALL, -EINVAL },
	{ API_ERR_HTTP, 422, 0, "", "", ALL, -EINVAL },
	{ API_ERR_HTTP, 405, 0, "", "", ALL, -EINVAL },
	{ API_ERR_HTTP, 400, 0, "", "You have exceeded your file storage quota.", ALL, -EDQUOT },
	{ API_ERR_HTTP, 400, 0, "", "File is too large.", ERRMAP_WRITE, -EFBIG },
	{ API_ERR_HTTP, 429, 0, "insufficient_quota", "", ALL, -EDQUOT },
	{ API_ERR_HTTP, 429, 0, "rate_limit_exceeded", "quota of requests", ALL, -EIO },
	{ API_ERR_HTTP, 404, 0, "", "No such File object: file-1", ERRMAP_READ, -ENOENT },
	{ API_ERR_HTTP, 404, 0, "", "No such File object: file-1", ERRMAP_DELETE, -ENOENT },
	{ API_ERR_HTTP, 404, 0, "", "Upload not found", ERRMAP_WRITE, -EINVAL },
	{ API_ERR_HTTP, 404, 0, "", "", ERRMAP_LIST, -EINVAL },
	{ API_ERR_HTTP, 413, 0, "", "", ALL, -EFBIG },
	{ API_ERR_HTTP, 408, 0, "", "", ALL, -ETIMEDOUT },
	{ API_ERR_HTTP, 409, 0, "", "", ALL, -EIO },
	{ API_ERR_HTTP, 500, 0, "", "storage quota", ALL, -EIO },
	{ API_ERR_HTTP, 501, 0, "", "", ALL, -EIO },
	{ API_ERR_HTTP, 503, 0, "", "", ALL, -EIO },
	{ API_ERR_HTTP, 302, 0, "", "", ALL, -EIO },
	{ API_ERR_HTTP, 0, 0, "", "", ALL, -EIO },
	{ API_ERR_CONNECT, 0, 0, "", "", ALL, -EHOSTUNREACH },
	{ API_ERR_TLS, 0, 0, "", "", ALL, -EHOSTUNREACH },
	{ API_ERR_TIMEOUT, 0, 0, "", "", ALL, -ETIMEDOUT },
	{ API_ERR_BAD_REPLY, 200, 0, "", "", ALL, -EIO },
	{ API_ERR_LOCAL, 0, -ENOSPC, "", "", ALL, -ENOSPC },
	{ API_ERR_LOCAL, 0, -EIO, "", "", ALL, -EIO },
	{ API_ERR_LOCAL, 0, -ENOMEM, "", "", ALL, -ENOMEM },
	{ API_ERR_LOCAL, 0, -EAGAIN, "", "", ALL, -EIO },
	{ API_ERR_LOCAL, 0, 0, "", "", ALL, -EIO },
	{ API_ERR_CANCELLED, 0, 0, "", "", ALL, -EINTR },
	{ API_ERR_CONFIG, 0, 0, "", "", ALL, -EACCES },
	{ (enum api_err_kind)99, 0, 0, "", "", ALL, -EIO },
};

static struct api_error error_of(const struct row *r)
{
	struct api_error e;

	memset(&e, 0, sizeof(e));
	e.kind = r->kind;
	e.http_status = r->status;
	e.local_errno = r->local;
	e.attempts = 1;
	snprintf(e.code, sizeof(e.code), "%s", r->code);
	snprintf(e.message, sizeof(e.message), "%s", r->message);
	return e;
}

static void test_table(void **state)
{
	struct api_error e;
	size_t i;
	int call, rc;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e = error_of(&rows[i]);
		for (call = ERRMAP_WRITE; call <= ERRMAP_DELETE; call++) {
			if (rows[i].call != ALL && (int)rows[i].call != call)
				continue;
			rc = errmap(&e, (enum errmap_call)call);
			if (rc != rows[i].want)
				print_error("row %zu call %d: %d\n", i, call, rc);
			assert_int_equal(rc, rows[i].want);
		}
	}
}

/* Whatever a server answers: never success, never EAGAIN. */
static void test_all_statuses(void **state)
{
	struct api_error e = { .kind = API_ERR_HTTP };
	int call, rc;

	(void)state;
	for (e.http_status = -1; e.http_status < 1000; e.http_status++) {
		for (call = ERRMAP_WRITE; call <= ERRMAP_DELETE; call++) {
			rc = errmap(&e, (enum errmap_call)call);
			assert_true(rc < 0);
			assert_int_not_equal(rc, -EAGAIN);
		}
	}
}

static void test_quota_by_type(void **state)
{
	struct api_error e = { .kind = API_ERR_HTTP,
			       .http_status = 429,
			       .type = "insufficient_quota" };

	(void)state;
	assert_int_equal(errmap(&e, ERRMAP_WRITE), -EDQUOT);
}

static void says(const struct api_error *e, enum errmap_call call, const char *part)
{
	char text[1024];

	errmap_text(e, call, text, sizeof(text));
	if (!strstr(text, part))
		print_error("\"%s\" lacks \"%s\"\n", text, part);
	assert_non_null(strstr(text, part));
}

static void test_text(void **state)
{
	struct api_error e = { .kind = API_ERR_HTTP,
			       .http_status = 401,
			       .attempts = 1,
			       .code = "invalid_api_key",
			       .message = "Incorrect API key provided",
			       .request_id = "req_7" };
	char text[1024];

	(void)state;
	errmap_text(&e, ERRMAP_WRITE, text, sizeof(text));
	assert_string_equal(text, "HTTP 401 invalid_api_key: Incorrect API key provided "
				  "(request req_7); check the key: -o api_key_file, "
				  "else OPENAI_API_KEY (on Azure AZURE_OPENAI_API_KEY)");
	e = (struct api_error){ .kind = API_ERR_LOCAL, .local_errno = -ENOSPC };
	says(&e, ERRMAP_WRITE, "; make room on the disk of -o state_dir");
	e = (struct api_error){ .kind = API_ERR_HTTP, .http_status = 503 };
	says(&e, ERRMAP_WRITE, "HTTP 503; nothing is lost");
	says(&e, ERRMAP_READ, "HTTP 503; try again later");
	says(&e, ERRMAP_PART, "HTTP 503; nothing is lost");
	/* On Azure. */
	snprintf(e.code, sizeof(e.code), "%s", "503");
	says(&e, ERRMAP_LIST, "HTTP 503; try");
	e = (struct api_error){ .kind = API_ERR_HTTP, .http_status = 400, .message = "No." };
	says(&e, ERRMAP_WRITE, "No.; correct the file");
	says(&e, ERRMAP_PART, "No.; check -o parallel (1 sends Parts one after the other) and -o ");
	snprintf(e.message, sizeof(e.message), "%s", "Part a is smaller than the minimum of 5 b");
	says(&e, ERRMAP_WRITE, " b; check -o parallel");
	says(&e, ERRMAP_READ, " b; the log");
	e = (struct api_error){ .kind = API_ERR_HTTP, .http_status = 413 };
	says(&e, ERRMAP_WRITE, "; split the file");
	says(&e, ERRMAP_PART, "; check -o parallel");
	e = (struct api_error){ .kind = API_ERR_HTTP, .http_status = 404 };
	says(&e, ERRMAP_LIST, "base URL");
	says(&e, ERRMAP_WRITE, "new Upload");
	says(&e, ERRMAP_READ, "removed elsewhere");
	e = (struct api_error){ .kind = API_ERR_HTTP,
				.http_status = 400,
				.message = "Not allowed to download files of purpose: evals" };
	says(&e, ERRMAP_READ, "purpose: evals; the service hands out no Files of this purpose");
	e = (struct api_error){ .kind = API_ERR_CONFIG };
	says(&e, ERRMAP_WRITE, "allow_http");
}

/* Each failure, in each call, comes with a next step; success with none. */
static void test_always_a_next_step(void **state)
{
	char text[1024];
	struct api_error e;
	size_t i;
	int call;

	(void)state;
	for (i = 1; rows[i].kind <= API_ERR_CONFIG; i++) {
		e = error_of(&rows[i]);
		for (call = ERRMAP_WRITE; call <= ERRMAP_DELETE; call++) {
			errmap_text(&e, (enum errmap_call)call, text, sizeof(text));
			assert_non_null(strstr(text, "; "));
			assert_null(strchr(text, '\n'));
		}
	}
	e = error_of(&rows[0]);
	errmap_text(&e, ERRMAP_WRITE, text, sizeof(text));
	assert_null(strstr(text, ";"));
}

/* A long message is cut, what to do is not; and no size is overrun. */
static void test_sizes(void **state)
{
	struct api_error e = { .kind = API_ERR_HTTP, .http_status = 401 };
	char text[600];
	size_t size;

	(void)state;
	memset(e.message, 'm', sizeof(e.message) - 1);
	errmap_text(&e, ERRMAP_WRITE, text, 256);
	assert_int_equal(strlen(text), 255);
	assert_non_null(strstr(text, "mmm; check the key: -o api_key_file, else "));
	for (size = 0; size < sizeof(text); size++) {
		memset(text, '#', sizeof(text));
		errmap_text(&e, ERRMAP_WRITE, text, size);
		assert_true(text[size] == '#');
		assert_true(!size || strlen(text) < size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_all_statuses),
		cmocka_unit_test(test_quota_by_type),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_always_a_next_step),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests_name("errmap", tests, NULL, NULL);
}
