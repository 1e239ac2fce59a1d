// SPDX-License-Identifier: Apache-2.0
/* Header values in the language of Envoy's substitution formatter: %COMMAND(PARAMETERS):LENGTH%. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/compile/format.h"

enum params { PARAMS_NONE, PARAMS_OPTIONAL, PARAMS_REQUIRED };

struct command {
	const char *name;
	uint32_t kind; /* 0: its text is known now, see constant_add() */
	uint32_t flags;
	enum params params;
	bool length;
};

/* Commands with the same value for all messages. */
#define C(name, params, length)                                                                    \
	{                                                                                          \
		name, 0, 0, params, length                                                         \
	}
/* Nothing to tell on a connection without TLS: none of an HTTP chain here has it. */
#define EMPTY(name)                                                                                \
	{                                                                                          \
		name, 0, 0, PARAMS_NONE, false                                                     \
	}
#define ADDRESS(name, kind)                                                                        \
	{name "_ADDRESS", kind, 0, PARAMS_NONE, false},                                            \
		{name "_ADDRESS_WITHOUT_PORT", kind, WEFT_PIECE_NO_PORT, PARAMS_NONE, false},      \
	{                                                                                          \
		name "_PORT", kind, WEFT_PIECE_ONLY_PORT, PARAMS_NONE, false                       \
	}

