/* faults: see faults.h. */
#include "net/server/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/base/json.h"
#include "net/base/log.h"

#define FILE_BYTES_MAX (1u << 20)

struct rule {
	unsigned ops;	     /* bit per enum op */
	uint64_t nth, times; /* times 0: for ever */
	char *match;	     /* or NULL */
	uint64_t seen;
	struct fault fault;
};

struct faults {
	char *path;
	pthread_mutex_t lock;
	/* ---- lock ---- */
	struct buf text; /* the text the rules were parsed from */
	struct rule *rules;
	size_t count;
	bool complained; /* the file's present content was complained about */
};

static const char *const action_names[FAULT_ACTIONS] = {
	"status",   "reset",	   "stall",	   "drop",	"truncate", "invalid_json",
	"wrong_id", "wrong_bytes", "wrong_status", "leave_out", "delay",    "no_range",
};

static const char *const when_names[] = { "before", "during", "after" };

static const char *const known_keys[] = { "op",	     "nth",    "times",	      "match",	 "action",
					  "when",    "status", "headers",     "body",	 "code",
					  "message", "type",   "after_bytes", "seconds", "ms",
					  "value",   "bytes",  "names",	      "comment", NULL };

static void fault_release(struct fault *fault)
{
	size_t i;

	for (i = 0; i < fault->header_count; i++) {
		free(fault->headers[i].name);
		free(fault->headers[i].value);
	}
	free(fault->headers);
	free(fault->body);
	free(fault->code);
	free(fault->message);
	free(fault->type);
	free(fault->value);
	for (i = 0; fault->names && fault->names[i]; i++)
		free(fault->names[i]);
	free(fault->names);
}

static void fault_free(struct fault *fault)
{
	fault_release(fault);
	free(fault);
}

static void rules_free(struct rule *rules, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		fault_release(&rules[i].fault);
		free(rules[i].match);
	}
	free(rules);
}

static int copy_str(const char *s, char **ret)
{
	*ret = s ? strdup(s) : NULL;
	return s && !*ret ? -ENOMEM : 0;
}

static int copy_names(char *const *names, char ***ret)
{
	size_t i, count = 0;
	int err = 0;

	*ret = NULL;
	if (!names)
		return 0;
	while (names[count])
		count++;
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (i = 0; i < count && !err; i++)
		err = copy_str(names[i], &(*ret)[i]);
	return err;
}

/* A deep copy, into a zeroed struct that the caller releases in any case. */
static int fault_copy(const struct fault *src, struct fault *dst)
{
	size_t i;
	int err;

	*dst = *src;
	dst->headers = calloc(src->header_count + 1, sizeof(*dst->headers));
	dst->header_count = dst->headers ? src->header_count : 0;
	err = dst->headers ? 0 : -ENOMEM;
	for (i = 0; i < dst->header_count; i++) {
		err |= copy_str(src->headers[i].name, &dst->headers[i].name);
		err |= copy_str(src->headers[i].value, &dst->headers[i].value);
	}
	err |= copy_str(src->body, &dst->body);
	err |= copy_str(src->code, &dst->code);
	err |= copy_str(src->message, &dst->message);
	err |= copy_str(src->type, &dst->type);
	err |= copy_str(src->value, &dst->value);
	err |= copy_names(src->names, &dst->names);
	return err ? -ENOMEM : 0;
}

/* The index of a word in a list of n, or -1. */
static int word(const char *s, const char *const *list, int n)
{
	int i;

	for (i = 0; s && i < n; i++) {
		if (!strcmp(s, list[i]))
			return i;
	}
	return -1;
}

static int parse_op(const struct json *j, unsigned *ret)
{
	const char *s = json_str(j);
	unsigned i;

	if (s && !strcmp(s, "any")) {
		*ret = ~0u;
		return 0;
	}
	for (i = 0; s && i < OP_COUNT; i++) {
		if (!strcmp(s, route_op_name((enum op)i))) {
			*ret = 1u << i;
			return 0;
		}
	}
	return -EINVAL;
}

/* An optional number. */
static int parse_u64(const struct json *rule, const char *key, uint64_t *ret)
{
	const struct json *j = json_get(rule, key);

	return j ? json_u64(j, ret) : 0;
}

