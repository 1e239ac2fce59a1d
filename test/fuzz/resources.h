/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Resources and heads drawn from bytes: what is drawn is mostly valid, and names, paths and values
 * come from few letters, so that they meet. No bytes left: every draw is 0, and lists end.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	const uint8_t *at, *end;
};

static inline uint32_t draw(struct bytes *b, uint32_t n)
{
	return b->at < b->end ? *b->at++ % n : 0;
}

#define DRAW_OF(b, list) ((list)[draw(b, sizeof(list) / sizeof(*(list)))])
#define FUZZ_T(name) "\"@type\": \"type.googleapis.com/envoy." name "\""

/* One of few words, or now and then letters as they come. */
static inline const char *draw_word(struct bytes *b, const char *const *list, uint32_t n,
				    const char *letters, char out[24])
{
	uint32_t k = draw(b, n + 2), len;

	if (k < n)
		return list[k];
	len = draw(b, 12);
	for (uint32_t i = 0; i < len; i++)
		out[i] = letters[draw(b, (uint32_t)strlen(letters))];
	out[len] = '\0';
	return out;
}

static const char *const fuzz_paths[] = {"/",	  "/a",	     "/a/",    "/a/b",	 "/ab",	  "/A",
					 "/a//b", "/a/../b", "/a%2fb", "/b?x=1", "/a;p=1"};
static const char *const fuzz_regexes[] = {"/a.*",    ".*",	"/(a|b)+", "/[ab]*x?",
					   "/a{2,5}", "(?i)/a", "/.*b$",   "[^/]+",
					   "/a|/b",   "\\\\d+", "(/a"};
static const char *const fuzz_hosts[] = {"*",	 "h",	 "*.h",	  "h.*", "a.h",
					 "H:80", "h:80", "*.a.h", "a.b"};
static const char *const fuzz_names[] = {
	"x", "y", ":path", ":method", ":authority", "x-forwarded-proto", "cookie", "host"};
static const char *const fuzz_values[] = {"1",	"a",	"",    "A",   "ab",
					  "-3", "http", "GET", "a,b", "k=1; l=2"};

#define PATH(b, out) draw_word(b, fuzz_paths, 11, "/ab.%2fF~A;", out)
#define REGEX(b, out) draw_word(b, fuzz_regexes, 11, "ab/.*+?|()[]^$-", out)
#define HOST(b, out) draw_word(b, fuzz_hosts, 9, "h.a*:8", out)
#define NAME(b, out) draw_word(b, fuzz_names, 8, "xy-_a", out)
#define VALUE(b, out) draw_word(b, fuzz_values, 10, "aA1 ,=-", out)

static inline void put_string_match(struct bytes *b, FILE *f)
{
	static const char *const kind[] = {"exact", "prefix", "suffix", "contains"};
	char t[24];

	if (draw(b, 5) == 4)
		fprintf(f, "{\"safe_regex\": {\"regex\": \"%s\"}}", REGEX(b, t));
	else
		fprintf(f, "{\"%s\": \"%s\", \"ignore_case\": %s}", DRAW_OF(b, kind), VALUE(b, t),
			draw(b, 3) == 1 ? "true" : "false");
}

static inline void put_header_match(struct bytes *b, FILE *f)
{
	char t[24];

	fprintf(f, "{\"name\": \"%s\", \"invert_match\": %s, \"treat_missing_header_as_empty\": %s",
		NAME(b, t), draw(b, 4) == 1 ? "true" : "false", draw(b, 4) == 1 ? "true" : "false");
	switch (draw(b, 4)) {
	case 0:
		fprintf(f, ", \"present_match\": %s}", draw(b, 2) ? "true" : "false");
		break;
	case 1:
		fprintf(f, ", \"range_match\": {\"start\": %d, \"end\": %d}}", (int)draw(b, 9) - 4,
			(int)draw(b, 9) - 2);
		break;
	default:
		fputs(", \"string_match\": ", f);
		put_string_match(b, f);
		fputs("}", f);
	}
}

