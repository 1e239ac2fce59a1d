// SPDX-License-Identifier: Apache-2.0
/*
 * State of the world instead of delta: the same client, other messages. A response becomes the
 * delta response that says the same (for clusters and listeners, what is not in it is removed), and
 * a request says all names instead of the changed ones. As in Envoy, the version belongs to the
 * type, survives the stream, and is that of the last response that was accepted.
 */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CODE_INTERNAL 13 /* google.rpc.Code; what Envoy sends with every NACK */
#define NAME_FIELD 1	 /* of all four types */
#define WIRE_VARINT 0
#define WIRE_64 1
#define WIRE_LEN 2
#define WIRE_32 5

int weft_delta_speak_sotw(struct weft_delta *d)
{
	char **features = d->node->client_features;
	size_t n = d->node->n_client_features;

	features = realloc(features, (n + 1) * sizeof(*features));
	if (!features)
		return -ENOMEM;
	d->node->client_features = features;
	/* A resource may come in the wrapper that has its TTL. */
	features[n] = strdup("xds.config.resource-in-sotw");
	if (!features[n])
		return -ENOMEM;
	d->node->n_client_features++;
	d->sotw = true;
	return 0;
}

bool weft_delta_is_sotw(const struct weft_delta *d)
{
	return d->sotw;
}

void delta_sotw_forget(struct delta_type *t)
{
	free(t->nonce);
	t->nonce = NULL;
}

void delta_sotw_clear(struct delta_type *t)
{
	delta_sotw_forget(t);
	free(t->accepted);
	free(t->offered);
	t->accepted = t->offered = NULL;
}

/* ---- names ---- */

struct bytes {
	const uint8_t *at, *end;
};

static bool read_varint(struct bytes *b, uint64_t *ret)
{
	*ret = 0;
	for (unsigned int shift = 0; b->at < b->end && shift < 64; shift += 7) {
		uint8_t byte = *b->at++;

		*ret |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/* Length of a field's value; a varint counts none, as it has been read over. */
static bool value_length(struct bytes *b, unsigned int wire, uint64_t *ret)
{
	uint64_t skipped;

	*ret = 0;
	switch (wire) {
	case WIRE_VARINT:
		return read_varint(b, &skipped);
	case WIRE_64:
		*ret = 8;
		break;
	case WIRE_LEN:
		if (!read_varint(b, ret))
			return false;
		break;
	case WIRE_32:
		*ret = 4;
		break;
	default:
		return false;
	}
	return *ret <= (uint64_t)(b->end - b->at);
}

/* The name inside a resource, before it is known whether the rest of it is in order; "": none. */
static char *name_read(const ProtobufCBinaryData *data)
{
	static const uint8_t nothing[1];
	/* protobuf-c has NULL for no bytes. */
	const uint8_t *start = data->data ? data->data : nothing;
	struct bytes b = {start, start + data->len};
	const uint8_t *name = NULL;
	uint64_t key, len, name_len = 0;

	while (b.at < b.end) {
		if (!read_varint(&b, &key) || !value_length(&b, key & 7, &len))
			return strdup("");
		if (key == (NAME_FIELD << 3 | WIRE_LEN)) {
			name = b.at;
			name_len = len;
		}
		b.at += len;
	}
	return strndup(name ? (const char *)name : "", name_len);
}

/* ---- a response ---- */

typedef Envoy__Service__Discovery__V3__Resource sotw_resource;

/* The delta response that says the same. Strings without a comment are the response's own. */
struct translation {
	Envoy__Service__Discovery__V3__DeltaDiscoveryResponse delta;
	sotw_resource *store, **resources;
	char **names;	       /* owned */
	sotw_resource **wraps; /* owned, NULL where the resource came bare */
	char **removed;	       /* of the items */
	size_t n;
	bool unnamed;
};

static void translation_free(struct translation *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->names[i]);
		if (t->wraps[i])
			envoy__service__discovery__v3__resource__free_unpacked(t->wraps[i], NULL);
	}
	free(t->store);
	free(t->resources);
	free(t->names);
	free(t->wraps);
	free(t->removed);
}

