/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Up to size bytes, fewer where the file ends; goes on after signals. How many, or -errno. */
ssize_t weft_fd_read(int fd, void *data, size_t size);
