#include "fs/remote/errmap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/api/api.h"

#define HINT_PROXY_LOGIN                                                         \
	"the proxy wants another login: put USER:PASSWORD into a file of yours " \
	"and name it with -o proxy_auth_file"

/* Wordings of the service, seen by users; without them a 400 is just a 400. */
static int errmap_400(const struct api_error *err, enum errmap_call call)
{
	if (call == ERRMAP_READ && strcasestr(err->message, "not allowed to download"))
		return -EACCES;
	if (strcasestr(err->message, "storage quota"))
		return -EDQUOT;
	if (strcasestr(err->message, "too large"))
		return -EFBIG;
	return -EINVAL;
}

static int errmap_http(const struct api_error *err, enum errmap_call call)
{
	switch (err->http_status) {
	case 400:
		return errmap_400(err, call);
	case 401:
	case 403:
	case 407:
		return -EACCES;
	case 404:
		/* ENOENT would puzzle a writer: the user created no Upload. */
		return call == ERRMAP_READ || call == ERRMAP_DELETE ? -ENOENT : -EINVAL;
	case 408:
		return -ETIMEDOUT;
	case 409:
		return -EIO;
	case 413:
		return -EFBIG;
	case 429:
		if (!strcmp(err->code, "insufficient_quota") ||
		    !strcmp(err->type, "insufficient_quota"))
			return -EDQUOT;
		return -EIO;
	default:
		return err->http_status >= 400 && err->http_status < 500 ? -EINVAL : -EIO;
	}
}

int errmap(const struct api_error *err, enum errmap_call call)
{
	switch (err->kind) {
	case API_OK:
		return 0;
	case API_ERR_HTTP:
		return errmap_http(err, call);
	case API_ERR_CONNECT:
		return err->cause == NETWORK_PROXY_LOGIN ? -EACCES : -EHOSTUNREACH;
	case API_ERR_TLS:
		return -EHOSTUNREACH;
	case API_ERR_TIMEOUT:
		return -ETIMEDOUT;
	case API_ERR_BAD_REPLY:
		return -EIO;
	case API_ERR_LOCAL:
		/* EAGAIN would send a writer into a loop that nothing ends. */
		if (err->local_errno >= 0 || err->local_errno == -EAGAIN ||
		    err->local_errno == -ENODATA)
			return -EIO;
		return err->local_errno;
	case API_ERR_CANCELLED:
		return -EINTR;
	case API_ERR_CONFIG:
		return -EACCES;
	}
	return -EIO;
}

static bool writes(enum errmap_call call)
{
	return call == ERRMAP_WRITE || call == ERRMAP_PART;
}

/*
 * About how the file was cut, which is not its fault: a Part was refused, or the list of them
 * ("Part … is smaller than the minimum of … bytes", as stores with multipart uploads word it).
 */
static bool blames_parts(const struct api_error *err, enum errmap_call call)
{
	if (err->http_status == 413)
		return call == ERRMAP_PART;
	return err->http_status == 400 &&
	       (call == ERRMAP_PART ||
		(call == ERRMAP_WRITE && strcasestr(err->message, "smaller than the minimum")));
}

static const char *hint_http(const struct api_error *err, enum errmap_call call)
{
	switch (err->http_status) {
	case 401:
		return "check the key: -o api_key_file, else OPENAI_API_KEY (on Azure "
		       "AZURE_OPENAI_API_KEY)";
	case 403:
		return "the key may not do this: check its permissions, project and region";
	case 404:
		if (writes(call))
			return "write the file again for a new Upload; if that fails too, check "
			       "that the base URL is right and the server has /uploads";
		if (call == ERRMAP_LIST)
			return "check the base URL: the server has no /files there";
		return "it was removed elsewhere, or the key is of another project";
	case 407:
		return HINT_PROXY_LOGIN;
	case 429:
		return "try again later, or send fewer Parts at once with -o parallel";
	default:
		break;
	}
	if (err->http_status >= 400 && err->http_status < 500 && err->http_status != 408 &&
	    err->http_status != 409)
		return writes(call) ? "correct the file or its name, then write it again or set "
				      "user.upload.publish"
				    : "the log has more";
	return writes(call) ? "nothing is lost: it is tried again in the background"
			    : "try again later";
}

static const char *hint_local(int rc)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		return "make room on the disk of -o state_dir";
	return "check the disk of -o state_dir; the log has more";
}

static const char *hint_network(const struct api_error *err)
{
	static const char *const hints[] = {
		[NETWORK_NAME] = "check the host in the base URL, and this host's DNS",
		[NETWORK_PROXY_NAME] = "check the name of the proxy: -o proxy, else https_proxy",
		[NETWORK_PROXY] = "check that the proxy runs: -o proxy, else https_proxy; "
				  "-o proxy=none goes without",
		[NETWORK_PROXY_LOGIN] = HINT_PROXY_LOGIN,
		[NETWORK_PROXY_REFUSED] = "ask who runs the proxy to let this host through, or "
					  "use another: -o proxy",
		[NETWORK_BIND] = "check -o bind: it has to be an address or interface of this "
				 "host that leads there",
		[NETWORK_CA] = "install the CA's certificate, or name it with -o ca_file",
		[NETWORK_CA_FILE] = "check the file of -o ca_file, else SSL_CERT_FILE",
		[NETWORK_CLIENT_CERT] = "check the files of -o client_cert and client_key",
		[NETWORK_CERT_HOST] = "the certificate is for another host: check the base URL",
		[NETWORK_CERT_TIME] = "check this host's clock; if it is right, the certificate "
				      "has to be renewed",
	};

	if (err->cause)
		return hints[err->cause];
	if (err->kind == API_ERR_TLS)
		return "check the clock, ca-certificates and the base URL";
	if (err->kind == API_ERR_TIMEOUT)
		return "check the network; -o idle_timeout and retry_timeout allow for more";
	return "check the network, the proxy and the base URL";
}

static const char *hint(const struct api_error *err, enum errmap_call call, int rc)
{
	switch (err->kind) {
	case API_OK:
		return "";
	case API_ERR_LOCAL:
		return hint_local(rc);
	case API_ERR_CONNECT:
	case API_ERR_TLS:
	case API_ERR_TIMEOUT:
		return hint_network(err);
	case API_ERR_BAD_REPLY:
		return "check that the base URL is an Uploads API and no proxy answers for it";
	case API_ERR_CANCELLED:
		return "the mount was ending: it goes on with the next one";
	case API_ERR_CONFIG:
		return "use an https URL, or -o allow_http if the network can be trusted";
	case API_ERR_HTTP:
		break;
	}
	if (rc == -EDQUOT)
		return "delete Files that are no longer needed, or have the quota raised";
	if (blames_parts(err, call))
		return "check -o parallel (1 sends Parts one after the other) and -o part_size";
	if (rc == -EFBIG)
		return "split the file: a File has at most 8 GiB, with some purposes less";
	if (rc == -EACCES && err->http_status == 400)
		return "the service hands out no Files of this purpose: keep a local copy";
	return hint_http(err, call);
}

void errmap_text(const struct api_error *err, enum errmap_call call, char *buf, size_t size)
{
	const char *next = hint(err, call, errmap(err, call));
	size_t room = *next ? strlen(next) + 2 : 0;
	size_t len;

	/* Shortens the cause first; drops the advice only if it would fill half of buf. */
	if (room >= size / 2)
		room = 0;
	api_error_text(err, buf, size > room ? size - room : size);
	if (!room || !size)
		return;
	len = strlen(buf);
	snprintf(buf + len, size - len, "; %s", next);
}
