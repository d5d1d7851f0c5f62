#include "net/base/boot.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static char id[BOOT_ID_SIZE];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_id(void)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, id, sizeof(id) - 1);
	close(fd);
	id[n < 0 ? 0 : n] = '\0';
	id[strcspn(id, "\n")] = '\0';
}

const char *boot_id(void)
{
	pthread_once(&once, read_id);
	return id;
}
