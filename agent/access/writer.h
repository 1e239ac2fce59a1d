/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Writes access logs to files: a thread that takes lines from a ring of each worker. A worker never
 * waits for it: what does not fit is lost, and counted.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weft_access;

/* Bytes of lines of one worker that wait to be written. */
#define WEFT_ACCESS_RING (1u << 20)
/* Files open at once: a control plane that names more gets no more. */
#define WEFT_ACCESS_FILES_MAX 64u
/* Lines are gathered for so long before they are written. */
#define WEFT_ACCESS_GATHER_MS 20
/* A pipe that nobody empties holds up the others for so long. */
#define WEFT_ACCESS_STUCK_MS 1000

/*
 * dir: files are written below it and nowhere else, NULL: none are; /dev/stdout and /dev/stderr
 * always. It need not exist yet. n: workers. -errno of the thread.
 */
int weft_access_new(const char *dir, unsigned int n, struct weft_access **ret);
/* Writes what waits. NULL is fine. */
void weft_access_free(struct weft_access *a);

/*
 * A line with its end, if it has one, for the file `path`. By the one thread that is this worker;
 * never blocks.
 */
void weft_access_put(struct weft_access *a, unsigned int worker, const char *path, size_t n_path,
		     const void *line, size_t len);

/* Files are opened anew by their names with the next line: they were moved away. Any thread. */
void weft_access_reopen(struct weft_access *a);

struct weft_access_stats {
	uint64_t lines;	 /* written */
	uint64_t lost;	 /* no room, or not written */
	uint64_t failed; /* files that could not be opened, or written */
	uint64_t files;	 /* open now */
};
void weft_access_stats(const struct weft_access *a, struct weft_access_stats *ret);
/* [{path, state}]: "open", or why not. */
json_t *weft_access_dump(const struct weft_access *a);
