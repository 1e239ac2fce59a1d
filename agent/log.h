/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's log: one line per event on standard error, "time level message key=value ...". Any
 * thread; a line is one write.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum weft_log_level { WEFT_LOG_ERROR, WEFT_LOG_WARN, WEFT_LOG_INFO, WEFT_LOG_DEBUG, WEFT_LOG__MAX };

/* A line longer than this is cut: no peer can make the log grow by one long name. */
#define WEFT_LOG_LINE_MAX 8192

enum weft_kv_kind { WEFT_KV_STRING = 1, WEFT_KV_UNSIGNED, WEFT_KV_SIGNED };

/* One key=value of a line's tail. Strings are quoted when they hold anything but
 * [A-Za-z0-9._/:@+-]. */
struct weft_kv {
	const char *key;
	enum weft_kv_kind kind;
	const char *s;
	uint64_t u;
	int64_t i;
};
#define WEFT_KV_S(name, value)                                                                     \
	((struct weft_kv){.key = (name), .kind = WEFT_KV_STRING, .s = (value)})
#define WEFT_KV_U(name, value)                                                                     \
	((struct weft_kv){.key = (name), .kind = WEFT_KV_UNSIGNED, .u = (value)})
#define WEFT_KV_I(name, value)                                                                     \
	((struct weft_kv){.key = (name), .kind = WEFT_KV_SIGNED, .i = (value)})

/* Lines above this level are dropped; INFO at start. Before any thread exists. */
void weft_log_set_level(enum weft_log_level level);
/* "error", "warn", "info", "debug"; WEFT_LOG__MAX for any other word. */
enum weft_log_level weft_log_level_from_name(const char *name);
/* Where lines go instead of file descriptor 2 (tests). */
void weft_log_set_fd(int fd);

void weft_log_event(enum weft_log_level level, const char *message, const struct weft_kv *kv,
		    size_t n);

#define WEFT_LOG(level, message, ...)                                                              \
	do {                                                                                       \
		const struct weft_kv kv_[] = {__VA_ARGS__ __VA_OPT__(, ){.key = NULL}};            \
		weft_log_event((level), (message), kv_, sizeof(kv_) / sizeof(kv_[0]) - 1);         \
	} while (0)

/* Makes libbpf's and gRPC's own messages lines of this log. */
void weft_log_adopt_libraries(void);

/* Formats one line without writing it; returns its length. For tests and the writer itself. */
size_t weft_log_format(char *line, size_t size, enum weft_log_level level, const char *message,
		       const struct weft_kv *kv, size_t n);