static bool is_wrapper(const Google__Protobuf__Any *any)
{
	static const char name[] = "/envoy.service.discovery.v3.Resource";
	const char *slash = strrchr(any->type_url, '/');

	return slash && !strcmp(slash, name);
}

static int translate_one(struct translation *t, Google__Protobuf__Any *any, char *version)
{
	sotw_resource *r = &t->store[t->n], *wrap = NULL;
	Google__Protobuf__Any *body = any;

	if (is_wrapper(any)) {
		wrap = envoy__service__discovery__v3__resource__unpack(NULL, any->value.len,
								       any->value.data);
		body = wrap ? wrap->resource : any;
	}
	envoy__service__discovery__v3__resource__init(r);
	t->wraps[t->n] = wrap;
	t->resources[t->n] = r;
	if (wrap && *wrap->name)
		t->names[t->n] = strdup(wrap->name);
	else
		t->names[t->n] = body ? name_read(&body->value) : strdup("");
	r->name = t->names[t->n];
	t->n++;
	if (!r->name)
		return -ENOMEM;
	t->unnamed |= !*r->name;
	r->version = version;
	r->resource = body;
	r->ttl = wrap ? wrap->ttl : NULL;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * Clusters and listeners, refused ones too, that are not named any more. A resource whose name
 * cannot be read could be any of them, so then there are none; the response is refused anyway.
 */
static int translate_removed(struct translation *t, const struct delta_type *type)
{
	struct delta_item *item;
	char **sorted;

	if (!type->wildcard || t->unnamed)
		return 0;
	sorted = malloc((t->n + 1) * sizeof(*sorted));
	t->removed = calloc(type->n_items + 1, sizeof(*t->removed));
	if (!sorted || !t->removed) {
		free(sorted);
		return -ENOMEM;
	}
	memcpy(sorted, t->names, t->n * sizeof(*sorted));
	qsort(sorted, t->n, sizeof(*sorted), compare_names);
	TAILQ_FOREACH(item, &type->items, link)
	{
		if ((item->held || item->error) &&
		    !bsearch(&item->name, sorted, t->n, sizeof(*sorted), compare_names))
			t->removed[t->delta.n_removed_resources++] = item->name;
	}
	free(sorted);
	t->delta.removed_resources = t->removed;
	return 0;
}

static int translate(struct translation *t, const struct delta_type *type,
		     const Envoy__Service__Discovery__V3__DiscoveryResponse *resp)
{
	size_t n = resp->n_resources;
	int err = 0;

	envoy__service__discovery__v3__delta_discovery_response__init(&t->delta);
	t->store = calloc(n + 1, sizeof(*t->store));
	t->resources = calloc(n + 1, sizeof(*t->resources));
	t->names = calloc(n + 1, sizeof(*t->names));
	t->wraps = calloc(n + 1, sizeof(*t->wraps));
	if (!t->store || !t->resources || !t->names || !t->wraps)
		return -ENOMEM;
	for (size_t i = 0; !err && i < n; i++)
		err = translate_one(t, resp->resources[i], resp->version_info);
	if (!err)
		err = translate_removed(t, type);
	t->delta.resources = t->resources;
	t->delta.n_resources = t->n;
	t->delta.type_url = resp->type_url;
	t->delta.nonce = resp->nonce;
	t->delta.system_version_info = resp->version_info;
	return err;
}

/* Replaces *at by a copy. */
static int keep(char **at, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

int delta_sotw_receive(struct weft_delta *d, const struct delta_stream *s, const uint8_t *data,
		       size_t len, int64_t now_ms)
{
	Envoy__Service__Discovery__V3__DiscoveryResponse *resp =
		envoy__service__discovery__v3__discovery_response__unpack(NULL, len, data);
	enum weft_xds_type type;
	int err = 0;

	if (!resp)
		return -EBADMSG;
	d->stats.responses++;
	if (resp->control_plane)
		err = delta_note_control_plane(d, resp->control_plane->identifier);
	type = weft_xds_type_from_url(resp->type_url);
	if (!err && delta_is_asked(d, s, type))
		return delta_pace(d, type, &resp->base, len, now_ms);
	envoy__service__discovery__v3__discovery_response__free_unpacked(resp, NULL);
	return err;
}

/*
 * Whether resources came though none is asked for. As in Envoy their version is not taken over: a
 * server that holds them for delivered would not send them again when they are asked for with that
 * version.
 */
static bool is_unwanted(const struct delta_type *type,
			const Envoy__Service__Discovery__V3__DiscoveryResponse *resp)
{
	const struct delta_item *item;

	if (type->wildcard || !resp->n_resources)
		return false;
	TAILQ_FOREACH(item, &type->items, link)
	{
		if (item->watchers)
			return false;
	}
	return true;
}

int delta_sotw_apply(struct weft_delta *d, enum weft_xds_type type,
		     const Envoy__Service__Discovery__V3__DiscoveryResponse *resp, int64_t now_ms)
{
	struct translation t = {.n = 0};
	struct delta_type *of = &d->types[type];
	int err = keep(&of->nonce, resp->nonce);

	free(of->offered);
	of->offered = NULL;
	/* Until it is asked for, such a server may answer each request with it. */
	if (is_unwanted(of, resp))
		d->pause_due = true;
	else if (!err)
		err = keep(&of->offered, resp->version_info);
	if (!err)
		err = translate(&t, of, resp);
	if (!err)
		err = delta_apply(d, type, &t.delta, now_ms);
	translation_free(&t);
	return err;
}

/* ---- requests ---- */

int delta_sotw_answer(struct delta_type *t, struct delta_request *r)
{
	if (!r->error && t->offered) {
		free(t->accepted);
		t->accepted = t->offered;
		t->offered = NULL;
	}
	r->version = strdup(t->accepted ? t->accepted : "");
	return r->version ? 0 : -ENOMEM;
}

/* Every name that is wanted; none for a wildcard. */
static size_t names_list(const struct delta_type *t, char **names)
{
	struct delta_item *item;
	size_t n = 0;

	if (t->wildcard)
		return 0;
	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->watchers)
			names[n++] = item->name;
	}
	return n;
}

