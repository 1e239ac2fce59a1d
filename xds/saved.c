// SPDX-License-Identifier: Apache-2.0
/*
 * Layout, numbers little endian: magic (8), version (4), length of the identity (4), length of the
 * records (8), time (8), xxh64 of all else (8); the identity; the records. A record: type (4),
 * length of the version (4), length of the message (8), time (8); version; message.
 */

#include "xds/saved.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "xds/cleanup.h"

#define MAGIC "weft-xds"
#define MAGIC_LEN 8
#define SUM_AT 32
#define HEAD_LEN 40
#define RECORD_LEN 24

static void put32(uint8_t *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof(v));
}

static void put64(uint8_t *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

/* Of everything but itself. */
static uint64_t sum_of(const uint8_t *data, size_t len)
{
	return XXH64(data + HEAD_LEN, len - HEAD_LEN, XXH64(data, SUM_AT, 0));
}

static size_t record_size(const struct weft_resource *r)
{
	return RECORD_LEN + strlen(r->version) + protobuf_c_message_get_packed_size(r->msg);
}

static uint8_t *record_put(uint8_t *at, const struct weft_resource *r)
{
	size_t version = strlen(r->version), body = protobuf_c_message_get_packed_size(r->msg);

	put32(at, (uint32_t)r->type);
	put32(at + 4, (uint32_t)version);
	put64(at + 8, body);
	put64(at + 16, (uint64_t)r->updated_ms);
	memcpy(at + RECORD_LEN, r->version, version);
	protobuf_c_message_pack(r->msg, at + RECORD_LEN + version);
	return at + RECORD_LEN + version + body;
}

int weft_saved_encode(const struct weft_saved_head *head, const struct weft_snapshot *s,
		      struct weft_diag *diag, uint8_t **ret, size_t *ret_len)
{
	size_t identity = strlen(head->identity), len = HEAD_LEN + identity;
	uint8_t *data, *at;

	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(s, (enum weft_xds_type)t);

		for (size_t i = 0; i < n; i++)
			len += record_size(weft_snapshot_at(s, (enum weft_xds_type)t, i));
	}
	if (len > WEFT_SAVED_MAX)
		return weft_diag_add(diag, -EFBIG, "saved configuration", NULL,
				     "%zu bytes are more than %u", len, WEFT_SAVED_MAX);
	data = calloc(1, len);
	if (!data)
		return -ENOMEM;
	memcpy(data, MAGIC, MAGIC_LEN);
	put32(data + 8, WEFT_SAVED_VERSION);
	put32(data + 12, (uint32_t)identity);
	put64(data + 16, len - HEAD_LEN - identity);
	put64(data + 24, (uint64_t)head->saved_ms);
	memcpy(data + HEAD_LEN, head->identity, identity);
	at = data + HEAD_LEN + identity;
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(s, (enum weft_xds_type)t);

		for (size_t i = 0; i < n; i++)
			at = record_put(at, weft_snapshot_at(s, (enum weft_xds_type)t, i));
	}
	put64(data + SUM_AT, sum_of(data, len));
	*ret = data;
	*ret_len = len;
	return 0;
}

static int refuse(struct weft_diag *diag, const char *reason)
{
	return weft_diag_add(diag, -EINVAL, "saved configuration", NULL, "%s", reason);
}

/* One record of the rest; *ret_used only on success. */
static int record_get(const uint8_t *at, size_t left, struct weft_snapshot *s,
		      struct weft_diag *diag, size_t *ret_used)
{
	_xds_free_ char *version = NULL;
	struct weft_resource *r = NULL;
	uint64_t version_len, body;
	uint32_t type;
	int err;

	if (left < RECORD_LEN)
		return refuse(diag, "a record is cut short");
	type = get32(at);
	version_len = get32(at + 4);
	body = get64(at + 8);
	if (type >= WEFT_XDS__MAX)
		return refuse(diag, "a record has no known type");
	left -= RECORD_LEN;
	if (version_len > left || body > left - version_len)
		return refuse(diag, "a record is cut short");
	version = strndup((const char *)at + RECORD_LEN, version_len);
	if (!version)
		return -ENOMEM;
	err = weft_resource_from_wire((enum weft_xds_type)type, at + RECORD_LEN + version_len, body,
				      version, (int64_t)get64(at + 16), diag, &r);
	if (err)
		return err;
	if (weft_snapshot_get(s, r->type, r->name))
		err = weft_diag_add(diag, -EINVAL, r->name, NULL, "is there twice");
	else
		err = weft_snapshot_put(s, r);
	weft_resource_unref(r);
	*ret_used = RECORD_LEN + version_len + body;
	return err;
}

static int head_check(const uint8_t *data, size_t len, const char *identity, struct weft_diag *diag)
{
	uint64_t name, records;

	if (len < HEAD_LEN || memcmp(data, MAGIC, MAGIC_LEN) != 0)
		return refuse(diag, "is none");
	if (get32(data + 8) != WEFT_SAVED_VERSION)
		return weft_diag_add(diag, -EINVAL, "saved configuration", NULL,
				     "is of version %u, not %u", get32(data + 8),
				     WEFT_SAVED_VERSION);
	name = get32(data + 12);
	records = get64(data + 16);
	if (name > len - HEAD_LEN || records != len - HEAD_LEN - name)
		return refuse(diag, "is cut short, or longer than it says");
	if (get64(data + SUM_AT) != sum_of(data, len))
		return refuse(diag, "is damaged: its checksum is another");
	if (name != strlen(identity) || memcmp(data + HEAD_LEN, identity, name) != 0)
		return refuse(diag, "was saved for another node");
	return 0;
}

int weft_saved_decode(const uint8_t *data, size_t len, const char *identity, struct weft_diag *diag,
		      int64_t *ret_saved_ms, struct weft_snapshot **ret)
{
	struct weft_snapshot *s;
	int err = head_check(data, len, identity, diag);

	if (!err)
		err = weft_snapshot_new(&s);
	if (err)
		return err;
	for (size_t at = HEAD_LEN + strlen(identity), used = 0; !err && at < len; at += used)
		err = record_get(data + at, len - at, s, diag, &used);
	if (err) {
		weft_snapshot_free(s);
		return err;
	}
	*ret_saved_ms = (int64_t)get64(data + 24);
	*ret = s;
	return 0;
}
