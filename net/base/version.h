/* version: printed by --version and sent in the User-Agent. */
#ifndef UPLOADFS_NET_BASE_VERSION_H
#define UPLOADFS_NET_BASE_VERSION_H

#define UPLOADFS_VERSION "0.1.0"

#endif