static const struct command commands[] = {
	{"REQ", WEFT_PIECE_REQ, 0, PARAMS_REQUIRED, true},
	{"RESP", WEFT_PIECE_RESP, 0, PARAMS_REQUIRED, true},
	{"PROTOCOL", WEFT_PIECE_PROTOCOL, 0, PARAMS_NONE, false},
	{"START_TIME", WEFT_PIECE_START_TIME, 0, PARAMS_OPTIONAL, false},
	{"RESPONSE_CODE", WEFT_PIECE_RESPONSE_CODE, 0, PARAMS_NONE, false},
	{"UPSTREAM_CLUSTER", WEFT_PIECE_UPSTREAM_CLUSTER, 0, PARAMS_NONE, false},
	{"UPSTREAM_CLUSTER_RAW", WEFT_PIECE_UPSTREAM_CLUSTER, 0, PARAMS_NONE, false},
	{"UPSTREAM_HOST", WEFT_PIECE_UPSTREAM_REMOTE, 0, PARAMS_NONE, false},
	{"UPSTREAM_PROTOCOL", WEFT_PIECE_UPSTREAM_PROTOCOL, 0, PARAMS_NONE, false},
	{"UPSTREAM_REQUEST_ATTEMPT_COUNT", WEFT_PIECE_ATTEMPT_COUNT, 0, PARAMS_NONE, false},
	{"ROUTE_NAME", WEFT_PIECE_ROUTE_NAME, 0, PARAMS_NONE, false},
	{"PATH", WEFT_PIECE_PATH, 0, PARAMS_OPTIONAL, true},
	{"QUERY_PARAM", WEFT_PIECE_QUERY_PARAM, 0, PARAMS_REQUIRED, true},
	ADDRESS("UPSTREAM_REMOTE", WEFT_PIECE_UPSTREAM_REMOTE),
	ADDRESS("UPSTREAM_LOCAL", WEFT_PIECE_UPSTREAM_LOCAL),
	ADDRESS("DOWNSTREAM_REMOTE", WEFT_PIECE_REMOTE),
	ADDRESS("DOWNSTREAM_DIRECT_REMOTE", WEFT_PIECE_DIRECT_REMOTE),
	ADDRESS("DOWNSTREAM_LOCAL", WEFT_PIECE_LOCAL),
	{"LOCAL_REPLY_BODY", WEFT_PIECE_BODY, 0, PARAMS_NONE, false},
	{"RESPONSE_FLAGS", WEFT_PIECE_FLAGS, 0, PARAMS_NONE, false},
	{"RESPONSE_FLAGS_LONG", WEFT_PIECE_FLAGS, WEFT_PIECE_LONG, PARAMS_NONE, false},
	{"RESPONSE_CODE_DETAILS", WEFT_PIECE_DETAILS, 0, PARAMS_OPTIONAL, false},
	{"UPSTREAM_TRANSPORT_FAILURE_REASON", WEFT_PIECE_FAILURE, 0, PARAMS_NONE, false},
	{"CONNECTION_TERMINATION_DETAILS", WEFT_PIECE_TERMINATION, 0, PARAMS_NONE, false},
	{"TRAILER", WEFT_PIECE_TRAILER, 0, PARAMS_REQUIRED, true},
	{"GRPC_STATUS", WEFT_PIECE_GRPC_STATUS, 0, PARAMS_OPTIONAL, false},
	{"GRPC_STATUS_NUMBER", WEFT_PIECE_GRPC_STATUS, WEFT_PIECE_NUMBER, PARAMS_NONE, false},
	{"BYTES_RECEIVED", WEFT_PIECE_BYTES_RECEIVED, 0, PARAMS_NONE, false},
	{"BYTES_SENT", WEFT_PIECE_BYTES_SENT, 0, PARAMS_NONE, false},
	{"DURATION", WEFT_PIECE_DURATION, 0, PARAMS_NONE, false},
	{"REQUEST_DURATION", WEFT_PIECE_REQUEST_DURATION, 0, PARAMS_NONE, false},
	{"REQUEST_TX_DURATION", WEFT_PIECE_REQUEST_TX_DURATION, 0, PARAMS_NONE, false},
	{"RESPONSE_DURATION", WEFT_PIECE_RESPONSE_DURATION, 0, PARAMS_NONE, false},
	{"RESPONSE_TX_DURATION", WEFT_PIECE_RESPONSE_TX_DURATION, 0, PARAMS_NONE, false},
	{"EMIT_TIME", WEFT_PIECE_EMIT_TIME, 0, PARAMS_OPTIONAL, false},
	{"STREAM_ID", WEFT_PIECE_STREAM_ID, 0, PARAMS_NONE, false},
	{"UNIQUE_ID", WEFT_PIECE_UNIQUE_ID, 0, PARAMS_NONE, false},
	{"CONNECTION_ID", WEFT_PIECE_CONNECTION_ID, 0, PARAMS_NONE, false},
	{"ACCESS_LOG_TYPE", WEFT_PIECE_LOG_TYPE, 0, PARAMS_NONE, false},
	{"UPSTREAM_HOST_NAME", WEFT_PIECE_UPSTREAM_NAME, 0, PARAMS_NONE, false},
	{"FILTER_CHAIN_NAME", WEFT_PIECE_CHAIN_NAME, 0, PARAMS_NONE, false},
	{"LISTENER_NAME", WEFT_PIECE_LISTENER_NAME, 0, PARAMS_NONE, false},
	{"REQUEST_HEADERS_BYTES", WEFT_PIECE_REQUEST_HEAD, 0, PARAMS_NONE, false},
	{"RESPONSE_HEADERS_BYTES", WEFT_PIECE_RESPONSE_HEAD, 0, PARAMS_NONE, false},
	{"RESPONSE_TRAILERS_BYTES", WEFT_PIECE_RESPONSE_TRAILERS, 0, PARAMS_NONE, false},
	/* counted on QUIC alone */
	{"BYTES_RETRANSMITTED", WEFT_PIECE_ZERO, 0, PARAMS_NONE, false},
	{"PACKETS_RETRANSMITTED", WEFT_PIECE_ZERO, 0, PARAMS_NONE, false},
	C("HOSTNAME", PARAMS_NONE, false),
	C("ENVIRONMENT", PARAMS_REQUIRED, true),
	ADDRESS("DOWNSTREAM_DIRECT_LOCAL", WEFT_PIECE_LOCAL),
	/* nothing here sets them */
	EMPTY("VIRTUAL_CLUSTER_NAME"),
	EMPTY("CUSTOM_FLAGS"),
	EMPTY("TRACE_ID"),
	EMPTY("SPAN_ID"),
	EMPTY("ROUNDTRIP_DURATION"),
	EMPTY("DOWNSTREAM_HANDSHAKE_DURATION"),
	EMPTY("TLS_JA3_FINGERPRINT"),
	EMPTY("TLS_JA4_FINGERPRINT"),
	EMPTY("DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
	EMPTY("REQUESTED_SERVER_NAME"),
	EMPTY("DOWNSTREAM_PEER_URI_SAN"),
	EMPTY("DOWNSTREAM_PEER_DNS_SAN"),
	EMPTY("DOWNSTREAM_PEER_SUBJECT"),
	EMPTY("DOWNSTREAM_PEER_ISSUER"),
	EMPTY("DOWNSTREAM_PEER_SERIAL"),
	EMPTY("DOWNSTREAM_PEER_FINGERPRINT_256"),
	EMPTY("DOWNSTREAM_PEER_CERT"),
	EMPTY("DOWNSTREAM_LOCAL_URI_SAN"),
	EMPTY("DOWNSTREAM_LOCAL_SUBJECT"),
	EMPTY("DOWNSTREAM_TLS_SESSION_ID"),
	EMPTY("DOWNSTREAM_TLS_CIPHER"),
	EMPTY("DOWNSTREAM_TLS_VERSION"),
};

/* Commands of Envoy's that are not worked out here: in a log, which only observes, "-", and
 * noted; elsewhere refused. */
static const char *const passed_over[] = {"CEL",
					  "CLUSTER_METADATA",
					  "COALESCE",
					  "COMMON_DURATION",
					  "DOWNSTREAM_DETECTED_CLOSE_TYPE",
					  "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
					  "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
					  "DOWNSTREAM_HEADER_BYTES_RECEIVED",
					  "DOWNSTREAM_HEADER_BYTES_SENT",
					  "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
					  "DOWNSTREAM_LOCAL_CLOSE_REASON",
					  "DOWNSTREAM_LOCAL_DNS_SAN",
					  "DOWNSTREAM_LOCAL_EMAIL_SAN",
					  "DOWNSTREAM_LOCAL_IP_SAN",
					  "DOWNSTREAM_PEER_CERT_V_END",
					  "DOWNSTREAM_PEER_CERT_V_START",
					  "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
					  "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
					  "DOWNSTREAM_PEER_CHAIN_SERIALS",
					  "DOWNSTREAM_PEER_EMAIL_SAN",
					  "DOWNSTREAM_PEER_FINGERPRINT_1",
					  "DOWNSTREAM_PEER_IP_SAN",
					  "DOWNSTREAM_PEER_OTHERNAME_SAN",
					  "DOWNSTREAM_WIRE_BYTES_RECEIVED",
					  "DOWNSTREAM_WIRE_BYTES_SENT",
					  "DYNAMIC_METADATA",
					  "EMIT_TIME_LOCAL",
					  "FILTER_STATE",
					  "LOCAL_REPLY_BODY",
					  "METADATA",
					  "QUERY_PARAMS",
					  "START_TIME_LOCAL",
					  "UPSTREAM_CONNECTION_ID",
					  "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
					  "UPSTREAM_CONNECTION_POOL_READY_DURATION",
					  "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
					  "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
					  "UPSTREAM_DETECTED_CLOSE_TYPE",
					  "UPSTREAM_FILTER_STATE",
					  "UPSTREAM_HEADER_BYTES_RECEIVED",
					  "UPSTREAM_HEADER_BYTES_SENT",
					  "UPSTREAM_HOSTS_ATTEMPTED",
					  "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
					  "UPSTREAM_HOST_NAMES_ATTEMPTED",
					  "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
					  "UPSTREAM_HOST_NAME_WITHOUT_PORT",
					  "UPSTREAM_LOCAL_CLOSE_REASON",
					  "UPSTREAM_LOCAL_DNS_SAN",
					  "UPSTREAM_LOCAL_IP_SAN",
					  "UPSTREAM_LOCAL_URI_SAN",
					  "UPSTREAM_METADATA",
					  "UPSTREAM_PEER_CERT",
					  "UPSTREAM_PEER_DNS_SAN",
					  "UPSTREAM_PEER_IP_SAN",
					  "UPSTREAM_PEER_ISSUER",
					  "UPSTREAM_PEER_SUBJECT",
					  "UPSTREAM_PEER_URI_SAN",
					  "UPSTREAM_TLS_CIPHER",
					  "UPSTREAM_TLS_SESSION_ID",
					  "UPSTREAM_TLS_VERSION",
					  "UPSTREAM_WIRE_BYTES_RECEIVED",
					  "UPSTREAM_WIRE_BYTES_SENT"};

/* As EMPTY(), with parameters of any kind. */
static const struct command nothing = C("", PARAMS_OPTIONAL, true);

/* One command as it stands in the text. */
struct token {
	const struct command *command;
	const char *params; /* NULL: no parentheses */
	size_t params_len;
	uint32_t max;
};

/* A value being read: pieces, and the text that is not yet one. */
struct reader {
	struct weft_build *b;
	const char *field;
	bool dash; /* what has no value is "-" */
	bool body; /* of a reply's body, which is `local` where that is known */
	bool log;  /* of a line of an access log */
	const struct weft_format_local *local;
	uint32_t n_command, n_nothing, n_literal;
	struct weft_img_piece piece[WEFT_PIECES_MAX];
	uint32_t n;
	char *text;
	size_t text_len, text_cap;
};

static void text_add(struct reader *r, const char *bytes, size_t n)
{
	if (!n)
		return;
	if (r->text_len + n > r->text_cap) {
		size_t cap = (r->text_len + n) * 2;
		char *text = realloc(r->text, cap);

		if (!text) {
			r->b->err = r->b->err ? r->b->err : -ENOMEM;
			return;
		}
		r->text = text;
		r->text_cap = cap;
	}
	memcpy(r->text + r->text_len, bytes, n);
	r->text_len += n;
}

static struct weft_img_piece *piece_add(struct reader *r)
{
	if (r->n == WEFT_PIECES_MAX) {
		weft_build_fail(r->b, r->field, "more than %u parts", WEFT_PIECES_MAX);
		return NULL;
	}
	return &r->piece[r->n++];
}

/* What was collected becomes a piece. */
static void text_end(struct reader *r)
{
	struct weft_img_piece *p;

	if (!r->text_len)
		return;
	p = piece_add(r);
	if (p)
		*p = (struct weft_img_piece){.kind = WEFT_PIECE_TEXT,
					     .max = WEFT_PIECE_WHOLE,
					     .a = weft_build_bytes(r->b, r->text, r->text_len)};
	r->text_len = 0;
}

/* ---- parameters ---- */

static struct weft_img_str lower_put(struct weft_build *b, const char *s, size_t n)
{
	char *copy = strndup(s, n);
	struct weft_img_str out = {0};

	if (!copy) {
		b->err = b->err ? b->err : -ENOMEM;
		return out;
	}
	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	out = weft_build_str(b, copy);
	free(copy);
	return out;
}

/* "NAME?ALTERNATIVE". */
static void names_set(struct reader *r, const struct token *t, struct weft_img_piece *p)
{
	const char *q = memchr(t->params, '?', t->params_len);
	size_t n = q ? (size_t)(q - t->params) : t->params_len;

	p->a = lower_put(r->b, t->params, n);
	if (!q)
		return;
	if (memchr(q + 1, '?', t->params_len - n - 1))
		weft_build_fail(r->b, r->field, "more than one alternative header in %%%s(%.*s)%%",
				t->command->name, (int)t->params_len, t->params);
	p->b = lower_put(r->b, q + 1, t->params_len - n - 1);
}

/* strftime() without what depends on a locale's or a library's own extensions, and %f, %1f to %9f.
 */
static void time_check(struct reader *r, const struct token *t)
{
	const char *p = t->params, *end;

	if (!p)
		return;
	for (end = p + t->params_len; p < end; p++) {
		if (*p != '%')
			continue;
		p++;
		if (p + 1 < end && *p >= '1' && *p <= '9' && p[1] == 'f')
			p++;
		if (p >= end || !strchr("aAbBCdDeFgGhHIjklmMnprRsStTuUVwWyYz%f", *p)) {
			weft_build_fail(r->b, r->field, "unsupported: time format %.*s",
					(int)t->params_len, t->params);
			return;
		}
	}
	if (t->params_len > WEFT_TIME_FORMAT_MAX)
		weft_build_fail(r->b, r->field, "time format over %u bytes", WEFT_TIME_FORMAT_MAX);
}

static bool params_are(const struct token *t, const char *text)
{
	return t->params_len == strlen(text) &&
	       (!t->params_len || !memcmp(t->params, text, t->params_len));
}

/* PATH(WQ|NQ[:ORIG|PATH|ORIG_OR_PATH]): with or without query; the original path or the one at
 * hand. */
static void path_set(struct reader *r, const struct token *t, struct weft_img_piece *p)
{
	static const struct {
		const char *text;
		uint32_t flags;
	} forms[] = {
		{"", 0},
		{"WQ", 0},
		{"NQ", WEFT_PIECE_NO_QUERY},
		{"WQ:ORIG", WEFT_PIECE_ORIGINAL},
		{"NQ:ORIG", WEFT_PIECE_ORIGINAL | WEFT_PIECE_NO_QUERY},
		{"WQ:PATH", WEFT_PIECE_CURRENT},
		{"NQ:PATH", WEFT_PIECE_CURRENT | WEFT_PIECE_NO_QUERY},
		{"WQ:ORIG_OR_PATH", 0},
		{"NQ:ORIG_OR_PATH", WEFT_PIECE_NO_QUERY},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if (params_are(t, forms[i].text)) {
			p->flags = forms[i].flags;
			return;
		}
	}
	weft_build_fail(r->b, r->field, "%%PATH(%.*s)%%: not an option", (int)t->params_len,
			t->params);
}

/* ---- commands ---- */

static void constant_add(struct reader *r, const struct token *t)
{
	const char *name = t->command->name, *value = r->dash ? "-" : "";
	char host[256] = "";
	char *var = NULL;

	if (!strcmp(name, "HOSTNAME")) {
		if (!gethostname(host, sizeof(host) - 1))
			value = host;
	} else if (!strcmp(name, "ENVIRONMENT")) {
		var = strndup(t->params, t->params_len);
		value = var ? getenv(var) : NULL;
		if (!value)
			value = "-"; /* as Envoy says of a variable that is not set */
	}
	r->n_nothing += !var && strcmp(name, "HOSTNAME") && strcmp(name, "ENVIRONMENT");
	text_add(r, value, strnlen(value, t->max));
	free(var);
}

/* GRPC_STATUS(CAMEL_STRING|SNAKE_STRING|NUMBER). */
static void grpc_set(struct reader *r, const struct token *t, struct weft_img_piece *p)
{
	if (params_are(t, "SNAKE_STRING"))
		p->flags |= WEFT_PIECE_SNAKE;
	else if (params_are(t, "NUMBER"))
		p->flags |= WEFT_PIECE_NUMBER;
	else if (t->params && !params_are(t, "CAMEL_STRING"))
		weft_build_fail(r->b, r->field, "%%GRPC_STATUS(%.*s)%%: not an option",
				(int)t->params_len, t->params);
}

/* RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES): else blanks become underscores. */
static void details_set(struct reader *r, const struct token *t, struct weft_img_piece *p)
{
	if (params_are(t, "ALLOW_WHITESPACES"))
		p->flags |= WEFT_PIECE_BLANKS;
	else if (t->params)
		weft_build_fail(r->b, r->field, "%%RESPONSE_CODE_DETAILS(%.*s)%%: not an option",
				(int)t->params_len, t->params);
}

static void command_add(struct reader *r, const struct token *t)
{
	struct weft_img_piece p = {
		.kind = t->command->kind, .max = t->max, .flags = t->command->flags};
	struct weft_img_piece *out;

	r->n_command++;
	if (!t->command->kind) {
		constant_add(r, t);
		return;
	}
	if (p.kind == WEFT_PIECE_BODY && r->local) {
		text_add(r, r->local->text, r->local->len);
		return;
	}
	switch (p.kind) {
	case WEFT_PIECE_REQ:
	case WEFT_PIECE_RESP:
	case WEFT_PIECE_TRAILER:
		names_set(r, t, &p);
		break;
	case WEFT_PIECE_GRPC_STATUS:
		grpc_set(r, t, &p);
		break;
	case WEFT_PIECE_DETAILS:
		details_set(r, t, &p);
		break;
	case WEFT_PIECE_START_TIME:
	case WEFT_PIECE_EMIT_TIME:
		time_check(r, t);
		p.a = weft_build_bytes(r->b, t->params, t->params_len);
		break;
	case WEFT_PIECE_PATH:
		path_set(r, t, &p);
		break;
	case WEFT_PIECE_QUERY_PARAM:
		p.a = weft_build_bytes(r->b, t->params, t->params_len);
		break;
	default:
		break;
	}
	text_end(r);
	out = piece_add(r);
	if (out)
		*out = p;
}

/* ":LENGTH" and "%". Where the command ends, NULL: not here. */
static const char *tail_parse(const char *s, uint32_t *ret_max)
{
	char *end = NULL;
	unsigned long n;

	*ret_max = WEFT_PIECE_WHOLE;
	if (*s == '%')
		return s + 1;
	if (*s != ':' || !isdigit((unsigned char)s[1]))
		return NULL;
	errno = 0;
	n = strtoul(s + 1, &end, 10);
	if (*end != '%' || errno || n >= WEFT_PIECE_WHOLE)
		return NULL;
	*ret_max = (uint32_t)n;
	return end + 1;
}

/* A command behind its first percent sign. Where it ends, NULL: it is none. */
static const char *token_parse(const char *s, const char **ret_name, size_t *ret_len,
			       struct token *t)
{
	const char *end;

	*ret_name = s;
	while (isupper((unsigned char)*s) || isdigit((unsigned char)*s) || *s == '_')
		s++;
	*ret_len = (size_t)(s - *ret_name);
	if (!*ret_len)
		return NULL;
	if (*s != '(')
		return tail_parse(s, &t->max);
	t->params = s + 1;
	/* parameters may hold anything: they end where a command can end behind a parenthesis */
	for (const char *p = strchr(s, ')'); p; p = strchr(p + 1, ')')) {
		end = tail_parse(p + 1, &t->max);
		t->params_len = (size_t)(p - t->params);
		if (end)
			return end;
	}
	return NULL;
}

static const struct command *command_find(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strlen(commands[i].name) == len && !memcmp(commands[i].name, name, len))
			return &commands[i];
	}
	return NULL;
}

