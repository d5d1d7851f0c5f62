/*
 * network: by which way a service is reached: proxies, certificates, the local address, the rate.
 *
 * Settings only, no connection. Pure, any thread; a struct network does not change while it is
 * in use. Passwords are wiped when they are released.
 */
#ifndef UPLOADFS_NET_HTTP_NETWORK_H
#define UPLOADFS_NET_HTTP_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

/* "SCHEME://HOST[:PORT]", without user and password; all NULL: no proxy. */
struct network_proxy {
	char *url;
	char *user, *password; /* decoded; NULL: none */
};

struct network {
	/* Proxies by the scheme of the URL. Loopback is never behind a proxy. */
	struct network_proxy http, https;
	char *no_proxy; /* hosts reached without a proxy, in the form of NO_PROXY; or NULL */
	/* The trusted certificates (PEM) instead of the system's; NULL: the system's. */
	char *ca_file, *ca_dir;
	/* Our own certificate and its key (PEM), for the service alone; NULL: none. */
	char *client_cert, *client_key;
	char *bind; /* a local IP address, or an interface; NULL: the kernel decides */
	/* Limits in bytes a second for Parts and for content, over all connections; 0: no limit. */
	uint64_t up, down;
};

/* The cause of a failed connection, if it tells the user how to mend it. */
enum network_cause {
	NETWORK_NO_CAUSE,
	NETWORK_NAME,	       /* the host's name cannot be resolved */
	NETWORK_PROXY_NAME,    /* the proxy's name cannot be resolved */
	NETWORK_PROXY,	       /* the proxy does not answer, or breaks off */
	NETWORK_PROXY_LOGIN,   /* the proxy answered 407 */
	NETWORK_PROXY_REFUSED, /* the proxy's answer is neither 2xx nor 407 */
	NETWORK_BIND,	       /* the local address or interface */
	NETWORK_CA,	       /* the certificate's issuer is not trusted */
	NETWORK_CA_FILE,       /* the trusted certificates can't be read */
	NETWORK_CLIENT_CERT,   /* our own certificate or its key can't be used */
	NETWORK_CERT_HOST,     /* the certificate is for another host */
	NETWORK_CERT_TIME      /* the certificate has expired, or is not valid yet */
};

/*
 * "[SCHEME://][USER[:PASSWORD]@]HOST[:PORT][/]"; SCHEME: http (the default), https, socks4,
 * socks4a, socks5, socks5h. 0, -EINVAL and why, or -ENOMEM. The caller releases ret.
 */
int network_parse_proxy(const char *text, struct network_proxy *ret, const char **ret_why);
void network_release_proxy(struct network_proxy *p);

/*
 * Returns the proxy for url, or NULL for a direct connection. Only user and password may be NULL in
 * it.
 */
const struct network_proxy *network_proxy_for(const struct network *n, const char *url);

/*
 * Returns whether list, in the form of NO_PROXY, holds the host (an IPv6 address without brackets):
 * "*", an address, a block such as 10.0.0.0/8, or a domain with all below it; an entry with ":PORT"
 * counts for that port only (an IPv6 address has brackets then). A NULL list holds no host.
 */
bool network_listed(const char *list, const char *host, unsigned port);

/*
 * Copies from to ret; from NULL: no proxy, nothing else set. 0 or -ENOMEM. The caller releases ret.
 */
int network_copy(const struct network *from, struct network *ret);
void network_release(struct network *n);

#endif
