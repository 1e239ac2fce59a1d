// SPDX-License-Identifier: Apache-2.0
/* Which versions of HTTP a connection manager takes, and the options of HTTP/2. */

#include "agent/compile/parts.h"

typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
	manager;
typedef Envoy__Config__Core__V3__Http2ProtocolOptions h2_options;

/*
 * Defaults of Envoy 1.40, but for the windows: its 16 MiB of a stream and 24 MiB of a connection
 * are memory that one client may take here for each of its streams. Peers are a loopback apart:
 * these are enough for full speed. What a connection has together is given back as soon as it is
 * read, so it binds no stream.
 */
static const struct weft_img_h2 defaults = {.table = 4096,
					    .streams = 1024,
					    .window = 256 * 1024,
					    .session_window = 1024 * 1024,
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

void weft_build_h2(struct weft_build *b, const h2_options *o, const char *field,
		   struct weft_img_h2 *ret)
{
	*ret = defaults;
	if (!o)
		return;
	weft_build_fields(b, &o->base, field);
	refuse(b, field, "allow_connect", o->allow_connect);
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
	weft_build_h2(b, o, weft_field(at, field, "http2_protocol_options"), &ret->h2);
	ret->h2.codec = codec;
	ret->h2.stream_error =
		o && (o->override_stream_error_on_invalid_http_message
			      ? o->override_stream_error_on_invalid_http_message->value
			      : o->stream_error_on_invalid_http_messaging);
}