/* Of a reply there is its body where one is made. */
static bool is_known(const struct reader *r, const struct command *c)
{
	return c->kind != WEFT_PIECE_BODY || (r->body && !r->log);
}

static bool is_passed_over(struct reader *r, const char *name, size_t len)
{
	for (size_t i = 0; r->log && i < sizeof(passed_over) / sizeof(*passed_over); i++) {
		char why[96];

		if (strlen(passed_over[i]) != len || memcmp(passed_over[i], name, len))
			continue;
		snprintf(why, sizeof(why), "%%%s%% is written as if it had no value",
			 passed_over[i]);
		weft_build_note(r->b, r->field, why);
		return true;
	}
	return false;
}

static const char *command_read(struct reader *r, const char *s)
{
	struct token t = {0};
	const char *name, *end;
	size_t len;

	end = token_parse(s, &name, &len, &t);
	if (!end) {
		weft_build_fail(r->b, r->field, "no command at \"%%%s\"", s);
		return NULL;
	}
	t.command = command_find(name, len);
	if ((!t.command || !is_known(r, t.command)) && is_passed_over(r, name, len))
		t.command = &nothing;
	if (!t.command || !is_known(r, t.command))
		weft_build_fail(r->b, r->field, "unsupported: command %%%.*s%%", (int)len, name);
	else if (t.command->params == PARAMS_REQUIRED && !t.params_len)
		weft_build_fail(r->b, r->field, "%%%.*s%% requires parameters", (int)len, name);
	else if ((t.command->params == PARAMS_NONE && t.params) ||
		 (!t.command->length && t.max != WEFT_PIECE_WHOLE))
		weft_build_fail(r->b, r->field, "%%%.*s%% does not take parameters or a length",
				(int)len, name);
	else
		command_add(r, &t);
	return end;
}

