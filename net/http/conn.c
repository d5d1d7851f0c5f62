#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/http/conn.h"
#include "net/http/old_curl.h"

/* Certificates are read again after this time, so a replaced file needs no new mount. */
#define HTTP_CA_CACHE_S 60

/* Values of CURLINFO_SSL_VERIFYRESULT with OpenSSL: numbers of its verify(1). */
enum {
	VERIFY_OK = 0,
	VERIFY_UNSPECIFIED = 1, /* curl's initial value */
	VERIFY_NO_ISSUER = 2,
	VERIFY_NOT_YET_VALID = 9,
	VERIFY_EXPIRED = 10,
	VERIFY_SELF_SIGNED = 18,
	VERIFY_SELF_SIGNED_IN_CHAIN = 19,
	VERIFY_NO_LOCAL_ISSUER = 20,
	VERIFY_NO_FIRST_CERTIFICATE = 21
};

/* Applies to the service and to a proxy reached by https. */
static void trust(CURL *e, const struct network *n)
{
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
	old_curl_cache_ca(e, HTTP_CA_CACHE_S);
	if (!n->ca_file && !n->ca_dir)
		return;
	/*
	 * Set both: otherwise curl keeps trusting the system's certificates through the other one.
	 */
	curl_easy_setopt(e, CURLOPT_CAINFO, n->ca_file);
	curl_easy_setopt(e, CURLOPT_CAPATH, n->ca_dir);
	curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, n->ca_file);
	curl_easy_setopt(e, CURLOPT_PROXY_CAPATH, n->ca_dir);
}

static bool is_address(const char *text)
{
	unsigned char raw[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

void http_conn_setup(CURL *easy, const struct network *n)
{
	char text[256];

	trust(easy, n);
	/* The proxy's answer to CONNECT is no head of the service's reply. */
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	/* The proxy must not see our headers: the key is among them. */
	curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	/* The proxy is chosen here, not by curl from the environment. */
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	if (!n->bind)
		return;
	snprintf(text, sizeof(text), "%s!%s", is_address(n->bind) ? "host" : "if", n->bind);
	curl_easy_setopt(easy, CURLOPT_INTERFACE, text);
}

int http_conn_present(CURL *easy, const struct network *n, bool home)
{
	const char *cert = home ? n->client_cert : NULL;
	const char *key = home && n->client_key ? n->client_key : cert;
	CURLcode rc = curl_easy_setopt(easy, CURLOPT_SSLCERT, cert);

	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_SSLKEY, key);
	/* Else OpenSSL asks the terminal for the password of an encrypted key. */
	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_KEYPASSWD, cert ? "" : NULL);
	return rc ? -ENOMEM : 0;
}

int http_conn_route(CURL *easy, const struct network *n, const char *url, bool *ret_proxied)
{
	const struct network_proxy *p = network_proxy_for(n, url);
	CURLcode rc = curl_easy_setopt(easy, CURLOPT_PROXY, p ? p->url : "");

	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_PROXYUSERNAME, p ? p->user : NULL);
	if (!rc)
		rc = curl_easy_setopt(easy, CURLOPT_PROXYPASSWORD, p ? p->password : NULL);
	*ret_proxied = p != NULL;
	return rc ? -ENOMEM : 0;
}

static enum network_cause cause_of_certificate(CURL *easy, bool proxy)
{
	long verified = VERIFY_OK;

	curl_easy_getinfo(easy, proxy ? CURLINFO_PROXY_SSL_VERIFYRESULT : CURLINFO_SSL_VERIFYRESULT,
			  &verified);
	switch (verified) {
	case VERIFY_OK: /* nothing is wrong with the chain: it can only be the name */
	case VERIFY_UNSPECIFIED:
		return NETWORK_CERT_HOST;
	case VERIFY_NOT_YET_VALID:
	case VERIFY_EXPIRED:
		return NETWORK_CERT_TIME;
	case VERIFY_NO_ISSUER:
	case VERIFY_SELF_SIGNED:
	case VERIFY_SELF_SIGNED_IN_CHAIN:
	case VERIFY_NO_LOCAL_ISSUER:
	case VERIFY_NO_FIRST_CERTIFICATE:
		return NETWORK_CA;
	default:
		return NETWORK_NO_CAUSE;
	}
}

/*
 * The connection failed before the tunnel through the proxy stood; answer: to CONNECT, 0 for none.
 */
static enum network_cause cause_of_proxy(CURLcode code, long answer)
{
	if (answer == 407)
		return NETWORK_PROXY_LOGIN;
	if (answer)
		return NETWORK_PROXY_REFUSED;
	return code == CURLE_COULDNT_RESOLVE_PROXY ? NETWORK_PROXY_NAME : NETWORK_PROXY;
}

void http_conn_explain(CURL *easy, CURLcode code, bool proxied, struct http_result *res,
		       char error[CURL_ERROR_SIZE])
{
	long answer = 0;
	bool proxy;

	if (res->fail == HTTP_FAIL_LOCAL || res->fail == HTTP_FAIL_REFUSED)
		return;
	curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &answer);
	proxy = proxied && (answer < 200 || answer > 299);
	if (code == CURLE_INTERFACE_FAILED)
		res->cause = NETWORK_BIND;
	else if (code == CURLE_SSL_CACERT_BADFILE)
		res->cause = NETWORK_CA_FILE;
	else if (code == CURLE_SSL_CERTPROBLEM)
		res->cause = NETWORK_CLIENT_CERT;
	else if (code == CURLE_PEER_FAILED_VERIFICATION)
		res->cause = cause_of_certificate(easy, proxy);
	else if (proxy)
		res->cause = cause_of_proxy(code, answer);
	else if (code == CURLE_COULDNT_RESOLVE_HOST)
		res->cause = NETWORK_NAME;
	if (!proxy || !answer)
		return;
	snprintf(error, CURL_ERROR_SIZE, "the proxy answered %ld", answer);
	res->text = error;
	/* A refusal of us is permanent; trouble of the proxy or the service may pass. */
	res->fail = answer >= 500 || answer == 408 || answer == 429 ? HTTP_FAIL_CONNECT
								    : HTTP_FAIL_PROXY;
}