static inline void put_match(struct bytes *b, FILE *f)
{
	char t[24];

	switch (draw(b, 6)) {
	case 0:
		fprintf(f, "{\"path\": \"%s\"", PATH(b, t));
		break;
	case 1:
		fprintf(f, "{\"safe_regex\": {\"regex\": \"%s\"}", REGEX(b, t));
		break;
	case 2:
		fprintf(f, "{\"path_separated_prefix\": \"%s\"", PATH(b, t));
		break;
	default:
		fprintf(f, "{\"prefix\": \"%s\"", PATH(b, t));
	}
	fprintf(f, ", \"case_sensitive\": %s", draw(b, 4) == 1 ? "false" : "true");
	fputs(", \"headers\": [", f);
	for (uint32_t i = 0, n = draw(b, 4); i < n; i++) {
		fputs(i ? ", " : "", f);
		put_header_match(b, f);
	}
	fputs("], \"query_parameters\": [", f);
	if (draw(b, 5) == 1) {
		fprintf(f, "{\"name\": \"%s\", \"string_match\": ", draw(b, 2) ? "x" : "y");
		put_string_match(b, f);
		fputs("}", f);
	}
	fputs("]", f);
	if (draw(b, 8) == 1)
		fputs(", \"grpc\": {}", f);
	if (draw(b, 8) == 1)
		fprintf(f, ", \"runtime_fraction\": {\"default_value\": {\"numerator\": %u}}",
			draw(b, 101));
	fputs("}", f);
}

static inline void put_headers(struct bytes *b, FILE *f)
{
	static const char *const action[] = {"APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT",
					     "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"};
	static const char *const value[] = {"1",    "%PROTOCOL%", "%REQ(x?y):3%",
					    "a%%b", "%PATH(NQ)%", "%START_TIME%"};
	static const char *const where[] = {"request_headers_to_add", "response_headers_to_add"};

	for (uint32_t i = 0; i < 2; i++) {
		if (draw(b, 4) != 1)
			continue;
		fprintf(f,
			", \"%s\": [{\"header\": {\"key\": \"%s\", \"value\": \"%s\"}, "
			"\"append_action\": \"%s\"}]",
			where[i], draw(b, 2) ? "x" : "y", DRAW_OF(b, value), DRAW_OF(b, action));
	}
}

static inline void put_rbac(struct bytes *b, FILE *f)
{
	char t[24];

	fprintf(f,
		"{" FUZZ_T("extensions.filters.http.rbac.v3.RBAC") ", \"rules\": {\"action\": "
								   "\"%s\", \"policies\": {\"p\": "
								   "{\"permissions\": [",
		draw(b, 2) ? "ALLOW" : "DENY");
	switch (draw(b, 4)) {
	case 0:
		fputs("{\"any\": true}", f);
		break;
	case 1:
		fprintf(f, "{\"not_rule\": {\"url_path\": {\"path\": {\"prefix\": \"%s\"}}}}",
			PATH(b, t));
		break;
	case 2:
		fputs("{\"and_rules\": {\"rules\": [{\"destination_port\": 80}, {\"header\": ", f);
		put_header_match(b, f);
		fputs("}]}}", f);
		break;
	default:
		fputs("{\"header\": ", f);
		put_header_match(b, f);
		fputs("}", f);
	}
	fprintf(f, "], \"principals\": [%s]}}}}",
		draw(b, 2) ? "{\"any\": true}"
			   : "{\"source_ip\": {\"address_prefix\": \"10.1.0.0\", \"prefix_len\": "
			     "16}}");
}