/* The text ends with a NUL. */
static void format_read(struct reader *r, const char *text, struct weft_img_header *ret)
{
	while (text && *text) {
		if (*text == '%' && text[1] != '%') {
			text = command_read(r, text + 1);
			continue;
		}
		text_add(r, text, 1);
		r->n_literal++;
		text += *text == '%' ? 2 : 1;
	}
	if (!r->n) {
		ret->value = weft_build_bytes(r->b, r->text, r->text_len);
	} else {
		text_end(r);
		ret->n_piece = r->n;
		ret->piece = weft_build_put(r->b, r->piece, r->n * sizeof(*r->piece));
	}
	free(r->text);
}

void weft_build_format(struct weft_build *b, const char *text, const char *field,
		       struct weft_img_header *ret)
{
	struct reader r = {.b = b, .field = field};

	format_read(&r, text, ret);
}

enum weft_format_whole weft_build_format_body(struct weft_build *b, const char *text, bool dash,
					      const struct weft_format_local *local,
					      const char *field, struct weft_img_header *ret)
{
	bool log = local && local->log;
	struct reader r = {.b = b,
			   .field = field,
			   .dash = dash,
			   .body = true,
			   .log = log,
			   .local = log ? NULL : local};

	if (dash)
		ret->flags |= WEFT_HEADER_DASH;
	format_read(&r, text, ret);
	if (r.n_command != 1 || r.n_literal)
		return WEFT_FORMAT_MIXED;
	return r.n_nothing ? WEFT_FORMAT_NOTHING : WEFT_FORMAT_ALONE;
}

uint32_t weft_build_format_alone(struct weft_build *b, const char *text, bool dash,
				 const char *field)
{
	struct weft_img_header h = {.flags = dash ? WEFT_HEADER_DASH : 0};
	struct reader r = {.b = b, .field = field, .dash = dash};

	if (!text || !*text)
		return 0;
	format_read(&r, text, &h);
	return weft_build_put(b, &h, sizeof(h));
}
