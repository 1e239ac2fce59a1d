// SPDX-License-Identifier: Apache-2.0
#include "xds/read.h"

#include <errno.h>
#include <unistd.h>

ssize_t weft_fd_read(int fd, void *data, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = read(fd, (char *)data + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}
