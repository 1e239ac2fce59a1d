/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Locals that clean up after themselves; ownership leaves by WEFT_TAKE_PTR and WEFT_TAKE_FD. */

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void weft_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void weft_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void weft_cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void weft_cleanup_json(json_t **j)
{
	json_decref(*j);
}

#define _auto_free_ __attribute__((cleanup(weft_cleanup_free)))
#define _auto_close_ __attribute__((cleanup(weft_cleanup_close)))
#define _auto_file_ __attribute__((cleanup(weft_cleanup_file)))
#define _auto_json_ __attribute__((cleanup(weft_cleanup_json)))

#define WEFT_TAKE_PTR(p)                                                                           \
	__extension__({                                                                            \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
#define WEFT_TAKE_FD(fd)                                                                           \
	__extension__({                                                                            \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})
