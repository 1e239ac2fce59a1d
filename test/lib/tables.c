// SPDX-License-Identifier: Apache-2.0
#include "test/lib/tables.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T(name) "\"@type\": \"type.googleapis.com/envoy." name "\""
#define TO_C "\"route\": {\"cluster\": \"c\"}"
#define ENDPOINT(n)                                                                                \
	"{\"endpoint\": {\"address\": {\"socket_address\": {\"address\": \"10.9.0." #n "\", \"port_value\": 80}}}}"

static const char around[] =
	"[{" T("config.listener.v3.Listener") ", \"name\": \"l\", \"address\": {\"socket_address\": {\"address\": \"10.0.0.1\","
	" \"port_value\": 80}}, \"filter_chains\": [{\"filters\": [{\"name\": \"h\", \"typed_config\": {"
	T("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager") ", \"stat_prefix\": \"s\","
	" \"rds\": {\"route_config_name\": \"r\", \"config_source\": {\"ads\": {}}}, \"http_filters\": [{\"name\": \"router\","
	" \"typed_config\": {" T("extensions.filters.http.router.v3.Router") "}}]}}]}]},\n"
	"{" T("config.cluster.v3.Cluster") ", \"name\": \"c\", \"type\": \"STATIC\", \"load_assignment\": {\"cluster_name\": \"c\","
	" \"endpoints\": [{\"lb_endpoints\": [" ENDPOINT(1) ", " ENDPOINT(2) "]}]}},\n"
	"{" T("config.route.v3.RouteConfiguration") ", \"name\": \"r\", \"virtual_hosts\": [\n";

enum style { PREFIX, EXACT, WITH_EXACT, WITH_OTHER, REGEX, LAST };

/* Two in a hundred are expressions; the last route takes what no other did. */
static enum style style_of(enum table_kind kind, uint32_t n, uint32_t i)
{
	static const enum style of[] = {PREFIX, PREFIX, PREFIX, PREFIX, EXACT,
					EXACT,  EXACT,  EXACT,  WITH_EXACT, WITH_OTHER};

	if (i == n - 1)
		return LAST;
	if (kind == TABLE_ROUTES && (i % 100 == 3 || i % 100 == 7))
		return REGEX;
	return of[i % 10];
}

static uint32_t regex_number(uint32_t i)
{
	return i / 100 * 2 + (i % 100 == 7);
}

static void regex_put(FILE *f, uint32_t i)
{
	uint32_t k = regex_number(i);

	switch (k % 4) {
	case 0: /* a beginning that many share */
		fprintf(f, "/api/v[0-9]+/items%05u/[a-z0-9-]+", i);
		break;
	case 1: /* none */
		fprintf(f, ".*/img%05u\\\\.(png|jpg)", i);
		break;
	case 2: /* one of its own */
		fprintf(f, "/re%05u/[^/]+/detail", i);
		break;
	default:
		fprintf(f, "/[a-z]+/u%05u/.*", i);
	}
}

static void regex_path(char *out, size_t size, uint32_t i)
{
	static const char *const form[] = {"/api/v12/items%05u/some-thing-0", "/pictures/old/img%05u.jpg",
					   "/re%05u/of-a-kind-too/detail", "/users/u%05u/and/the/rest"};

	snprintf(out, size, form[regex_number(i) % 4], i);
}

static void route_put(FILE *f, enum table_kind kind, uint32_t n, uint32_t i)
{
	fputs("{\"match\": {", f);
	switch (style_of(kind, n, i)) {
	case PREFIX:
		fprintf(f, "\"prefix\": \"/svc%02u/v%u/part%05u\"", i / 7 % 40, i % 3, i);
		break;
	case EXACT:
		fprintf(f, "\"path\": \"/svc%02u/item/of/%05u\"", i / 7 % 40, i);
		break;
	case WITH_EXACT:
		fprintf(f, "\"prefix\": \"/svc%02u/c%05u\", \"headers\": [{\"name\": \"x-env\", "
			   "\"string_match\": {\"exact\": \"e%u\"}}]", i / 7 % 40, i, i % 7);
		break;
	case WITH_OTHER:
		fprintf(f, "\"prefix\": \"/svc%02u/d%05u\", \"headers\": [{\"name\": \"x-user\", \"string_match\": "
			   "{\"prefix\": \"u\"}}, {\"name\": \":method\", \"string_match\": {\"exact\": \"GET\"}}]",
			i / 7 % 40, i);
		break;
	case REGEX:
		fputs("\"safe_regex\": {\"regex\": \"", f);
		regex_put(f, i);
		fputs("\"}", f);
		break;
	default:
		fputs("\"prefix\": \"/\"", f);
	}
	fprintf(f, "}, %s}%s\n", TO_C, i + 1 < n ? "," : "");
}

