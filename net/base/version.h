/* version: what --version prints and the User-Agent says. */
#ifndef UPLOADFS_NET_BASE_VERSION_H
#define UPLOADFS_NET_BASE_VERSION_H

#define UPLOADFS_VERSION "0.1.0"

#endif
