// SPDX-License-Identifier: Apache-2.0
/* Who the agent is and what it listens to: /server_info, /listeners, the bootstrap of a config
 * dump. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cleanup.h"
#include "agent/json_out.h"
#include "agent/status/status_http.h"
#include "envoy/config/core/v3/address.pb-c.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "xds/clock.h"
#include "xds/json.h"

void weft_http_say(struct weft_http_answer *a, unsigned int status, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&a->body, fmt, args);
	va_end(args);
	a->status = status;
	a->len = n < 0 ? 0 : (size_t)n;
	if (n < 0)
		a->body = NULL;
}

/* Takes j over. */
static void say_json(struct weft_http_answer *a, json_t *j)
{
	_auto_json_ json_t *whole = j;

	a->body = whole ? json_dumps(whole, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;
	a->len = a->body ? strlen(a->body) : 0;
	a->status = a->body ? 200 : 500;
	a->type = "application/json";
}

const char *weft_status_time(int64_t ms, char *buf)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n = gmtime_r(&seconds, &tm)
			   ? strftime(buf, WEFT_STATUS_TIME, "%Y-%m-%dT%H:%M:%S", &tm)
			   : 0;

	snprintf(buf + n, WEFT_STATUS_TIME - n, ".%03dZ", (int)(ms % 1000));
	return buf;
}

json_t *weft_status_node(const struct weft_status *s)
{
	json_t *j = NULL;

	for (size_t i = 0; i < s->n && !j; i++) {
		Envoy__Config__Core__V3__Node *node;

		if (!s->part[i].node)
			continue;
		node = envoy__config__core__v3__node__unpack(NULL, s->part[i].n_node,
							     s->part[i].node);
		if (node && weft_json_from_msg(&node->base, &j) < 0)
			j = NULL;
		if (node)
			envoy__config__core__v3__node__free_unpacked(node, NULL);
	}
	return j ? j : json_object();
}

/* ---- bootstrap ---- */

/* An ApiConfigSource of the servers. */
static json_t *servers_json(const struct weft_daemon *d)
{
	json_t *services = json_array();

	for (size_t i = 0; i <= d->cfg->n_xds_more; i++)
		json_array_append_new(services,
				      json_pack("{s:{s:s, s:s}}", "google_grpc", "target_uri",
						i ? d->cfg->xds_more[i - 1] : d->cfg->xds,
						"stat_prefix", "xds"));
	return json_pack("{s:s, s:o, s:b, s:s}", "api_type",
			 d->cfg->xds_sotw ? "GRPC" : "DELTA_GRPC", "grpc_services", services,
			 "set_node_on_first_message_only", 1, "transport_api_version", "V3");
}

static json_t *admin_json(const char *address)
{
	const char *colon = strrchr(address, ':');
	_auto_free_ char *host = NULL;

	if (*address == '/' || !colon)
		return json_pack("{s:{s:{s:s}}}", "address", "pipe", "path", address);
	/* [::1] without the brackets, as Envoy has it */
	host = *address == '[' ? strndup(address + 1, (size_t)(colon - address) - 2)
			       : strndup(address, (size_t)(colon - address));
	return json_pack("{s:{s:{s:s, s:i}}}", "address", "socket_address", "address",
			 host ? host : "", "port_value", atoi(colon + 1));
}

static json_t *dynamic_json(const struct weft_daemon *d)
{
	if (d->cfg->xds_separate)
		return json_pack("{s:{s:o, s:s}, s:{s:o, s:s}}", "lds_config", "api_config_source",
				 servers_json(d), "resource_api_version", "V3", "cds_config",
				 "api_config_source", servers_json(d), "resource_api_version",
				 "V3");
	return json_pack("{s:{s:{}, s:s}, s:{s:{}, s:s}, s:o}", "lds_config", "ads",
			 "resource_api_version", "V3", "cds_config", "ads", "resource_api_version",
			 "V3", "ads_config", servers_json(d));
}

