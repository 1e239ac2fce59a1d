// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An endpoint that speaks HTTP/2, by nghttp2, for fix_server(h2s_serve): what it does is said by
 * the path of each request. A thread per connection; what the test looks at is under `h2s.lock`.
 */

#include "proxy_fixture.h"

#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>

#define H2S_STREAMS 256
#define H2S_TEXT 4096

struct h2s_stream {
	int32_t id;
	char path[128];
	char text[H2S_TEXT]; /* "name: value\n" of head and trailers, in order */
	size_t len;	     /* of the body */
	size_t left;	     /* of the response's body */
	bool ended, answered, open, trailers;
	bool holds; /* the last byte of its response waits for the gate */
};

struct h2s_conn {
	int fd;
	nghttp2_session *session;
	struct h2s_stream stream[H2S_STREAMS];
	size_t n, open;
	bool stop, huge, stray, deaf;
};

static struct {
	pthread_mutex_t lock;
	bool gate;	       /* /wait is answered */
	uint32_t streams;      /* max_concurrent_streams that is said, 0: none */
	uint32_t window;       /* initial window that is said, 0: none */
	bool stalls;	       /* bodies of requests are not given back */
	unsigned int requests; /* that came */
	unsigned int most;     /* that were open on one connection at a time */
	bool deaf; /* what comes is thrown away, and nothing is said; /deaf: behind its answer */
	unsigned int pings;    /* that came, and were answered */
	unsigned int refuse;   /* so many are refused first */
	unsigned int resets;   /* that came */
	uint32_t reset;	       /* code of the last */
	unsigned int goaways;  /* that came */
	uint32_t goaway;       /* code of the last */
	char text[H2S_TEXT];   /* of the last request that was complete */
	size_t len, received;  /* of its body; of all bodies */
} h2s = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void h2s_set(bool *flag, bool on)
{
	pthread_mutex_lock(&h2s.lock);
	*flag = on;
	pthread_mutex_unlock(&h2s.lock);
}

static inline unsigned int h2s_get(const unsigned int *n)
{
	unsigned int v;

	pthread_mutex_lock(&h2s.lock);
	v = *n;
	pthread_mutex_unlock(&h2s.lock);
	return v;
}

/* Until the number is reached, at most ten seconds. */
static inline void h2s_until(const unsigned int *n, unsigned int want)
{
	uint64_t end = fix_now_ms() + 10000;

	while (h2s_get(n) < want && fix_now_ms() < end)
		fix_sleep(5);
	assert_true(h2s_get(n) >= want);
}

/* A line of the last request. */
static inline bool h2s_has(const char *line)
{
	bool has;

	pthread_mutex_lock(&h2s.lock);
	has = strstr(h2s.text, line);
	if (!has)
		print_message("no %s in: %s\n", line, h2s.text);
	pthread_mutex_unlock(&h2s.lock);
	return has;
}

#define H2S_NV(n, v)                                                                               \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v),        \
			NGHTTP2_NV_FLAG_NONE                                                       \
	}

static inline bool h2s_gate(void)
{
	bool open;

	pthread_mutex_lock(&h2s.lock);
	open = h2s.gate;
	pthread_mutex_unlock(&h2s.lock);
	return open;
}

static inline ssize_t h2s_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
			       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	static const nghttp2_nv trailers[] = {H2S_NV("grpc-status", "0"), H2S_NV("x-end", "yes")};
	struct h2s_stream *s = source->ptr;

	(void)arg;
	if (s->holds && s->left == 1 && !h2s_gate())
		return NGHTTP2_ERR_DEFERRED;
	if (s->holds && s->left > 1)
		n = s->left - 1 < n ? s->left - 1 : n;
	if (n > s->left)
		n = s->left;
	memset(buf, 's', n);
	s->left -= n;
	if (!s->left) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(session, id, trailers, 2);
		}
	}
	return (ssize_t)n;
}

static inline bool h2s_is(const struct h2s_stream *s, const char *begin)
{
	return !strncmp(s->path, begin, strlen(begin));
}

static inline size_t h2s_number(const struct h2s_stream *s)
{
	const char *q = strchr(s->path, '?');

	return q ? strtoul(q + 1, NULL, 10) : 0;
}

/* 200 with `bytes` of body; trailers behind it when the stream says so. */
static inline void h2s_answer(struct h2s_conn *c, struct h2s_stream *s, const char *status,
			      size_t bytes, const char *name, const char *value)
{
	nghttp2_nv nv[] = {H2S_NV(":status", status),
			   H2S_NV(name ? name : "x-h2", name ? value : "1")};
	nghttp2_data_provider body = {.source.ptr = s, .read_callback = h2s_read};

	s->left = bytes;
	s->answered = true;
	nghttp2_submit_response(c->session, s->id, nv, 2, bytes || s->trailers ? &body : NULL);
}

