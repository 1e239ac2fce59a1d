// SPDX-License-Identifier: Apache-2.0
/*
 * The server's thread asks the main thread for what is known at the moment, which takes it down by
 * reference, and makes the answer of it: one ClientConfig for each node that asks a server for
 * resources, with the files' resources in every one of them.
 */
#include "agent/status/csds.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/daemon.h"
#include "agent/local_address.h"
#include "agent/regex/regex.h"
#include "agent/status/status.h"
#include "envoy/service/status/v3/csds.pb-c.h"
#include "xds/cleanup.h"
#include "xds/grpc_csds.h"
#include "xds/redact.h"
#include "xds/wire.h"

typedef Envoy__Service__Status__V3__ClientStatusRequest request_msg;
typedef Envoy__Service__Status__V3__ClientConfig__GenericXdsConfig config_msg;
typedef Envoy__Type__Matcher__V3__StringMatcher matcher_msg;

struct weft_csds {
	struct weft_daemon *d;
	struct weft_csds_server *server;
	char *path; /* of a unix socket, else NULL */
	int bell_fd;
	pthread_mutex_t lock;
	pthread_cond_t taken;
	/* Under lock: the server's thread waits for status, the main thread gives it. */
	bool wanted, closed;
	struct weft_status *status;
	int err;
};

/* ---- from thread to thread ---- */

static void on_bell(void *ctx, uint32_t events)
{
	struct weft_csds *c = ctx;
	struct weft_status *status = NULL;
	uint64_t count;
	int err;

	(void)events;
	if (read(c->bell_fd, &count, sizeof(count)) < 0)
		return;
	err = c->d->ready ? weft_status_collect(c->d, &status) : -EAGAIN;
	pthread_mutex_lock(&c->lock);
	c->status = status;
	c->err = err;
	c->wanted = false;
	pthread_cond_signal(&c->taken);
	pthread_mutex_unlock(&c->lock);
}

