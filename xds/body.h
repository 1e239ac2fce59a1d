/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Contents of resources that came over the wire, each held once however many streams it came by:
 * decoded and checked by the first, taken over by the others. Any thread.
 */

#include "xds/resource.h"

struct weft_body {
	unsigned int refs;
	enum weft_xds_type type;
	uint64_t key[2]; /* of the bytes as they came */
	size_t len;
	struct weft_body *next; /* of the bucket */
	char *name;
	uint64_t hash; /* as weft_resource.hash */
	unsigned int unknown;
	ProtobufCMessage *msg;
};

/*
 * One more reference to the contents of these bytes; NULL: they are not known. *ret_key is for
 * weft_body_add(): a hash of 128 bits with a secret of the process, so that no server can make two
 * contents that are taken for one another.
 */
struct weft_body *weft_body_find(enum weft_xds_type type, const uint8_t *data, size_t len,
				 uint64_t ret_key[2]);
/*
 * Takes over name and msg and has one reference; or one more of what another thread has added
 * meanwhile, and they are freed. NULL without memory: they are still the caller's.
 */
struct weft_body *weft_body_add(const struct weft_body *from);
void weft_body_unref(struct weft_body *b);

/* How many contents there are, and how many resources have one. */
void weft_body_stats(size_t *ret_bodies, size_t *ret_users);