static inline void put_limit(struct bytes *b, FILE *f)
{
	fprintf(f,
		"{" FUZZ_T(
			"extensions.filters.http.local_ratelimit.v3.LocalRateLimit") ", "
										     "\"stat_"
										     "prefix\": "
										     "\"s\", "
										     "\"token_"
										     "bucket\": "
										     "{\"max_"
										     "tokens\": "
										     "%u, "
										     "\"fill_"
										     "interval\": "
										     "\"%us\"}, "
										     "\"filter_"
										     "enabled\": "
										     "{\"default_"
										     "value\": "
										     "{\"numerator"
										     "\": %u}}, "
										     "\"filter_"
										     "enforced\": "
										     "{\"default_"
										     "value\": "
										     "{\"numerator"
										     "\": %u}}}",
		1 + draw(b, 3), 1 + draw(b, 200), draw(b, 101), draw(b, 101));
}

static inline void put_fault(struct bytes *b, FILE *f)
{
	fprintf(f,
		"{" FUZZ_T("extensions.filters.http.fault.v3.HTTPFault") ", \"abort\": "
									 "{\"http_status\": %u, "
									 "\"percentage\": "
									 "{\"numerator\": "
									 "%u}}}",
		200 + draw(b, 250), draw(b, 101));
}

static inline void put_cors(struct bytes *b, FILE *f)
{
	fputs("{" FUZZ_T("extensions.filters.http.cors.v3.CorsPolicy") ", "
								       "\"allow_origin_string_"
								       "match\": [",
	      f);
	put_string_match(b, f);
	fputs("]}", f);
}

static inline void put_per_filter(struct bytes *b, FILE *f)
{
	if (draw(b, 4) != 1)
		return;
	fputs(", \"typed_per_filter_config\": {", f);
	switch (draw(b, 4)) {
	case 0:
		fputs("\"limit\": ", f);
		put_limit(b, f);
		break;
	case 1:
		fputs("\"fault\": ", f);
		put_fault(b, f);
		break;
	case 2:
		fputs("\"cors\": ", f);
		put_cors(b, f);
		break;
	default:
		fputs("\"rbac\": {" FUZZ_T(
			      "extensions.filters.http.rbac.v3.RBACPerRoute") ", \"rbac\": ",
		      f);
		put_rbac(b, f);
		fputs("}", f);
	}
	fputs("}", f);
}

static inline void put_forward(struct bytes *b, FILE *f)
{
	static const char *const cluster[] = {"c0", "c1", "c2", "none"};
	static const char *const more[] = {
		"",
		", \"timeout\": \"3s\"",
		", \"prefix_rewrite\": \"/z\"",
		", \"host_rewrite_literal\": \"z\"",
		", \"regex_rewrite\": {\"pattern\": {\"regex\": \"a+\"}, \"substitution\": \"b\"}",
		", \"hash_policy\": [{\"header\": {\"header_name\": \"x\"}}]",
		", \"upgrade_configs\": [{\"upgrade_type\": \"websocket\"}]",
		", \"priority\": \"HIGH\"",
		", \"cluster_not_found_response_code\": \"NOT_FOUND\""};

	if (draw(b, 4) == 1)
		fprintf(f,
			"\"weighted_clusters\": {\"clusters\": [{\"name\": \"%s\", \"weight\": "
			"%u}, {\"name\": \"%s\", \"weight\": %u}]}",
			DRAW_OF(b, cluster), draw(b, 5), DRAW_OF(b, cluster), 1 + draw(b, 5));
	else if (draw(b, 8) == 1)
		fputs("\"cluster_header\": \"x\"", f);
	else
		fprintf(f, "\"cluster\": \"%s\"", DRAW_OF(b, cluster));
	fputs(DRAW_OF(b, more), f);
}