/* On the server's thread. */
static int status_take(struct weft_csds *c, struct weft_status **ret)
{
	const uint64_t one = 1;
	int r = -ESHUTDOWN;

	pthread_mutex_lock(&c->lock);
	c->wanted = !c->closed;
	if (c->wanted && write(c->bell_fd, &one, sizeof(one)) != sizeof(one))
		c->wanted = false;
	else if (c->wanted)
		r = 0;
	while (c->wanted && !c->closed)
		pthread_cond_wait(&c->taken, &c->lock);
	if (r == 0)
		r = c->wanted ? -ESHUTDOWN : c->err;
	*ret = c->status;
	c->status = NULL;
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- which nodes ---- */

static bool ends_with(const char *text, const char *end, bool fold)
{
	size_t n = strlen(text), m = strlen(end);

	if (m > n)
		return false;
	return fold ? !strcasecmp(text + n - m, end) : !strcmp(text + n - m, end);
}

static bool regex_matches(const char *pattern, const char *text)
{
	struct weft_regex_error error;
	_auto_regex_ struct weft_regex *re = NULL;
	_auto_free_ char *whole = NULL;

	if (asprintf(&whole, "\\A(?:%s)\\z", pattern) < 0) {
		whole = NULL;
		return false;
	}
	return weft_regex_new(whole, WEFT_REGEX_PROGRAM_MAX, &re, &error) == 0 &&
	       weft_regex_search(re, text, (uint32_t)strlen(text), 0, NULL, 0) == 1;
}

static bool text_matches(const matcher_msg *m, const char *text)
{
	bool fold = m->ignore_case;

	switch (m->match_pattern_case) {
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_EXACT:
		return fold ? !strcasecmp(m->exact, text) : !strcmp(m->exact, text);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_PREFIX:
		return fold ? !strncasecmp(m->prefix, text, strlen(m->prefix))
			    : !strncmp(m->prefix, text, strlen(m->prefix));
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SUFFIX:
		return ends_with(text, m->suffix, fold);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CONTAINS:
		return fold ? strcasestr(text, m->contains) : strstr(text, m->contains);
	case ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX:
		return regex_matches(m->safe_regex->regex, text);
	default:
		return false;
	}
}

/* As the API says it: any of the matchers. */
static bool is_asked(const request_msg *q, const Envoy__Config__Core__V3__Node *node)
{
	for (size_t i = 0; i < q->n_node_matchers; i++) {
		const matcher_msg *m = q->node_matchers[i]->node_id;

		if (!m || text_matches(m, node ? node->id : ""))
			return true;
	}
	return !q->n_node_matchers;
}

static int request_check(const request_msg *q, char *error)
{
	for (size_t i = 0; i < q->n_node_matchers; i++) {
		const matcher_msg *m = q->node_matchers[i]->node_id;
		const char *why = NULL;

		if (q->node_matchers[i]->n_node_metadatas)
			why = "node_metadatas are not supported";
		else if (
			m &&
			(m->match_pattern_case ==
				 ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN__NOT_SET ||
			 m->match_pattern_case ==
				 ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_CUSTOM))
			why = "node_id: exact, prefix, suffix, contains or safe_regex is needed";
		if (!why)
			continue;
		snprintf(error, WEFT_CSDS_ERROR_MAX, "node_matchers[%zu]: %s", i, why);
		return -EINVAL;
	}
	return 0;
}

/* ---- messages ---- */

/* Bytes of a message that grows. */
struct bytes {
	uint8_t *data;
	size_t n, cap;
};

static int bytes_room(struct bytes *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 4096;
	uint8_t *data;

	while (cap < b->n + n)
		cap *= 2;
	if (cap == b->cap)
		return 0;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

/* A field of wire type 2. */
static int bytes_field(struct bytes *b, unsigned int number, const void *data, size_t len)
{
	int r = bytes_room(b, len + 12);

	if (r < 0)
		return r;
	b->data[b->n++] = (uint8_t)(number << 3 | 2);
	for (size_t left = len;; left >>= 7) {
		b->data[b->n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
		if (left <= 0x7f)
			break;
	}
	if (len)
		memcpy(b->data + b->n, data, len);
	b->n += len;
	return 0;
}

static int bytes_message(struct bytes *b, unsigned int number, const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	_auto_free_ uint8_t *data = malloc(n + 1);

	if (!data)
		return -ENOMEM;
	protobuf_c_message_pack(msg, data);
	return bytes_field(b, number, data, n);
}

static Google__Protobuf__Timestamp timestamp(int64_t ms)
{
	Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;

	t.seconds = ms / 1000;
	t.nanos = (int32_t)(ms % 1000) * 1000000;
	return t;
}

/* Without secrets; data is the caller's to free. */
static int any_fill(Google__Protobuf__Any *any, const struct weft_resource *r)
{
	_xds_msg_ ProtobufCMessage *shown = NULL;
	int err = weft_redacted(r->msg, &shown);

	if (err < 0)
		return err;
	any->type_url = (char *)(uintptr_t)weft_xds_type_url(r->type);
	any->value.len = protobuf_c_message_get_packed_size(shown);
	any->value.data = malloc(any->value.len + 1);
	if (!any->value.data)
		return -ENOMEM;
	protobuf_c_message_pack(shown, any->value.data);
	return 0;
}

static Envoy__Admin__V3__ClientResourceStatus status_of(enum weft_status_state state)
{
	switch (state) {
	case WEFT_STATUS_REQUESTED:
		return ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__REQUESTED;
	case WEFT_STATUS_DOES_NOT_EXIST:
		return ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__DOES_NOT_EXIST;
	case WEFT_STATUS_NACKED:
		return ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__NACKED;
	case WEFT_STATUS_TIMEOUT:
		return ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__TIMEOUT;
	default: /* one that warms was acknowledged, the saved one once was */
		return ENVOY__ADMIN__V3__CLIENT_RESOURCE_STATUS__ACKED;
	}
}

static int entry_add(struct bytes *to, const struct weft_status_entry *e, bool is_static,
		     bool contents)
{
	config_msg msg = ENVOY__SERVICE__STATUS__V3__CLIENT_CONFIG__GENERIC_XDS_CONFIG__INIT;
	Envoy__Admin__V3__UpdateFailureState failure = ENVOY__ADMIN__V3__UPDATE_FAILURE_STATE__INIT;
	Google__Protobuf__Any config = GOOGLE__PROTOBUF__ANY__INIT;
	Google__Protobuf__Any failed = GOOGLE__PROTOBUF__ANY__INIT;
	Google__Protobuf__Timestamp updated = timestamp(e->updated_ms);
	Google__Protobuf__Timestamp attempt = timestamp(e->failed_ms);
	/* The client's word counts: what it accepted last. */
	const struct weft_resource *r = e->warming ? e->warming : e->active;
	int err = 0;

	msg.type_url = (char *)(uintptr_t)weft_xds_type_url(e->type);
	msg.name = e->name;
	msg.version_info = e->warming ? e->warming->version : e->version;
	msg.client_status = status_of(e->state);
	msg.is_static_resource = is_static;
	if (e->state == WEFT_STATUS_STALE)
		msg.config_status = ENVOY__SERVICE__STATUS__V3__CONFIG_STATUS__STALE;
	if (e->updated_ms)
		msg.last_updated = &updated;
	if (r && contents) {
		err = any_fill(&config, r);
		msg.xds_config = &config;
	}
	if (e->error) {
		failure.details = e->error;
		failure.version_info = e->failed_version;
		failure.last_update_attempt = &attempt;
		if (e->failed && contents && err == 0) {
			err = any_fill(&failed, e->failed);
			failure.failed_configuration = &failed;
		}
		msg.error_state = &failure;
	}
	if (err == 0)
		err = bytes_message(to, 3, &msg.base);
	free(config.value.data);
	free(failed.value.data);
	return err;
}

/* A ClientConfig into the response, of a stream (NULL: files only) and the files of its view. */
static int client_add(struct bytes *response, const struct weft_status *s,
		      const struct weft_status_part *stream, uint32_t view, const request_msg *q)
{
	Envoy__Config__Core__V3__Node *node =
		stream ? envoy__config__core__v3__node__unpack(NULL, stream->n_node, stream->node)
		       : NULL;
	struct bytes b = {0};
	int err = 0;

	if (stream && !node)
		return -ENOMEM;
	if (!is_asked(q, node)) {
		if (node)
			envoy__config__core__v3__node__free_unpacked(node, NULL);
		return 0;
	}
	if (node) {
		err = bytes_message(&b, 1, &node->base);
		envoy__config__core__v3__node__free_unpacked(node, NULL);
	}
	for (size_t p = 0; p < s->n; p++) {
		const struct weft_status_part *part = &s->part[p];

		if (part != stream && (part->source != WEFT_SOURCE_FILE || part->view != view))
			continue;
		for (size_t i = 0; i < part->n && err == 0; i++)
			err = entry_add(&b, &part->v[i], part->source == WEFT_SOURCE_FILE,
					!q->exclude_resource_contents);
	}
	if (err == 0 && stream)
		err = bytes_field(&b, 4, stream->stream, strlen(stream->stream));
	if (err == 0)
		err = bytes_field(response, 1, b.data, b.n);
	free(b.data);
	return err;
}

static int response_make(const struct weft_status *s, const request_msg *q, struct bytes *ret)
{
	bool streams = false;
	int err = bytes_room(ret, 1);

	for (size_t i = 0; i < s->n && err == 0; i++) {
		const struct weft_status_part *p = &s->part[i];

		if (p->source != WEFT_SOURCE_XDS)
			continue;
		streams = true;
		err = client_add(ret, s, p, p->view, q);
	}
	if (!streams && err == 0)
		err = client_add(ret, s, NULL, WEFT_VIEW_DEFAULT, q);
	return err;
}

static int answer(void *ctx, const uint8_t *data, size_t len, uint8_t **ret, size_t *ret_len,
		  char error[WEFT_CSDS_ERROR_MAX])
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	_xds_msg_ ProtobufCMessage *msg = NULL;
	struct weft_status *status = NULL;
	struct bytes out = {0};
	int r = weft_wire_unpack(&envoy__service__status__v3__client_status_request__descriptor,
				 data, len, "ClientStatusRequest", "", &diag, &msg);

	if (r < 0) {
		snprintf(error, WEFT_CSDS_ERROR_MAX, "%s",
			 diag.n ? diag.entries[0].reason : strerror(-r));
		return r;
	}
	r = request_check((const request_msg *)msg, error);
	if (r == 0)
		r = status_take(ctx, &status);
	if (r == 0)
		r = response_make(status, (const request_msg *)msg, &out);
	weft_status_free(status);
	if (r < 0) {
		free(out.data);
		return r;
	}
	*ret = out.data;
	*ret_len = out.n;
	return 0;
}

/* ---- life ---- */

static int server_start(struct weft_csds *c, const char *address, struct weft_diag *diag)
{
	_auto_free_ char *unix_address = NULL;
	mode_t mask;
	int r;

	if (*address != '/') {
		struct sockaddr_storage addr;
		socklen_t len;

		if (weft_local_address_parse(address, &addr, &len))
			return weft_diag_add(diag, -EINVAL, "csds", address,
					     "neither ADDRESS:PORT of the loopback nor a path");
		return weft_csds_server_new(address, answer, c, diag, &c->server);
	}
	r = weft_local_path_claim(address, "csds", diag);
	if (r < 0)
		return r;
	if (asprintf(&unix_address, "unix:%s", address) < 0) {
		unix_address = NULL;
		return -ENOMEM;
	}
	mask = umask(0177);
	r = weft_csds_server_new(unix_address, answer, c, diag, &c->server);
	umask(mask);
	if (r < 0)
		return r;
	c->path = strdup(address);
	return c->path ? 0 : -ENOMEM;
}

int weft_csds_new(struct weft_daemon *d, const char *address, struct weft_diag *diag,
		  struct weft_csds **ret)
{
	struct weft_csds *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->d = d;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->taken, NULL);
	c->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = c->bell_fd < 0 ? -errno : weft_loop_add(d->loop, c->bell_fd, EPOLLIN, on_bell, c);
	if (r == 0)
		r = server_start(c, address, diag);
	if (r < 0) {
		weft_csds_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void weft_csds_free(struct weft_csds *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->closed = true;
	pthread_cond_signal(&c->taken);
	pthread_mutex_unlock(&c->lock);
	weft_csds_server_free(c->server);
	if (c->path)
		unlink(c->path);
	if (c->bell_fd >= 0) {
		weft_loop_remove(c->d->loop, c->bell_fd);
		close(c->bell_fd);
	}
	weft_status_free(c->status);
	pthread_cond_destroy(&c->taken);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c);
}
