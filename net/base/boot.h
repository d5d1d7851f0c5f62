/*
 * boot: which boot of this host is running. Bytes written under another boot and not synced may
 * have been lost by a power cut. Any thread; reads procfs once.
 */
#ifndef UPLOADFS_NET_BASE_BOOT_H
#define UPLOADFS_NET_BASE_BOOT_H

#define BOOT_ID_SIZE 37 /* 36 characters and NUL */

/* The id of this boot; "" if the kernel does not tell. Valid for ever. */
const char *boot_id(void);

#endif
