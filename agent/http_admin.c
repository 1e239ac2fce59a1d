// SPDX-License-Identifier: Apache-2.0
#include "agent/http_admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/local_address.h"

struct weft_http {
	struct weft_clients *clients; /* NULL: not bound */
	int fd;			      /* until it is theirs */
	char *path;		      /* of a unix socket, else NULL */
	weft_http_fn fn;
	void *ctx;
};

static const char *reason_of(unsigned int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

static char *head_text(const struct weft_http_answer *a, const char *framing, int *ret_len)
{
	char *text;

	*ret_len = asprintf(&text,
			    "HTTP/1.1 %u %s\r\ncontent-type: %s\r\n%s"
			    "cache-control: no-cache, max-age=0\r\n"
			    "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
			    a->status, reason_of(a->status),
			    a->type ? a->type : "text/plain; charset=UTF-8", framing);
	return *ret_len < 0 ? NULL : text;
}

/* ---- an answer that is there ---- */

/* Takes over the body. */
static void client_answer(struct weft_client *c, struct weft_http_answer *a, bool head)
{
	const char *reason = reason_of(a->status), *body = a->body ? a->body : reason;
	size_t len = a->body ? a->len : strlen(reason);
	char framing[64], *text, *more;
	int n;

	snprintf(framing, sizeof(framing), "content-length: %zu\r\n", len);
	text = head_text(a, framing, &n);
	more = !text || head ? text : realloc(text, (size_t)n + len + 1);
	if (more && !head)
		memcpy(more + n, body, len);
	else if (!more)
		free(text);
	free(a->body);
	weft_client_answer(c, more, (size_t)n + (head ? 0 : len));
}

/* ---- one that is written while it is sent ---- */

struct streamed {
	struct weft_client_stream body;
	char *head;
	bool chunks; /* else what comes until the end of the connection */
	FILE *out;
};

/* RFC 9112 7.1; with what a body's buffer holds. */
static ssize_t chunk_write(void *cookie, const char *data, size_t len)
{
	struct streamed *s = cookie;

	fprintf(s->out, "%zx\r\n", len);
	fwrite(data, 1, len, s->out);
	fputs("\r\n", s->out);
	return ferror(s->out) ? 0 : (ssize_t)len;
}

static int stream_run(void *job, FILE *out)
{
	static const cookie_io_functions_t io = {.write = chunk_write};
	struct streamed *s = job;
	FILE *body;
	int r;

	fputs(s->head, out);
	if (!s->chunks) {
		return s->body.fn(s->body.job, out);
	}
	s->out = out;
	body = fopencookie(s, "w", io);
	if (!body)
		return -ENOMEM;
	setvbuf(body, NULL, _IOFBF, WEFT_HTTP_CHUNK);
	r = s->body.fn(s->body.job, body);
	if (ferror(body))
		r = -EIO;
	/* A reader takes an answer without its last chunk for one that was cut off: it was. */
	if (fclose(body) == 0 && r == 0)
		fputs("0\r\n\r\n", out);
	return r;
}

static void stream_free(void *job)
{
	struct streamed *s = job;

	s->body.free(s->body.job);
	free(s->head);
	free(s);
}

static void client_stream(struct weft_client *c, const struct weft_http_answer *a,
			  const struct weft_http_request *request)
{
	struct streamed *s = calloc(1, sizeof(*s));
	const struct weft_client_stream stream = {stream_run, stream_free, s};
	int n = 0;

	if (s)
		s->head = head_text(a, request->old ? "" : "transfer-encoding: chunked\r\n", &n);
	if (!s || !s->head || request->head) {
		a->stream.free(a->stream.job);
		weft_client_answer(c, s ? s->head : NULL, (size_t)n);
		free(s);
		return;
	}
	s->body = a->stream;
	s->chunks = !request->old;
	weft_client_stream(c, &stream);
}

static void client_asked(void *ctx, struct weft_client *c, const char *data, size_t len, bool full)
{
	struct weft_http *h = ctx;
	struct weft_http_answer answer = {.status = 404};
	struct weft_http_request request = {0};
	int r = weft_http_request_parse(data, len, &request);

	(void)full; /* the parser's own limit is the same */
	if (r == -EAGAIN)
		return;
	if (r)
		answer.status = r == -EMSGSIZE ? 431 : r == -EOPNOTSUPP ? 405 : 400;
	else
		h->fn(h->ctx, &request, &answer);
	if (answer.stream.fn)
		client_stream(c, &answer, &request);
	else
		client_answer(c, &answer, request.head);
}

/* ---- where it listens ---- */

static int unix_listen(struct weft_http *h, const char *path, struct weft_diag *diag)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	r = weft_local_path_claim(path, "admin-http", diag);
	if (r < 0)
		return r;
	strcpy(addr.sun_path, path); /* as long as that at most */
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(h->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return weft_diag_add(diag, r, "admin-http", path, "%s", strerror(-r));
	h->path = strdup(path);
	return h->path ? 0 : -ENOMEM;
}

static int tcp_listen(struct weft_http *h, const char *address, struct weft_diag *diag)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int one = 1, r;

	if (weft_local_address_parse(address, &addr, &len))
		return weft_diag_add(diag, -EINVAL, "admin-http", address,
				     "neither ADDRESS:PORT of the loopback nor a path");
	h->fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return -errno;
	setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(h->fd, (struct sockaddr *)&addr, len) < 0 ? -errno : 0;
	return r < 0 ? weft_diag_add(diag, r, "admin-http", address, "%s", strerror(-r)) : 0;
}

int weft_http_new(struct weft_loop *loop, const char *address, weft_http_fn fn, void *ctx,
		  struct weft_diag *diag, struct weft_http **ret)
{
	struct weft_clients_conf conf = {
		.max = WEFT_HTTP_CLIENTS_MAX,
		.request_max = WEFT_HTTP_REQUEST_MAX,
		.idle_ms = WEFT_HTTP_IDLE_MS,
		.linger = true,
		.asked = client_asked,
	};
	struct weft_http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	conf.ctx = h;
	h->fn = fn;
	h->ctx = ctx;
	h->fd = -1;
	r = *address == '/' ? unix_listen(h, address, diag) : tcp_listen(h, address, diag);
	if (r == 0 && listen(h->fd, WEFT_HTTP_CLIENTS_MAX) < 0)
		r = weft_diag_add(diag, -errno, "admin-http", address, "%s", strerror(errno));
	if (r == 0)
		r = weft_clients_new(loop, h->fd, &conf, &h->clients);
	if (r == 0)
		h->fd = -1;
	if (r < 0) {
		weft_http_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void weft_http_tick(struct weft_http *h)
{
	if (h)
		weft_clients_tick(h->clients);
}

void weft_http_free(struct weft_http *h)
{
	if (!h)
		return;
	weft_clients_free(h->clients);
	if (h->fd >= 0)
		close(h->fd);
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}
