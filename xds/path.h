/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The path of the field that is being looked at, "virtual_hosts[0].routes[2].match": grows on the way
 * down, is cut back on the way up. Long paths lose their end, never their beginning.
 */

#include <stddef.h>

/* 100 levels of short names fit; what is longer is only shown shorter. */
#define WEFT_PATH_MAX 1024

struct weft_path {
	size_t len;
	char text[WEFT_PATH_MAX];
};

/* NULL: empty. */
void weft_path_init(struct weft_path *p, const char *start);
/* Each returns the length before, for weft_path_cut(). */
size_t weft_path_field(struct weft_path *p, const char *name);
size_t weft_path_index(struct weft_path *p, size_t i);
/* ["key"], control characters shown as '?' */
size_t weft_path_key(struct weft_path *p, const char *key);
void weft_path_cut(struct weft_path *p, size_t len);