static inline void put_action(struct bytes *b, FILE *f)
{
	static const char *const redirect[] = {
		"\"https_redirect\": true",	   "\"host_redirect\": \"z\"",
		"\"path_redirect\": \"/z\"",	   "\"prefix_rewrite\": \"/z\"",
		"\"strip_query\": true",	   "\"port_redirect\": 81",
		"\"response_code\": \"SEE_OTHER\""};

	switch (draw(b, 4)) {
	case 0:
		fprintf(f,
			"\"direct_response\": {\"status\": %u, \"body\": {\"inline_string\": "
			"\"%.*s\"}}",
			200 + draw(b, 250), (int)draw(b, 8), "hello!!");
		break;
	case 1:
		fprintf(f, "\"redirect\": {%s}", DRAW_OF(b, redirect));
		break;
	default:
		fputs("\"route\": {", f);
		put_forward(b, f);
		fputs("}", f);
	}
}

static inline void put_routes(struct bytes *b, FILE *f)
{
	fprintf(f, "{\"name\": \"r\", \"virtual_hosts\": [");
	for (uint32_t v = 0, n = 1 + draw(b, 3); v < n; v++) {
		char t[24], u[24];

		fprintf(f,
			"%s{\"name\": \"v%u\", \"domains\": [\"%s\"%s%s%s], \"require_tls\": "
			"\"%s\"",
			v ? ", " : "", v, HOST(b, t), v ? ", \"" : "", v ? HOST(b, u) : "",
			v ? "\"" : "", draw(b, 12) == 1 ? "ALL" : "NONE");
		put_headers(b, f);
		put_per_filter(b, f);
		fputs(", \"routes\": [", f);
		for (uint32_t i = 0, m = draw(b, 9); i < m; i++) {
			fprintf(f, "%s{\"match\": ", i ? ", " : "");
			put_match(b, f);
			fputs(", ", f);
			put_action(b, f);
			put_headers(b, f);
			put_per_filter(b, f);
			fputs("}", f);
		}
		fputs("]}", f);
	}
	fprintf(f, "]%s}", draw(b, 8) == 1 ? ", \"ignore_port_in_host_matching\": true" : "");
}

static inline void put_listener(struct bytes *b, FILE *f)
{
	static const char *const setting[] = {
		"\"normalize_path\": true",
		"\"merge_slashes\": true",
		"\"strip_any_host_port\": true",
		"\"use_remote_address\": true",
		"\"strip_trailing_host_dot\": true",
		"\"path_with_escaped_slashes_action\": \"UNESCAPE_AND_FORWARD\"",
		"\"http_protocol_options\": {\"allow_custom_methods\": true}",
		"\"max_request_headers_kb\": 1",
		"\"via\": \"w\"",
		("\"common_http_protocol_options\": {\"headers_with_underscores_action\": "
		 "\"DROP_HEADER\"}")};
	static void (*const filter[])(struct bytes *, FILE *) = {put_limit, put_rbac, put_fault};
	static const char *const name[] = {"limit", "rbac", "fault"};

	fputs("{" FUZZ_T("config.listener.v3.Listener") ", \"name\": \"l\", \"address\": "
							"{\"socket_address\": {\"address\": "
							"\"10.0.0.1\", "
							"\"port_value\": 80}}, \"filter_chains\": "
							"[{\"filters\": [{\"name\": \"h\", "
							"\"typed_config\": {" FUZZ_T(
								"extensions.filters.network.http_"
								"connection_manager.v3."
								"HttpConnectionManager") ", "
											 "\"stat_"
											 "prefix\":"
											 " \"s\"",
	      f);
	for (uint32_t i = 0; i < sizeof(setting) / sizeof(*setting); i++)
		if (draw(b, 4) == 1)
			fprintf(f, ", %s", setting[i]);
	fputs(", \"http_filters\": [", f);
	for (uint32_t i = 0; i < 3; i++) {
		if (draw(b, 3) != 1)
			continue;
		fprintf(f, "{\"name\": \"%s\", \"typed_config\": ", name[i]);
		filter[i](b, f);
		fputs("}, ", f);
	}
	if (draw(b, 3) == 1)
		fputs("{\"name\": \"cors\", \"typed_config\": {" FUZZ_T(
			      "extensions.filters.http.cors.v3.Cors") "}}, ",
		      f);
	fputs("{\"name\": \"router\", \"typed_config\": {" FUZZ_T(
		      "extensions.filters.http.router.v3.Router") "}}], \"route_config\": ",
	      f);
	put_routes(b, f);
	fputs("}}]}]}", f);
}

