// SPDX-License-Identifier: Apache-2.0
#include "agent/log.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "xds/grpc.h"

static const char *const level_name[WEFT_LOG__MAX] = {"error", "warn", "info", "debug"};
static enum weft_log_level max_level = WEFT_LOG_INFO;
static int log_fd = STDERR_FILENO;

void weft_log_set_level(enum weft_log_level level)
{
	max_level = level;
}

enum weft_log_level weft_log_level_from_name(const char *name)
{
	int i;

	for (i = 0; i < WEFT_LOG__MAX; i++) {
		if (strcmp(name, level_name[i]) == 0)
			break;
	}
	return (enum weft_log_level)i;
}

void weft_log_set_fd(int fd)
{
	log_fd = fd;
}

/* A line under construction; what does not fit is dropped, one byte is kept for the newline. */
struct line {
	char *buf;
	size_t size, len;
};

static void put_bytes(struct line *l, const char *s, size_t n)
{
	size_t room = l->size - 1 - l->len;

	if (n > room)
		n = room;
	memcpy(l->buf + l->len, s, n);
	l->len += n;
}

static void put(struct line *l, const char *s)
{
	put_bytes(l, s, strlen(s));
}

static bool needs_quotes(const char *s)
{
	if (*s == '\0')
		return true;
	return s[strspn(s,
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/:@+-")];
}

/* Control bytes and non-ASCII are escaped, so that a line stays one line in any terminal. */
static void put_quoted(struct line *l, const char *s)
{
	put(l, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		char esc[8];

		if (c == '"' || c == '\\')
			snprintf(esc, sizeof(esc), "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			snprintf(esc, sizeof(esc), "\\x%02x", c);
		else
			snprintf(esc, sizeof(esc), "%c", c);
		put(l, esc);
	}
	put(l, "\"");
}

static void put_kv(struct line *l, const struct weft_kv *kv)
{
	char number[32];

	put(l, " ");
	put(l, kv->key);
	put(l, "=");
	switch (kv->kind) {
	case WEFT_KV_STRING:
		if (!kv->s)
			put(l, "-");
		else if (needs_quotes(kv->s))
			put_quoted(l, kv->s);
		else
			put(l, kv->s);
		break;
	case WEFT_KV_UNSIGNED:
		snprintf(number, sizeof(number), "%llu", (unsigned long long)kv->u);
		put(l, number);
		break;
	case WEFT_KV_SIGNED:
		snprintf(number, sizeof(number), "%lld", (long long)kv->i);
		put(l, number);
		break;
	}
}

size_t weft_log_format(char *line, size_t size, enum weft_log_level level, const char *message,
		       const struct weft_kv *kv, size_t n)
{
	struct line l = {.buf = line, .size = size};
	char stamp[64], millis[32];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(millis, sizeof(millis), ".%03ldZ ", ts.tv_nsec / 1000000);
	put(&l, stamp);
	put(&l, millis);
	put(&l, level_name[level]);
	put(&l, " ");
	put(&l, message);
	for (size_t i = 0; i < n; i++)
		put_kv(&l, &kv[i]);
	line[l.len] = '\n';
	return l.len + 1;
}

void weft_log_event(enum weft_log_level level, const char *message, const struct weft_kv *kv,
		    size_t n)
{
	char line[WEFT_LOG_LINE_MAX];
	size_t len;

	if (level > max_level)
		return;
	len = weft_log_format(line, sizeof(line), level, message, kv, n);
	/* A log that cannot be written has nowhere to say so. */
	if (write(log_fd, line, len) < 0)
		return;
}

static void log_text(enum weft_log_level level, const char *message, char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	if (len > 0)
		WEFT_LOG(level, message, WEFT_KV_S("text", text));
}

static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/* libbpf warns about every feature it tries in vain; what matters is reported by the caller. */
static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	enum weft_log_level ours = level == LIBBPF_WARN ? WEFT_LOG_DEBUG : WEFT_LOG__MAX;
	char text[2048];

	if (ours > max_level)
		return 0;
	vsnprintf(text, sizeof(text), fmt, args);
	log_text(ours, "libbpf", text);
	return 0;
}

static void grpc_print(enum weft_xds_log_level level, const char *message)
{
	char text[2048];

	snprintf(text, sizeof(text), "%s", message);
	log_text(level == WEFT_XDS_LOG_ERROR ? WEFT_LOG_WARN : WEFT_LOG_DEBUG, "grpc", text);
}

void weft_log_adopt_libraries(void)
{
	libbpf_set_print(libbpf_print);
	weft_xds_log_sink(grpc_print);
}