/* What the head alone is answered by. */
static inline void h2s_head(struct h2s_conn *c, struct h2s_stream *s)
{
	bool refuse;

	pthread_mutex_lock(&h2s.lock);
	h2s.requests++;
	refuse = h2s.refuse && h2s.refuse--;
	if (c->open > h2s.most)
		h2s.most = (unsigned int)c->open;
	pthread_mutex_unlock(&h2s.lock);
	if (refuse || h2s_is(s, "/reset")) {
		s->answered = true;
		nghttp2_submit_rst_stream(c->session, 0, s->id,
					  refuse ? NGHTTP2_REFUSED_STREAM
						 : (uint32_t)h2s_number(s));
	} else if (h2s_is(s, "/early")) {
		h2s_answer(c, s, "413", 3, NULL, NULL);
	} else if (h2s_is(s, "/goaway")) {
		s->answered = true;
		nghttp2_submit_goaway(c->session, 0, s->id > 2 ? s->id - 2 : 0, NGHTTP2_NO_ERROR,
				      NULL, 0);
	} else if (h2s_is(s, "/close")) {
		c->stop = true;
	} else if (h2s_is(s, "/huge")) {
		c->huge = true; /* behind the answer */
	} else if (h2s_is(s, "/stray")) {
		c->stray = true; /* the same */
	} else if (h2s_is(s, "/update")) {
		nghttp2_submit_window_update(c->session, 0, s->id, 1);
	} else if (h2s_is(s, "/tunnel/held")) {
		s->holds = true;
		h2s_answer(c, s, "200", 4, NULL, NULL);
	} else if (h2s_is(s, "/tunnel")) {
		h2s_answer(c, s, "200", 4, NULL, NULL);
	} else if (h2s_is(s, "/bad")) {
		h2s_answer(c, s, "200", 0, "connection", "close");
	}
}

static inline void h2s_whole(struct h2s_conn *c, struct h2s_stream *s)
{
	pthread_mutex_lock(&h2s.lock);
	memcpy(h2s.text, s->text, sizeof(h2s.text));
	h2s.len = s->len;
	pthread_mutex_unlock(&h2s.lock);
	if (s->answered)
		return;
	if (h2s_is(s, "/wait")) {
		if (h2s_gate())
			h2s_answer(c, s, "200", 2, NULL, NULL);
	} else if (h2s_is(s, "/empty")) {
		h2s_answer(c, s, "200", 0, NULL, NULL);
	} else if (h2s_is(s, "/length")) {
		h2s_answer(c, s, "200", 5, "content-length", "5");
	} else if (h2s_is(s, "/short")) {
		h2s_answer(c, s, "200", 5, "content-length", "9");
	} else if (h2s_is(s, "/trailers")) {
		s->trailers = true;
		h2s_answer(c, s, "200", h2s_number(s), "content-type", "application/grpc");
	} else if (h2s_is(s, "/status")) {
		h2s_answer(c, s, strchr(s->path, '?') + 1, 2, NULL, NULL);
	} else if (h2s_is(s, "/grpc")) {
		h2s_answer(c, s, "200", 0, "grpc-status", strchr(s->path, '?') + 1);
	} else if (h2s_is(s, "/deaf")) {
		h2s_answer(c, s, "200", 0, NULL, NULL);
		c->deaf = true;
	} else {
		size_t n = h2s_number(s);

		h2s_answer(c, s, "200", n ? n : 2, NULL, NULL);
	}
}

static inline int h2s_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2s_conn *c = arg;
	struct h2s_stream *s;

	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (c->n == H2S_STREAMS)
		abort();
	s = &c->stream[c->n++];
	*s = (struct h2s_stream){.id = frame->hd.stream_id, .open = true};
	c->open++;
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

static inline int h2s_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t n, const uint8_t *value, size_t len,
			     uint8_t flags, void *arg)
{
	struct h2s_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	size_t at = s ? strlen(s->text) : 0;

	(void)flags;
	(void)arg;
	if (s)
		snprintf(s->text + at, sizeof(s->text) - at, "%.*s: %.*s\n", (int)n, name, (int)len,
			 value);
	if (s && n == 5 && !memcmp(name, ":path", 5))
		snprintf(s->path, sizeof(s->path), "%.*s", (int)len, value);
	return 0;
}

static inline int h2s_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2s_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	struct h2s_conn *c = arg;

	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		pthread_mutex_lock(&h2s.lock);
		h2s.resets++;
		h2s.reset = frame->rst_stream.error_code;
		pthread_mutex_unlock(&h2s.lock);
	}
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		pthread_mutex_lock(&h2s.lock);
		h2s.goaways++;
		h2s.goaway = frame->goaway.error_code;
		pthread_mutex_unlock(&h2s.lock);
	}
	if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
		pthread_mutex_lock(&h2s.lock);
		h2s.pings++;
		pthread_mutex_unlock(&h2s.lock);
	}
	if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		h2s_head(c, s);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		s->ended = true;
		h2s_whole(c, s);
	}
	return 0;
}

static inline int h2s_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
			   size_t len, void *arg)
{
	struct h2s_stream *s = nghttp2_session_get_stream_user_data(session, id);
	bool stalls;

	(void)flags;
	(void)data;
	(void)arg;
	if (s)
		s->len += len;
	pthread_mutex_lock(&h2s.lock);
	h2s.received += len;
	stalls = h2s.stalls;
	pthread_mutex_unlock(&h2s.lock);
	nghttp2_session_consume_connection(session, len);
	if (!stalls)
		nghttp2_session_consume_stream(session, id, len);
	return 0;
}