json_t *weft_status_bootstrap(const struct weft_daemon *d, const struct weft_status *s)
{
	json_t *b = json_pack("{s:o}", "node", weft_status_node(s));
	char when[WEFT_STATUS_TIME];

	if (d->cfg->xds)
		json_object_set_new(b, "dynamic_resources", dynamic_json(d));
	if (d->cfg->admin_http)
		json_object_set_new(b, "admin", admin_json(d->cfg->admin_http));
	return json_pack("{s:s, s:o, s:s}", "@type",
			 "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap", b,
			 "last_updated", weft_status_time(s->started_ms, when));
}

/* ---- /server_info ---- */

void weft_http_server_info(struct weft_daemon *d, struct weft_http_answer *ret)
{
	int64_t up = (weft_clock_ms(CLOCK_REALTIME) - d->started_ms) / 1000;
	struct weft_status *s = NULL;
	char seconds[32];
	json_t *j;

	ret->status = 500;
	if (weft_status_collect(d, &s) < 0)
		return;
	snprintf(seconds, sizeof(seconds), "%llds", (long long)(up > 0 ? up : 0));
	j = json_pack("{s:s, s:s, s:s, s:s, s:o, s:{s:s, s:i, s:s}}", "version",
		      "weft/" WEFT_VERSION, "state", weft_daemon_ready(d) ? "LIVE" : "INITIALIZING",
		      "uptime_current_epoch", seconds, "uptime_all_epochs", seconds, "node",
		      weft_status_node(s), "command_line_options", "config_path",
		      d->cfg->config ? d->cfg->config : "", "concurrency",
		      (int)(d->proxy ? d->cfg->workers : 0), "mode", "Serve");
	weft_status_free(s);
	say_json(ret, j);
}

/* ---- /listeners ---- */

static void listener_text(FILE *f, const Envoy__Config__Listener__V3__Listener *l)
{
	const Envoy__Config__Core__V3__SocketAddress *a =
		l->address && l->address->address_case ==
					ENVOY__CONFIG__CORE__V3__ADDRESS__ADDRESS_SOCKET_ADDRESS
			? l->address->socket_address
			: NULL;

	if (a)
		fprintf(f, strchr(a->address, ':') ? "%s::[%s]:%u\n" : "%s::%s:%u\n", l->name,
			a->address, a->port_value);
}

static json_t *listener_json(const Envoy__Config__Listener__V3__Listener *l)
{
	json_t *address = NULL;

	if (l->address && weft_json_from_msg(&l->address->base, &address) < 0)
		address = NULL;
	return json_pack("{s:o, s:o}", "name", weft_json_bytes(l->name, strlen(l->name)),
			 "local_address", address ? address : json_object());
}

void weft_http_listeners(struct weft_daemon *d, const char *query, struct weft_http_answer *ret)
{
	_auto_free_ char *format = weft_http_query_value(query, "format");
	bool json = format && !strcmp(format, "json");
	json_t *list = json_array();
	struct weft_status *s = NULL;
	const struct weft_status_entry *e;
	int64_t view;
	FILE *f;

	ret->status = 500;
	if (weft_http_view(d, query, ret, &view) < 0) {
		json_decref(list);
		return;
	}
	f = open_memstream(&ret->body, &ret->len);
	if (f && weft_status_collect(d, &s) == 0) {
		weft_status_select(s, view);
		ret->status = 200;
		for (size_t i = 0; (e = weft_status_at(s, WEFT_XDS_LISTENER, i, NULL)); i++) {
			if (e->active && json)
				json_array_append_new(list,
						      listener_json((const void *)e->active->msg));
			else if (e->active)
				listener_text(f, (const void *)e->active->msg);
		}
	}
	if (f)
		fclose(f);
	weft_status_free(s);
	if (ret->status != 200) {
		free(ret->body);
		ret->body = NULL;
	}
	if (ret->status == 200 && json) {
		free(ret->body);
		say_json(ret, json_array_size(list) ? json_pack("{s:O}", "listener_statuses", list)
						    : json_object());
	}
	json_decref(list);
}
