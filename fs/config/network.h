/* network: proxies, certificates and the local address. Start-up only, one thread. */
#ifndef UPLOADFS_FS_CONFIG_NETWORK_H
#define UPLOADFS_FS_CONFIG_NETWORK_H

struct opts;
struct opts_draft;

/* The options proxy=, bind= and rate_limit=. 0 or a negative errno; messages show no password. */
int opts_set_proxy(struct opts_draft *d, const char *value);
int opts_set_bind(struct opts_draft *d, const char *value);
int opts_set_rate_limit(struct opts_draft *d, const char *value);
/*
 * Take proxies and certificates from the environment where no option sets them, and scrub
 * variables that hold a password. Call it once base_url is known, before paths are made absolute.
 */
int opts_network_env(struct opts *o);
/* Check ca_file and read proxy_auth_file. Call it once paths are absolute. */
int opts_network_files(const struct opts_draft *d);

#endif