static inline int h2s_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2s_stream *s = nghttp2_session_get_stream_user_data(session, id);
	struct h2s_conn *c = arg;

	(void)error;
	if (s) {
		s->open = false;
		c->open--;
	}
	return 0;
}

static inline bool h2s_write(struct h2s_conn *c)
{
	const uint8_t *out;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &out)) > 0) {
		for (ssize_t at = 0; at < n;) {
			ssize_t k = send(c->fd, out + at, (size_t)(n - at), MSG_NOSIGNAL);

			if (k <= 0)
				return false;
			at += k;
		}
	}
	return !n;
}

static inline void h2s_open(struct h2s_conn *c)
{
	nghttp2_settings_entry settings[2];
	nghttp2_session_callbacks *k;
	nghttp2_option *o;
	size_t n = 0;

	nghttp2_session_callbacks_new(&k);
	nghttp2_option_new(&o);
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_http_messaging(o, 1); /* it may say what no server should */
	nghttp2_session_callbacks_set_on_begin_headers_callback(k, h2s_begin);
	nghttp2_session_callbacks_set_on_header_callback(k, h2s_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(k, h2s_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(k, h2s_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(k, h2s_close);
	nghttp2_session_server_new2(&c->session, k, c, o);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(k);
	pthread_mutex_lock(&h2s.lock);
	if (h2s.streams)
		settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
							 h2s.streams};
	if (h2s.window)
		settings[n++] =
			(nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2s.window};
	pthread_mutex_unlock(&h2s.lock);
	nghttp2_submit_settings(c->session, 0, settings, n);
}

/* Those that wait for the gate. */
static inline void h2s_gated(struct h2s_conn *c)
{
	for (size_t i = 0; h2s_gate() && i < c->n; i++) {
		struct h2s_stream *s = &c->stream[i];

		if (s->open && s->ended && !s->answered)
			h2s_whole(c, s);
		if (s->open && s->holds)
			nghttp2_session_resume_data(c->session, s->id);
	}
}

static inline void h2s_serve(int fd)
{
	struct h2s_conn *c = calloc(1, sizeof(*c));
	static _Thread_local uint8_t block[65536];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int one = 1;
	bool deaf;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!c)
		abort();
	c->fd = fd;
	h2s_open(c);
	while (!c->stop) {
		ssize_t n;

		h2s_gated(c);
		if (!h2s_write(c))
			break;
		pthread_mutex_lock(&h2s.lock);
		deaf = h2s.deaf || c->deaf;
		pthread_mutex_unlock(&h2s.lock);
		/* a frame that is longer than any may be */
		if (c->huge)
			send(fd, "\xff\xff\xff\0\0\0\0\0\1", 9, MSG_NOSIGNAL);
		/* DATA of no stream */
		if (c->stray)
			send(fd, "\0\0\1\0\0\0\0\0\0x", 10, MSG_NOSIGNAL);
		c->huge = c->stray = false;
		if (poll(&p, 1, 10) != 1)
			continue;
		n = recv(fd, block, sizeof(block), 0);
		if (n <= 0 || (!deaf && nghttp2_session_mem_recv(c->session, block, (size_t)n) < 0))
			break;
	}
	nghttp2_session_del(c->session);
	free(c);
}

/* Before a test. */
static inline void h2s_reset(void)
{
	pthread_mutex_lock(&h2s.lock);
	h2s.gate = h2s.stalls = h2s.deaf = false;
	h2s.pings = h2s.goaways = 0;
	h2s.streams = h2s.window = h2s.reset = 0;
	h2s.requests = h2s.most = h2s.refuse = h2s.resets = 0;
	h2s.len = h2s.received = 0;
	h2s.text[0] = '\0';
	pthread_mutex_unlock(&h2s.lock);
}

/* Fields of a cluster whose endpoints speak HTTP/2, with options. */
#define H2S_CLUSTER(options)                                                                       \
	", typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3."                 \
	"HttpProtocolOptions: {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3." \
	"HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {" options "}}}}"

/* A proxy before it. */
static inline void h2s_start(const char *hcm, const char *routes, const char *cluster)
{
	h2s_reset();
	fix_server(h2s_serve);
	fix_open_http(hcm, routes, cluster, 1, 1);
}

/* One request of HTTP/1.1; its connection is closed. */
static inline void h2s_ask(const char *text, struct fix_answer *a)
{
	int fd = fix_dial();

	fix_say(fd, text);
	assert_true(fix_hear_of(fd, a, !strncmp(text, "HEAD", 4)));
	close(fd);
}

/* A route that tries again. */
#define H2S_RETRIES(on)                                                                            \
	"{match: {prefix: /}, route: {cluster: up, retry_policy: {retry_on: \"" on                 \
	"\", num_retries: 2, retry_back_off: {base_interval: 0.005s}}}}"
