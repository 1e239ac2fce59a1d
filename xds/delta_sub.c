// SPDX-License-Identifier: Apache-2.0
/*
 * Requests: one queue for each stream. An answer (ACK, NACK) and a subscription change are always
 * two requests: istiod ignores names that come with a nonce it no longer expects.
 */

#include "xds/delta_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CODE_INTERNAL 13 /* google.rpc.Code; what Envoy sends with every NACK */

static struct delta_request *queue_add(struct weft_delta *d, enum weft_xds_type type)
{
	struct delta_request *r = calloc(1, sizeof(*r));

	if (r) {
		r->type = type;
		TAILQ_INSERT_TAIL(&delta_stream_of(d, type)->queue, r, link);
	}
	return r;
}

int delta_queue_subscription(struct weft_delta *d, enum weft_xds_type type)
{
	if (d->types[type].queued)
		return 0;
	if (!queue_add(d, type))
		return -ENOMEM;
	d->types[type].queued = true;
	return 0;
}

int delta_queue_answer(struct weft_delta *d, enum weft_xds_type type, char *nonce, char *error)
{
	struct delta_request *r = queue_add(d, type);

	if (!r) {
		free(nonce);
		free(error);
		return -ENOMEM;
	}
	r->answer = true;
	r->nonce = nonce;
	r->error = error;
	return d->sotw ? delta_sotw_answer(&d->types[type], r) : 0;
}

static void request_free(struct delta_request *r)
{
	free(r->nonce);
	free(r->error);
	free(r->version);
	free(r);
}

void delta_queue_clear(struct weft_delta *d, struct delta_stream *s)
{
	struct delta_request *r;

	while ((r = TAILQ_FIRST(&s->queue))) {
		if (!r->answer)
			d->types[r->type].queued = false;
		TAILQ_REMOVE(&s->queue, r, link);
		request_free(r);
	}
}

/* Arrays of one message; the strings stay those of the items. */
struct lists {
	char **subscribe, **unsubscribe;
	size_t n_subscribe, n_unsubscribe, n_versions;
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry *
		*versions,
		*version_store;
};

static void lists_free(struct lists *l)
{
	free(l->subscribe);
	free(l->unsubscribe);
	free(l->versions);
	free(l->version_store);
}

static int lists_new(struct lists *l, size_t n)
{
	memset(l, 0, sizeof(*l));
	n += !n;
	l->subscribe = calloc(n, sizeof(*l->subscribe));
	l->unsubscribe = calloc(n, sizeof(*l->unsubscribe));
	l->versions = calloc(n, sizeof(*l->versions));
	l->version_store = calloc(n, sizeof(*l->version_store));
	if (l->subscribe && l->unsubscribe && l->versions && l->version_store)
		return 0;
	lists_free(l);
	return -ENOMEM;
}

static void lists_add_version(struct lists *l, struct delta_item *item)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest__InitialResourceVersionsEntry *v =
		&l->version_store[l->n_versions];

	envoy__service__discovery__v3__delta_discovery_request__initial_resource_versions_entry__init(
		v);
	v->key = item->name;
	v->value = item->version;
	l->versions[l->n_versions++] = v;
}

static void lists_fill(struct lists *l, const struct delta_type *t)
{
	struct delta_item *item;

	TAILQ_FOREACH(item, &t->items, link)
	{
		if (!t->wildcard && item->watchers && !item->sent)
			l->subscribe[l->n_subscribe++] = item->name;
		if (!t->wildcard && !item->watchers && item->unsubscribe)
			l->unsubscribe[l->n_unsubscribe++] = item->name;
		if (!t->first_sent && item->held && item->version)
			lists_add_version(l, item);
	}
}

/* The request left: note what the server knows now. */
void delta_subscription_sent(struct weft_delta *d, struct delta_type *t)
{
	struct delta_item *item, *next;

	t->first_sent = true;
	for (item = TAILQ_FIRST(&t->items); item; item = next) {
		next = TAILQ_NEXT(item, link);
		if (t->wildcard)
			continue;
		if (item->watchers) {
			item->sent = true;
			item->unsubscribe = false;
		} else if (item->unsubscribe) {
			delta_item_free(d, item);
		}
	}
}

Envoy__Config__Core__V3__Node *delta_node_due(struct weft_delta *d, enum weft_xds_type type)
{
	return delta_stream_of(d, type)->node_sent ? NULL : d->node;
}

int delta_pack(struct weft_delta *d, enum weft_xds_type type, const ProtobufCMessage *msg,
	       uint8_t **ret, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *buf = malloc(len + !len);

	if (!buf)
		return -ENOMEM;
	protobuf_c_message_pack(msg, buf);
	delta_stream_of(d, type)->node_sent = true;
	d->stats.requests++;
	*ret = buf;
	*ret_len = len;
	return 0;
}

static int pack(struct weft_delta *d, Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *msg,
		enum weft_xds_type type, uint8_t **ret, size_t *ret_len)
{
	msg->type_url = (char *)(uintptr_t)weft_xds_type_url(type);
	msg->node = delta_node_due(d, type);
	return delta_pack(d, type, &msg->base, ret, ret_len);
}

/* -EAGAIN: nothing to say after all. */
static int pack_subscription(struct weft_delta *d, enum weft_xds_type type, uint8_t **ret,
			     size_t *ret_len)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest msg =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	struct delta_type *t = &d->types[type];
	struct lists l;
	int err = lists_new(&l, t->n_items);

	if (err)
		return err;
	lists_fill(&l, t);
	msg.resource_names_subscribe = l.subscribe;
	msg.n_resource_names_subscribe = l.n_subscribe;
	msg.resource_names_unsubscribe = l.unsubscribe;
	msg.n_resource_names_unsubscribe = l.n_unsubscribe;
	msg.initial_resource_versions = l.versions;
	msg.n_initial_resource_versions = l.n_versions;
	/*
	 * A first request without names would be a wildcard, so a type nobody asks for is not sent.
	 */
	if (l.n_subscribe || l.n_unsubscribe || (t->wildcard && !t->first_sent))
		err = pack(d, &msg, type, ret, ret_len);
	else
		err = -EAGAIN;
	lists_free(&l);
	if (!err)
		delta_subscription_sent(d, t);
	return err;
}

static int pack_answer(struct weft_delta *d, const struct delta_request *r, uint8_t **ret,
		       size_t *ret_len)
{
	Envoy__Service__Discovery__V3__DeltaDiscoveryRequest msg =
		ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;

	msg.response_nonce = r->nonce;
	if (r->error) {
		status.code = CODE_INTERNAL;
		status.message = r->error;
		msg.error_detail = &status;
	}
	return pack(d, &msg, r->type, ret, ret_len);
}

int weft_delta_next_request_on(struct weft_delta *d, unsigned int stream, uint8_t **ret,
			       size_t *ret_len)
{
	struct delta_stream *s = &d->streams[stream];
	struct delta_request *r;

	if (s->broken)
		return -ENOMEM;
	while ((r = TAILQ_FIRST(&s->queue))) {
		int err = d->sotw     ? delta_sotw_pack(d, r, ret, ret_len)
			  : r->answer ? pack_answer(d, r, ret, ret_len)
				      : pack_subscription(d, r->type, ret, ret_len);

		if (err && err != -EAGAIN)
			return err; /* stays in the queue */
		if (!r->answer)
			d->types[r->type].queued = false;
		TAILQ_REMOVE(&s->queue, r, link);
		request_free(r);
		if (!err)
			return 0;
	}
	return -EAGAIN;
}