static void routes_put(FILE *f, enum table_kind kind, uint32_t n)
{
	fputs("{\"name\": \"v\", \"domains\": [\"*\"], \"routes\": [\n", f);
	for (uint32_t i = 0; i < n; i++) {
		if (kind != TABLE_HEADER)
			route_put(f, kind, n, i);
		else
			fprintf(f, "{\"match\": {\"path\": \"/the/one/path\", \"headers\": [{\"name\": \"x-tenant\", "
				   "\"string_match\": {\"exact\": \"tenant-%05u\"}}]}, %s}%s\n",
				i, TO_C, i + 1 < n ? "," : "");
	}
	fputs("]}", f);
}

static void hosts_put(FILE *f, enum table_kind kind, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (kind == TABLE_WILD) {
			fprintf(f, "{\"name\": \"v%05u\", \"domains\": [\"*.t%u.example\"], \"routes\": ["
				   "{\"match\": {\"prefix\": \"/\"}, %s}]}%s\n", i, i, TO_C, i + 1 < n ? "," : "");
			continue;
		}
		fprintf(f, "{\"name\": \"v%05u\", \"domains\": [\"svc%05u.ns.svc.cluster.local\", \"svc%05u.ns\"], \"routes\": ["
			   "{\"match\": {\"prefix\": \"/svc%02u/v%u/part\"}, %s}, {\"match\": {\"prefix\": \"/\"}, %s}]}%s\n",
			i, i, i, i / 7 % 40, i % 3, TO_C, TO_C, i + 1 < n ? "," : "");
	}
}

char *table_json(enum table_kind kind, uint32_t n)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	if (!f)
		return NULL;
	fputs(around, f);
	if (kind == TABLE_HOSTS || kind == TABLE_WILD)
		hosts_put(f, kind, n);
	else
		routes_put(f, kind, n);
	fputs("]}]\n", f);
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

static bool sort_fits(enum table_sort sort, enum style style)
{
	switch (sort) {
	case SORT_PREFIX:
		return style == PREFIX;
	case SORT_EXACT:
		return style == EXACT;
	case SORT_HEADER:
		return style == WITH_EXACT || style == WITH_OTHER;
	case SORT_REGEX:
		return style == REGEX;
	default:
		return style == LAST;
	}
}

static void path_of(enum style style, uint32_t i, struct table_request *ret)
{
	static const char *const form[] = {
		[PREFIX] = "/svc%02u/v%u/part%05u/below", [EXACT] = "/svc%02u/item/of/%05u",
		[WITH_EXACT] = "/svc%02u/c%05u/list/this", [WITH_OTHER] = "/svc%02u/d%05u/list/this",
	};

	switch (style) {
	case PREFIX:
		snprintf(ret->path, sizeof(ret->path), form[style], i / 7 % 40, i % 3, i);
		break;
	case REGEX:
		regex_path(ret->path, sizeof(ret->path), i);
		break;
	case LAST:
		strcpy(ret->path, "/svc00/nothing/that/fits");
		break;
	default:
		snprintf(ret->path, sizeof(ret->path), form[style], i / 7 % 40, i);
	}
	if (style == WITH_EXACT)
		snprintf(ret->lines, sizeof(ret->lines), "X-Env: e%u\r\n", i % 7);
	else if (style == WITH_OTHER)
		strcpy(ret->lines, "X-User: u1\r\n");
}

int table_request(enum table_kind kind, uint32_t n, enum table_sort sort, uint32_t k, struct table_request *ret)
{
	uint32_t from = n ? (uint32_t)(k * 2654435761ull % n) : 0;

	*ret = (struct table_request){.host = "host.example", .vhost = "v"};
	if (kind == TABLE_HEADER) {
		if (sort != SORT_HEADER)
			return 0;
		strcpy(ret->path, "/the/one/path");
		ret->route = from;
		snprintf(ret->lines, sizeof(ret->lines), "X-Tenant: tenant-%05u\r\n", from);
		return 1;
	}
	if (kind == TABLE_WILD) {
		if (sort != SORT_PREFIX)
			return 0;
		snprintf(ret->host, sizeof(ret->host), "shop-%05u.t%u.example", 99999 - from, from);
		snprintf(ret->vhost, sizeof(ret->vhost), "v%05u", from);
		strcpy(ret->path, "/some/path/of/it");
		return 1;
	}
	if (kind == TABLE_HOSTS) {
		if (sort != SORT_PREFIX)
			return 0;
		snprintf(ret->host, sizeof(ret->host), "svc%05u.ns.svc.cluster.local", from);
		snprintf(ret->vhost, sizeof(ret->vhost), "v%05u", from);
		snprintf(ret->path, sizeof(ret->path), "/svc%02u/v%u/part%05u/below", from / 7 % 40, from % 3, from);
		return 1;
	}
	for (uint32_t j = 0; j < n; j++) {
		uint32_t i = (from + j) % n;
		enum style style = style_of(kind, n, i);

		if (!sort_fits(sort, style))
			continue;
		path_of(style, i, ret);
		ret->route = i;
		return 1;
	}
	return 0;
}

const char *table_sort_name(enum table_sort sort)
{
	static const char *const name[] = {"prefix", "exact path", "header", "expression", "last"};

	return name[sort];
}