static int parse_str(const struct json *rule, const char *key, char **ret)
{
	const struct json *j = json_get(rule, key);

	if (!j)
		return 0;
	return json_is_string(j) ? copy_str(json_str(j), ret) : -EINVAL;
}

static int parse_headers(const struct json *obj, struct fault *fault)
{
	const struct json *m;
	int err = 0;

	if (!obj)
		return 0;
	if (!json_is_object(obj))
		return -EINVAL;
	fault->headers = calloc(json_len(obj) + 1, sizeof(*fault->headers));
	if (!fault->headers)
		return -ENOMEM;
	for (m = json_first(obj); m && !err; m = json_next(m)) {
		struct fault_header *h = &fault->headers[fault->header_count++];

		err = json_is_string(m) ? copy_str(json_str(m), &h->value) : -EINVAL;
		if (!err)
			err = copy_str(json_key(m), &h->name);
	}
	return err;
}

static int parse_names(const struct json *list, struct fault *fault)
{
	const struct json *m;
	size_t n = 0;
	int err = 0;

	if (!list)
		return 0;
	if (!json_is_array(list))
		return -EINVAL;
	fault->names = calloc(json_len(list) + 1, sizeof(*fault->names));
	if (!fault->names)
		return -ENOMEM;
	for (m = json_first(list); m && !err; m = json_next(m))
		err = json_is_string(m) ? copy_str(json_str(m), &fault->names[n++]) : -EINVAL;
	return err;
}

/* "seconds" may be a fraction; "ms" is whole. */
static int parse_time(const struct json *rule, struct fault *fault)
{
	const struct json *seconds = json_get(rule, "seconds");

	fault->ms = fault->action == FAULT_STALL ? UINT64_MAX : 0;
	if (seconds) {
		if (json_num(seconds, -1) < 0 || json_num(seconds, -1) > 1e9)
			return -EINVAL;
		fault->ms = (uint64_t)(json_num(seconds, 0) * 1000);
	}
	return parse_u64(rule, "ms", &fault->ms);
}

static int parse_fault(const struct json *rule, struct fault *fault)
{
	const struct json *when = json_get(rule, "when"), *status = json_get(rule, "status");
	int i = word(json_get_str(rule, "action"), action_names, FAULT_ACTIONS), err;
	uint64_t code = 503;

	if (i < 0)
		return -EINVAL;
	fault->action = (enum fault_action)i;
	fault->name = action_names[i];
	i = when ? word(json_str(when), when_names, 3) : FAULT_BEFORE;
	if (i < 0)
		return -EINVAL;
	fault->when = (enum fault_when)i;
	fault->after_bytes = FAULT_HALF;
	fault->has_bytes = json_get(rule, "bytes");
	err = status ? json_u64(status, &code) : 0;
	if (!err && (code < 200 || code > 599))
		err = -EINVAL;
	fault->status = (int)code;
	if (!err)
		err = parse_headers(json_get(rule, "headers"), fault);
	if (!err)
		err = parse_names(json_get(rule, "names"), fault);
	if (!err)
		err = parse_time(rule, fault);
	if (!err)
		err = parse_u64(rule, "after_bytes", &fault->after_bytes);
	if (!err)
		err = parse_u64(rule, "bytes", &fault->bytes);
	return err;
}

static int parse_texts(const struct json *rule, struct rule *ret)
{
	int err = parse_str(rule, "match", &ret->match);

	if (!err)
		err = parse_str(rule, "body", &ret->fault.body);
	if (!err)
		err = parse_str(rule, "code", &ret->fault.code);
	if (!err)
		err = parse_str(rule, "message", &ret->fault.message);
	if (!err)
		err = parse_str(rule, "type", &ret->fault.type);
	if (!err)
		err = parse_str(rule, "value", &ret->fault.value);
	return err;
}

static int parse_rule(const struct json *j, struct rule *ret)
{
	const struct json *m;
	int err;

	/* A misspelt key would make a test pass for the wrong reason. */
	for (m = json_first(j); m; m = json_next(m)) {
		if (word(json_key(m), known_keys, sizeof(known_keys) / sizeof(*known_keys) - 1) < 0)
			return -EINVAL;
	}
	ret->nth = 1;
	ret->times = 1;
	err = parse_op(json_get(j, "op"), &ret->ops);
	if (!err)
		err = parse_u64(j, "nth", &ret->nth);
	if (!err)
		err = parse_u64(j, "times", &ret->times);
	if (!err && !ret->nth)
		err = -EINVAL;
	if (!err)
		err = parse_fault(j, &ret->fault);
	return err ? err : parse_texts(j, ret);
}

