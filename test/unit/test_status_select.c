// SPDX-License-Identifier: Apache-2.0
/* One view, or all with what is the same once; who uses what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/status/status.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "xds/json.h"

static struct weft_resource *resource(enum weft_xds_type type,
				      const ProtobufCMessageDescriptor *desc, const char *text)
{
	const struct weft_json_source source = {0};
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	json_t *j = json_loads(text, 0, NULL);
	struct weft_resource *r = NULL;
	ProtobufCMessage *msg = NULL;

	assert_int_equal(weft_json_to_msg(desc, j, &source, &diag, &msg), 0);
	assert_int_equal(weft_resource_from_msg(type, msg, "1", 1000, &diag, &r), 0);
	json_decref(j);
	return r;
}

static struct weft_resource *cluster(const char *name)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "{\"name\": \"%s\", \"load_assignment\": {\"cluster_name\": \"x\"}}", name);
	return resource(WEFT_XDS_CLUSTER, &envoy__config__cluster__v3__cluster__descriptor, text);
}

static struct weft_status_part *part(struct weft_status *s, uint32_t view, enum weft_source source)
{
	s->part = realloc(s->part, (s->n + 1) * sizeof(*s->part));
	s->part[s->n] = (struct weft_status_part){.view = view, .source = source};
	return &s->part[s->n++];
}

/* Takes r over. */
static void put(struct weft_status_part *p, struct weft_resource *r)
{
	p->v = realloc(p->v, (p->n + 1) * sizeof(*p->v));
	p->v[p->n++] = (struct weft_status_entry){.type = r->type,
						  .state = WEFT_STATUS_ACKED,
						  .name = strdup(r->name),
						  .version = strdup("1"),
						  .active = r};
}

/* Two views with shared and own clusters, the files' in both. */
static struct weft_status *status_new(void)
{
	struct weft_status *s = calloc(1, sizeof(*s));
	struct weft_resource *shared = cluster("shared"), *file = cluster("file");
	struct weft_status_part *p = part(s, 1, WEFT_SOURCE_XDS);

	put(p, cluster("own"));
	put(p, weft_resource_ref(shared));
	put(part(s, 1, WEFT_SOURCE_FILE), weft_resource_ref(file));
	p = part(s, 2, WEFT_SOURCE_XDS);
	put(p, cluster("own")); /* another of that name */
	put(p, shared);
	put(part(s, 2, WEFT_SOURCE_FILE), file);
	return s;
}

static void has(struct weft_status *s, const char *want)
{
	const struct weft_status_part *p;
	const struct weft_status_entry *e;
	char got[256] = "";

	for (size_t i = 0; (e = weft_status_at(s, WEFT_XDS_CLUSTER, i, &p)); i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%u:%s ", p->view, e->name);
	assert_string_equal(got, want);
	weft_status_free(s);
}

static void test_select(void **state)
{
	struct weft_status *s = status_new();

	(void)state;
	weft_status_select(s, WEFT_STATUS_ALL);
	has(s, "1:own 1:shared 1:file 2:own ");
	s = status_new();
	weft_status_select(s, 2);
	has(s, "2:own 2:shared 2:file ");
	s = status_new();
	weft_status_select(s, 7);
	has(s, "");
}

static void used_by(const struct weft_users *u, enum weft_xds_type type, const char *name,
		    const char *want)
{
	json_t *j = weft_users_of(u, type, name);
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : strdup("none");

	assert_string_equal(text, want);
	free(text);
	json_decref(j);
}

static void test_users(void **state)
{
	struct weft_status *s = calloc(1, sizeof(*s));
	struct weft_status_part *p = part(s, 1, WEFT_SOURCE_XDS);
	struct weft_users *u;

	(void)state;
	put(p,
	    resource(
		    WEFT_XDS_CLUSTER, &envoy__config__cluster__v3__cluster__descriptor,
		    "{\"name\": \"e\", \"type\": \"EDS\", \"eds_cluster_config\": {\"eds_config\": "
		    "{\"ads\": {}}, \"service_name\": \"svc\"}}"));
	put(p,
	    resource(WEFT_XDS_LISTENER, &envoy__config__listener__v3__listener__descriptor,
		     "{\"name\": \"l\", \"address\": {\"socket_address\": {\"address\": "
		     "\"10.0.0.1\", "
		     "\"port_value\": 1}}, \"filter_chains\": [{\"filters\": [{\"name\": \"t\", "
		     "\"typed_config\": {\"@type\": \"type.googleapis.com/"
		     "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\", \"stat_prefix\": "
		     "\"x\", "
		     "\"weighted_clusters\": {\"clusters\": [{\"name\": \"tcp1\", \"weight\": 1}, "
		     "{\"name\": \"tcp2\", \"weight\": 1}]}}}]}]}"));
	put(p,
	    resource(
		    WEFT_XDS_ROUTE, &envoy__config__route__v3__route_configuration__descriptor,
		    "{\"name\": \"r\", \"virtual_hosts\": [{\"name\": \"v\", \"domains\": [\"*\"], "
		    "\"routes\": [{\"match\": {\"prefix\": \"/a\"}, \"route\": "
		    "{\"weighted_clusters\": "
		    "{\"clusters\": [{\"name\": \"w1\", \"weight\": 1}, {\"name\": \"w2\", "
		    "\"weight\": "
		    "1}]}}}, {\"match\": {\"prefix\": \"/\"}, \"route\": {\"cluster\": \"w1\", "
		    "\"request_mirror_policies\": [{\"cluster\": \"m\"}]}}]}]}"));
	assert_int_equal(weft_users_new(s, 1, &u), 0);
	used_by(u, WEFT_XDS_ENDPOINT, "svc", "{\"clusters\":[\"e\"]}");
	used_by(u, WEFT_XDS_ENDPOINT, "e", "none");
	used_by(u, WEFT_XDS_CLUSTER, "tcp2", "{\"listeners\":[\"l\"]}");
	used_by(u, WEFT_XDS_CLUSTER, "w1", "{\"routes\":[\"r\"]}");
	used_by(u, WEFT_XDS_CLUSTER, "w2", "{\"routes\":[\"r\"]}");
	used_by(u, WEFT_XDS_CLUSTER, "m", "{\"routes\":[\"r\"]}");
	weft_users_free(u);
	/* Another view uses nothing of it. */
	assert_int_equal(weft_users_new(s, 2, &u), 0);
	used_by(u, WEFT_XDS_CLUSTER, "m", "none");
	weft_users_free(u);
	weft_status_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