static inline void put_cluster(struct bytes *b, FILE *f, uint32_t i)
{
	static const char *const policy[] = {"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH",
					     "MAGLEV"};
	static const char *const health[] = {"UNKNOWN", "HEALTHY", "UNHEALTHY", "DEGRADED",
					     "DRAINING"};

	fprintf(f,
		", {" FUZZ_T(
			"config.cluster.v3.Cluster") ", \"name\": \"c%u\", \"type\": \"STATIC\", "
						     "\"connect_timeout\": \"1s\", \"lb_policy\": "
						     "\"%s\", \"load_assignment\": "
						     "{\"cluster_name\": \"c%u\", \"endpoints\": [",
		i, DRAW_OF(b, policy), i);
	for (uint32_t k = 0, n = draw(b, 3); k < n; k++)
		fprintf(f,
			"%s{\"priority\": %u, \"lb_endpoints\": [{\"endpoint\": {\"address\": "
			"{\"socket_address\": {\"address\": \"10.2.0.%u\", "
			"\"port_value\": 80}}}, \"health_status\": \"%s\", "
			"\"load_balancing_weight\": %u}]}",
			k ? ", " : "", k ? draw(b, 2) : 0, 1 + k, DRAW_OF(b, health),
			1 + draw(b, 3));
	fprintf(f, "]}%s}",
		draw(b, 5) == 1
			? ", \"circuit_breakers\": {\"thresholds\": [{\"max_requests\": 0}]}"
			: "");
}

/* A list of resources as JSON; the caller's. NULL: no memory. */
static inline char *resources_draw(struct bytes *b)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	if (!f)
		return NULL;
	fputs("[", f);
	put_listener(b, f);
	for (uint32_t i = 0, n = draw(b, 4); i < n; i++)
		put_cluster(b, f, i);
	fputs("]", f);
	return fclose(f) ? NULL : out;
}

/* A head in out[0..cap), mostly a request; its length. */
static inline size_t head_draw(struct bytes *b, char *out, size_t cap)
{
	static const char *const method[] = {"GET", "POST", "HEAD", "OPTIONS", "FOO"};
	static const char *const line[] = {"X: 1\r\n",
					   "x: a\r\n",
					   "Y: A\r\n",
					   "y:\r\n",
					   "Cookie: k=1; l=2\r\n",
					   "Origin: a\r\n",
					   "Connection: close\r\n",
					   "Content-Length: 3\r\n",
					   "Transfer-Encoding: chunked\r\n",
					   "content-type: application/grpc\r\n",
					   "X_Y: 1\r\n",
					   "x-forwarded-proto: https\r\n",
					   "x-forwarded-for: 10.3.0.1\r\n",
					   "Upgrade: websocket\r\n",
					   "Connection: upgrade\r\n",
					   "X : 1\r\n",
					   "X: a\r\n b\r\n"};
	char t[24], u[24];
	FILE *f = fmemopen(out, cap, "w");
	long n;

	if (!f)
		return 0;
	fprintf(f, "%s %s HTTP/1.%c\r\n", DRAW_OF(b, method), PATH(b, t),
		draw(b, 12) == 1 ? '0' : '1');
	if (draw(b, 12) != 1)
		fprintf(f, "Host: %s\r\n", HOST(b, u));
	for (uint32_t i = 0, k = draw(b, 6); i < k; i++)
		fputs(DRAW_OF(b, line), f);
	fputs("\r\n", f);
	n = ftell(f);
	fclose(f);
	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}
