// SPDX-License-Identifier: Apache-2.0
/* Which versions of HTTP a connection manager takes and a cluster's endpoints are spoken to by, and
 * the options of HTTP/2. */

#include "agent/compile/parts.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
	manager;
typedef Envoy__Config__Core__V3__Http2ProtocolOptions h2_options;
typedef Envoy__Config__Core__V3__Http1ProtocolOptions h1_options;
typedef Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions upstream_options;

/*
 * Defaults of Envoy 1.40, but for the windows: its 16 MiB of a stream and 24 MiB of a connection
 * are memory that one client may take here for each of its streams. Peers are a loopback apart:
 * these are enough for full speed. What a connection has together is given back as soon as it is
 * read, so it binds no stream.
 */
#define WINDOW (256 * 1024)
#define SESSION_WINDOW (1024 * 1024)
/* The same of endpoints, which may be further away: a response gets through faster than one window
 * in the time of its way there and back. */
#define UPSTREAM_WINDOW (1024 * 1024)
#define UPSTREAM_SESSION_WINDOW (24 * 1024 * 1024)
static const struct weft_img_h2 defaults = {.table = 4096,
					    .streams = 1024,
					    .outbound = 10000,
					    .control = 1000,
					    .empty = 1,
					    .priority = 100,
					    .updates = 10};

static void refuse(struct weft_build *b, const char *field, const char *name, bool set)
{
	char at[WEFT_FIELD_MAX];

	if (set)
		weft_build_fail(b, weft_field(at, field, "%s", name), "unsupported");
}

/* Envoy's default of interval_jitter is 15 %. */
static void keepalive_fill(struct weft_build *b,
			   const Envoy__Config__Core__V3__KeepaliveSettings *k, const char *field,
			   struct weft_img_h2 *ret)
{
	double jitter = k->interval_jitter ? k->interval_jitter->value : 15;
	char at[WEFT_FIELD_MAX], in[WEFT_FIELD_MAX];

	weft_field(in, field, "connection_keepalive");
	weft_build_fields(b, &k->base, in);
	ret->ping_ms = weft_build_ms(b, k->interval, 0, weft_field(at, in, "interval"));
	ret->ping_timeout_ms = weft_build_ms(b, k->timeout, 0, weft_field(at, in, "timeout"));
	ret->ping_idle_ms = weft_build_ms(b, k->connection_idle_interval, 0,
					  weft_field(at, in, "connection_idle_interval"));
	ret->ping_jitter_ms = (uint32_t)(jitter * ret->ping_ms / 100);
}

void weft_build_h2(struct weft_build *b, const h2_options *o, const char *field, bool upstream,
		   struct weft_img_h2 *ret)
{
	*ret = defaults;
	ret->window = upstream ? UPSTREAM_WINDOW : WINDOW;
	ret->session_window = upstream ? UPSTREAM_SESSION_WINDOW : SESSION_WINDOW;
	if (!o)
		return;
	weft_build_fields(b, &o->base, field);
	/* upgrades go to endpoints as extended CONNECT in any case, in Envoy as well */
	refuse(b, field, "allow_connect", o->allow_connect && !upstream);
	refuse(b, field, "allow_metadata", o->allow_metadata);
	ret->table = weft_u32(o->hpack_table_size, ret->table);
	ret->streams = weft_u32(o->max_concurrent_streams, ret->streams);
	ret->window = weft_u32(o->initial_stream_window_size, ret->window);
	ret->session_window = weft_u32(o->initial_connection_window_size, ret->session_window);
	ret->outbound = weft_u32(o->max_outbound_frames, ret->outbound);
	ret->control = weft_u32(o->max_outbound_control_frames, ret->control);
	ret->empty = weft_u32(o->max_consecutive_inbound_frames_with_empty_payload, ret->empty);
	ret->priority = weft_u32(o->max_inbound_priority_frames_per_stream, ret->priority);
	ret->updates =
		weft_u32(o->max_inbound_window_update_frames_per_data_frame_sent, ret->updates);
	if (o->connection_keepalive)
		keepalive_fill(b, o->connection_keepalive, field, ret);
	ret->stream_error = !!(o->override_stream_error_on_invalid_http_message
				       ? o->override_stream_error_on_invalid_http_message->value
				       : o->stream_error_on_invalid_http_messaging);
}