/* Replace the rules by those of the text. An error keeps the old rules. */
static int rules_parse(struct faults *f, const struct buf *text)
{
	const struct json *m;
	struct json *j;
	struct rule *rules;
	size_t n = 0;
	int err = json_parse(buf_str(text), text->len, &j);

	if (err)
		return err;
	err = json_is_array(j) ? 0 : -EINVAL;
	rules = calloc(json_len(j) + 1, sizeof(*rules));
	if (!rules)
		err = -ENOMEM;
	for (m = json_first(j); m && !err; m = json_next(m))
		err = json_is_object(m) ? parse_rule(m, &rules[n++]) : -EINVAL;
	json_free(j);
	if (err) {
		if (rules)
			rules_free(rules, n);
		return err;
	}
	rules_free(f->rules, f->count);
	f->rules = rules;
	f->count = n;
	return 0;
}

static int read_text(const char *path, struct buf *text)
{
	char chunk[4096];
	ssize_t n;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat sb;

	if (fd < 0)
		return errno == ENOENT ? buf_adds(text, "[]") : -errno;
	/* It is read at each request: nothing that waits, or is read only once. */
	if (fstat(fd, &sb) < 0)
		err = -errno;
	else if (!S_ISREG(sb.st_mode))
		err = -EINVAL;
	while (!err && (n = read(fd, chunk, sizeof(chunk))) != 0)
		err = n < 0 ? -errno : buf_add(text, chunk, (size_t)n);
	close(fd);
	return err;
}

/* Load a changed file. Under lock. */
static int refresh(struct faults *f)
{
	struct buf text;
	int err;

	buf_init(&text, FILE_BYTES_MAX);
	err = read_text(f->path, &text);
	if (!err && text.len == f->text.len && !memcmp(buf_str(&text), buf_str(&f->text), text.len))
		goto out;
	if (!err)
		err = rules_parse(f, &text);
	if (err && !f->complained)
		log_error("fault rules %s: %s; the former rules stay in force", f->path,
			  strerror(-err));
	f->complained = err != 0;
	if (!err) {
		buf_release(&f->text);
		f->text = text;
		return 0;
	}
out:
	buf_release(&text);
	return err;
}

static void faults_close(struct faults *f)
{
	if (f->rules)
		rules_free(f->rules, f->count);
	buf_release(&f->text);
	pthread_mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

static int faults_open(const char *path, struct faults **ret)
{
	struct faults *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	buf_init(&f->text, FILE_BYTES_MAX);
	f->path = strdup(path);
	err = f->path ? refresh(f) : -ENOMEM;
	if (err)
		faults_close(f);
	else
		*ret = f;
	return err;
}

/* Match whole components of the path: hexadecimal digits would match an id by chance. */
static bool names_part_of(const char *path, const char *text)
{
	size_t len = strlen(text);

	for (const char *at = path; (at = strstr(at, text)); at++)
		if ((at == path || at[-1] == '/') && (!at[len] || at[len] == '/'))
			return true;
	return false;
}

static bool matches(const struct rule *rule, enum op op, const char *path, const char *filename)
{
	if (!(rule->ops >> op & 1))
		return false;
	return !rule->match || (filename && strstr(filename, rule->match)) ||
	       names_part_of(path, rule->match);
}

static struct fault *faults_pick(struct faults *f, enum op op, const char *path,
				 const char *filename)
{
	struct fault *fault = NULL;
	size_t i;

	pthread_mutex_lock(&f->lock);
	refresh(f);
	for (i = 0; i < f->count; i++) {
		struct rule *rule = &f->rules[i];

		if (!matches(rule, op, path, filename))
			continue;
		rule->seen++;
		if (fault || rule->seen < rule->nth ||
		    (rule->times && rule->seen >= rule->nth + rule->times))
			continue;
		fault = calloc(1, sizeof(*fault));
		if (fault && fault_copy(&rule->fault, fault)) {
			fault_free(fault);
			fault = NULL;
		}
	}
	pthread_mutex_unlock(&f->lock);
	return fault;
}

const struct fault_hook fault_rules = {
	.open = faults_open,
	.close = faults_close,
	.pick = faults_pick,
	.free = fault_free,
};
