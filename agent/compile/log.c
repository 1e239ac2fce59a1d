// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/filter.h"
#include "agent/compile/mapper.h"
#include "agent/compile/reply_body.h"
#include "bpf/abi/log.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb-c.h"
#include "xds/any.h"

#define LOGGERS "envoy.extensions.access_loggers."

typedef Envoy__Config__Accesslog__V3__AccessLog access_log;
typedef Envoy__Config__Accesslog__V3__AccessLogFilter filter;
typedef Envoy__Config__Core__V3__SubstitutionFormatString format_string;
typedef Envoy__Extensions__AccessLoggers__File__V3__FileAccessLog file_log;
typedef Envoy__Extensions__AccessLoggers__Stream__V3__StdoutAccessLog stdout_log;
typedef Envoy__Extensions__AccessLoggers__Stream__V3__StderrAccessLog stderr_log;

#define FILE_FORMAT(name)                                                                          \
	ENVOY__EXTENSIONS__ACCESS_LOGGERS__FILE__V3__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_##name
#define FILTER(name) ENVOY__CONFIG__ACCESSLOG__V3__ACCESS_LOG_FILTER__FILTER_SPECIFIER_##name

/* Envoy's, where none is configured. */
static char usual[] =
	"[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
	"%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
	"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
	"\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

static uint32_t body_build(struct weft_build *b, const format_string *f, const char *field)
{
	static const struct weft_format_local line = {.log = true};
	struct weft_img_body body;

	return weft_build_body(b, f, &line, field, &body);
}

/* text NULL: the usual one. */
static uint32_t text_build(struct weft_build *b, char *text, const char *field)
{
	format_string f = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__INIT;

	f.format_case = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT;
	f.text_format = text ? text : usual;
	return body_build(b, &f, field);
}

static uint32_t json_build(struct weft_build *b, Google__Protobuf__Struct *s, const char *field)
{
	format_string f = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__INIT;

	f.format_case = ENVOY__CONFIG__CORE__V3__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
	f.json_format = s;
	return body_build(b, &f, field);
}

static void file_fill(struct weft_build *b, const file_log *f, const char *field,
		      struct weft_img_log *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &f->base, field);
	ret->path = weft_build_str(b, f->path);
	switch (f->access_log_format_case) {
	case FILE_FORMAT(LOG_FORMAT):
		ret->body = body_build(b, f->log_format, weft_field(at, field, "log_format"));
		break;
	case FILE_FORMAT(FORMAT):
		ret->body = text_build(b, *f->format ? f->format : NULL, field);
		break;
	case FILE_FORMAT(TYPED_JSON_FORMAT):
		ret->body = json_build(b, f->typed_json_format,
				       weft_field(at, field, "typed_json_format"));
		break;
	default:
		ret->body = text_build(b, NULL, field);
	}
}

static void stream_fill(struct weft_build *b, const ProtobufCMessage *msg, const char *path,
			const format_string *f, const char *field, struct weft_img_log *ret)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, msg, field);
	ret->path = weft_build_str(b, path);
	ret->body = f ? body_build(b, f, weft_field(at, field, "log_format"))
		      : text_build(b, NULL, field);
}

/* Is there one that only an extension can decide? */
static bool has_extension(const filter *f)
{
	size_t n = 0;
	filter *const *list = NULL;

	if (f->filter_specifier_case == FILTER(EXTENSION_FILTER))
		return true;
	if (f->filter_specifier_case == FILTER(AND_FILTER)) {
		n = f->and_filter->n_filters;
		list = f->and_filter->filters;
	} else if (f->filter_specifier_case == FILTER(OR_FILTER)) {
		n = f->or_filter->n_filters;
		list = f->or_filter->filters;
	}
	for (size_t i = 0; i < n; i++) {
		if (has_extension(list[i]))
			return true;
	}
	return false;
}

/* What the log's type says. false: nothing here writes it. */
static bool logger_fill(struct weft_build *b, const Google__Protobuf__Any *any, const char *field,
			struct weft_img_log *ret)
{
	char *type = any ? weft_any_type(any) : NULL;
	ProtobufCMessage *msg = NULL;
	bool known = type && (!strcmp(type, LOGGERS "file.v3.FileAccessLog") ||
			      !strcmp(type, LOGGERS "stream.v3.StdoutAccessLog") ||
			      !strcmp(type, LOGGERS "stream.v3.StderrAccessLog"));
	int r = known ? weft_any_unpack(any, b->resource, field, b->diag, &msg) : 0;

	if (!known) {
		weft_build_note(b, field, "this kind of access log is not written");
	} else if (r) {
		b->err = b->err ? b->err : r;
	} else if (!strcmp(type, LOGGERS "file.v3.FileAccessLog")) {
		file_fill(b, (const void *)msg, field, ret);
	} else if (!strcmp(type, LOGGERS "stream.v3.StdoutAccessLog")) {
		stream_fill(b, msg, "/dev/stdout", ((const stdout_log *)msg)->log_format, field,
			    ret);
	} else {
		stream_fill(b, msg, "/dev/stderr", ((const stderr_log *)msg)->log_format, field,
			    ret);
	}
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	free(type);
	return known;
}

static bool log_fill(struct weft_build *b, const access_log *l, const char *field,
		     struct weft_img_log *ret)
{
	char at[WEFT_FIELD_MAX];

	*ret = (struct weft_img_log){0};
	weft_build_fields(b, &l->base, field);
	if (l->filter && has_extension(l->filter)) {
		weft_build_note(b, weft_field(at, field, "filter"),
				"an extension_filter is in it: this log is not written");
		return false;
	}
	if (!logger_fill(b, l->typed_config, weft_field(at, field, "typed_config"), ret))
		return false;
	if (l->filter)
		ret->test = weft_build_log_filter(b, l->filter, weft_field(at, field, "filter"),
						  &ret->n_test);
	return true;
}

uint32_t weft_build_logs(struct weft_build *b, size_t n, access_log *const *list, uint32_t flags,
			 uint32_t interval_ms, const char *field)
{
	struct weft_img_logs out = {.flags = flags, .interval_ms = interval_ms};
	struct weft_img_log log[WEFT_LOGS_MAX];
	char at[WEFT_FIELD_MAX];

	if (n > WEFT_LOGS_MAX) {
		weft_build_fail(b, weft_field(at, field, "access_log"), "more than %u",
				WEFT_LOGS_MAX);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		out.n += log_fill(b, list[i], weft_field(at, field, "access_log[%zu]", i),
				  &log[out.n]);
	if (!out.n)
		return 0;
	out.log = weft_build_put(b, log, out.n * sizeof(*log));
	return weft_build_put(b, &out, sizeof(out));
}