bool weft_build_proper_case(struct weft_build *b,
			    const Envoy__Config__Core__V3__Http1ProtocolOptions *o,
			    const char *field)
{
	const Envoy__Config__Core__V3__Http1ProtocolOptions__HeaderKeyFormat *f =
		o->header_key_format;
	char at[WEFT_FIELD_MAX];

	if (!f)
		return false;
	weft_build_fields(b, &f->base, weft_field(at, field, "header_key_format"));
	return f->header_format_case ==
	       ENVOY__CONFIG__CORE__V3__HTTP1_PROTOCOL_OPTIONS__HEADER_KEY_FORMAT__HEADER_FORMAT_PROPER_CASE_WORDS;
}

void weft_build_codec(struct weft_build *b, const manager *m, const char *field,
		      struct weft_img_hcm *ret)
{
	const h2_options *o = m->http2_protocol_options;
	enum weft_codec codec = WEFT_CODEC_AUTO;
	char at[WEFT_FIELD_MAX];

	switch (m->codec_type) {
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__AUTO:
		break;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP1:
		codec = WEFT_CODEC_HTTP1;
		break;
	case ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__CODEC_TYPE__HTTP2:
		/* a request of HTTP/1.1 is none to it: no reply may come from the kernel */
		ret->flags |= WEFT_HCM_PREPARED;
		codec = WEFT_CODEC_HTTP2;
		break;
	default:
		weft_build_fail(b, weft_field(at, field, "codec_type"), "unsupported: HTTP/3");
	}
	weft_build_h2(b, o, weft_field(at, field, "http2_protocol_options"), false, &ret->h2);
	ret->h2.codec = codec;
}

/* ---- clusters ---- */

/* What concerns only requests that come in acts on upstream connections in Envoy neither. */
static void h1_fill(struct weft_build *b, const h1_options *o, const char *field,
		    struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	if (!o)
		return;
	weft_build_fields(b, &o->base, weft_field(at, field, "http_protocol_options"));
	if (weft_build_proper_case(b, o, at))
		ret->flags |= WEFT_CLUSTER_PROPER_CASE;
	if (o->send_fully_qualified_url)
		ret->flags |= WEFT_CLUSTER_WHOLE_URL;
}

static void h2_put(struct weft_build *b, const h2_options *o, const char *field,
		   struct weft_img_cluster *ret)
{
	struct weft_img_h2 h2;
	char at[WEFT_FIELD_MAX];

	weft_build_h2(b, o, weft_field(at, field, "http2_protocol_options"), true, &h2);
	ret->h2 = weft_build_put(b, &h2, sizeof(h2));
}

static void explicit_fill(
	struct weft_build *b,
	const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions__ExplicitHttpConfig *o,
	const char *field, struct weft_img_cluster *ret)
{
	switch (o->protocol_config_case) {
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP_PROTOCOL_OPTIONS:
		h1_fill(b, o->http_protocol_options, field, ret);
		break;
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS:
		ret->http = WEFT_UPSTREAM_HTTP2;
		h2_put(b, o->http2_protocol_options, field, ret);
		break;
	default:
		weft_build_fail(b, field, "unsupported: HTTP/3 upstream");
	}
}

void weft_build_upstream_codec(struct weft_build *b, const upstream_options *o, const char *field,
			       struct weft_img_cluster *ret)
{
	char at[WEFT_FIELD_MAX];

	switch (o->upstream_protocol_options_case) {
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG:
		explicit_fill(b, o->explicit_http_config,
			      weft_field(at, field, "explicit_http_config"), ret);
		break;
	case ENVOY__EXTENSIONS__UPSTREAMS__HTTP__V3__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG:
		weft_field(at, field, "use_downstream_protocol_config");
		ret->http = WEFT_UPSTREAM_AS_CLIENT;
		h1_fill(b, o->use_downstream_protocol_config->http_protocol_options, at, ret);
		h2_put(b, o->use_downstream_protocol_config->http2_protocol_options, at, ret);
		break;
	default:
		break;
	}
}

void weft_build_legacy_codec(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			     struct weft_img_cluster *ret)
{
	if (c->http_protocol_options)
		h1_fill(b, c->http_protocol_options, "", ret);
	if (c->protocol_selection ==
	    ENVOY__CONFIG__CLUSTER__V3__CLUSTER__CLUSTER_PROTOCOL_SELECTION__USE_DOWNSTREAM_PROTOCOL)
		ret->http = WEFT_UPSTREAM_AS_CLIENT;
	else if (c->http2_protocol_options)
		ret->http = WEFT_UPSTREAM_HTTP2;
	if (ret->http != WEFT_UPSTREAM_HTTP1)
		h2_put(b, c->http2_protocol_options, "", ret);
}