/* A subscription is sent when it says something that the server does not know. */
static bool is_news(const struct delta_type *t)
{
	const struct delta_item *item;

	if (t->wildcard)
		return !t->first_sent;
	TAILQ_FOREACH(item, &t->items, link)
	{
		if (item->watchers ? !item->sent : item->unsubscribe)
			return true;
	}
	return false;
}

/* An answer of the type is still to be sent. */
static bool answer_waits(struct weft_delta *d, enum weft_xds_type type)
{
	const struct delta_request *r;

	TAILQ_FOREACH(r, &delta_stream_of(d, type)->queue, link)
	{
		if (r->answer && r->type == type)
			return true;
	}
	return false;
}

int delta_sotw_pack(struct weft_delta *d, const struct delta_request *r, uint8_t **ret,
		    size_t *ret_len)
{
	Envoy__Service__Discovery__V3__DiscoveryRequest msg =
		ENVOY__SERVICE__DISCOVERY__V3__DISCOVERY_REQUEST__INIT;
	struct delta_type *t = &d->types[r->type];
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	char **names;
	int err;

	/* Before its answer a nonce must not be used: the server would take that for the answer. */
	if (!r->answer && (!is_news(t) || answer_waits(d, r->type)))
		return -EAGAIN;
	names = calloc(t->n_items + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	msg.resource_names = names;
	msg.n_resource_names = names_list(t, names);
	msg.version_info = r->answer ? r->version : t->accepted;
	msg.response_nonce = r->answer ? r->nonce : t->nonce;
	/* protobuf-c packs NULL as the empty string. */
	if (r->error) {
		status.code = CODE_INTERNAL;
		status.message = r->error;
		msg.error_detail = &status;
	}
	msg.type_url = (char *)(uintptr_t)weft_xds_type_url(r->type);
	msg.node = delta_node_due(d, r->type);
	err = delta_pack(d, r->type, &msg.base, ret, ret_len);
	free(names);
	/* An answer has all names too, so that no change of them is left to say. */
	if (!err)
		delta_subscription_sent(d, t);
	return err;
}
