// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "envoy/config/route/v3/route.pb-c.h"
#include "xds/file.h"


static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_xds_file.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	DIR *d = opendir(folder);

	(void)state;
	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d));) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlink(path);
	}
	closedir(d);
	return rmdir(folder);
}

static const char *put(const char *name, const char *text)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static struct weft_snapshot *load(const char *path)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;

	if (weft_file_load(path, 7, &diag, &s)) {
		char *text = weft_diag_text(&diag);

		fail_msg("%s: %s", path, text ? text : "no cause");
	}
	assert_int_equal(diag.n, 0);
	return s;
}

static void refuse(const char *path, const char *want)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = (void *)1;
	char *text;

	assert_true(weft_file_load(path, 7, &diag, &s) < 0);
	assert_ptr_equal(s, (void *)1); /* untouched */
	text = weft_diag_text(&diag);
	assert_non_null(text);
	if (!strstr(text, want))
		fail_msg("\"%s\" is not in \"%s\"", want, text);
	free(text);
	weft_diag_clear(&diag);
}

static void documents_lists_and_single_resources(void **state)
{
	struct weft_snapshot *s;

	(void)state;
	s = load(put("a.yaml",
		     "- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: b}\n"
		     "---\n"
		     "resources:\n"
		     "- {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}\n"
		     "---\n"
		     "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n"
		     "name: c\n"));
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 3);
	assert_string_equal(weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->name, "a");
	assert_int_equal(strlen(weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->version), 16);
	assert_int_equal(weft_snapshot_at(s, WEFT_XDS_CLUSTER, 0)->updated_ms, 7);
	weft_snapshot_free(s);
}

#define LISTENER(name, address, port)                                                              \
	"  - {" name "address: {socket_address: {address: \"" address "\", port_value: " port      \
	"}}, filter_chains: [{filters: [{name: envoy.filters.network.tcp_proxy, typed_config: "    \
	"{\"@type\": t/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, "   \
	"cluster: c}}]}]}\n"

static void listeners_of_a_bootstrap_need_no_name(void **state)
{
	struct weft_snapshot *s;

	(void)state;
	s = load(put("a.yaml",
		     "static_resources:\n  listeners:\n" LISTENER("", "0.0.0.0", "80")
			     LISTENER("name: \"\", ", "0.0.0.0", "81") LISTENER("", "::1", "80")
				     LISTENER("name: l, ", "::1", "81")));
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_LISTENER), 4);
	assert_string_equal(weft_snapshot_at(s, WEFT_XDS_LISTENER, 0)->name, "0.0.0.0:80");
	assert_string_equal(weft_snapshot_at(s, WEFT_XDS_LISTENER, 1)->name, "0.0.0.0:81");
	assert_string_equal(weft_snapshot_at(s, WEFT_XDS_LISTENER, 2)->name, "[::1]:80");
	assert_string_equal(weft_snapshot_at(s, WEFT_XDS_LISTENER, 3)->name, "l");
	weft_snapshot_free(s);
	refuse(put("a.yaml", "static_resources:\n  listeners:\n" LISTENER("", "0.0.0.0", "80")
				     LISTENER("", "0.0.0.0", "80")),
	       "Listener/0.0.0.0:80 is there twice");
}

static void folders_are_read_in_order_without_others(void **state)
{
	struct weft_snapshot *s;
	char **paths;

	(void)state;
	put("a.yml", "\"@type\": t/envoy.config.cluster.v3.Cluster\nname: a\n");
	put("b.json", "{\"@type\": \"t/envoy.config.cluster.v3.Cluster\", \"name\": \"b\"}");
	put("c.txt", "not read");
	put(".d.yaml", "not read");
	s = load(folder);
	assert_int_equal(weft_snapshot_count(s, WEFT_XDS_CLUSTER), 2);
	weft_snapshot_free(s);
	assert_int_equal(weft_file_watch_list(folder, &paths), 0);
	assert_string_equal(paths[0], folder);
	assert_non_null(strstr(paths[1], "a.yml"));
	assert_non_null(strstr(paths[2], "b.json"));
	assert_null(paths[3]);
	for (size_t i = 0; paths[i]; i++)
		free(paths[i]);
	free(paths);
	put("e.yaml", "\"@type\": t/envoy.config.cluster.v3.Cluster\nname: b\n");
	refuse(folder, "Cluster/b is there twice");
}

static void bootstrap_with_paths_and_runtime(void **state)
{
	const Envoy__Config__Route__V3__RouteConfiguration *rc;
	struct weft_snapshot *s;

	(void)state;
	put("lds.json",
	    "{\"version_info\":\"1\",\"resources\":[{\"@type\":\"t/envoy.config.listener.v3.Listener\","
	    "\"name\":\"l\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":1}},"
	    "\"filter_chains\":[{\"filters\":[{\"name\":\"h\",\"typed_config\":{\"@type\":\"t/"
	    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\","
	    "\"stat_prefix\":\"h\",\"rds\":{\"route_config_name\":\"r\",\"config_source\":"
	    "{\"path_config_source\":{\"path\":\"rds.r.json\"}}}}}]}]}]}");
	put("rds.r.json",
	    "{\"resources\":[{\"@type\":\"t/envoy.config.route.v3.RouteConfiguration\",\"name\":\"r\","
	    "\"virtual_hosts\":[{\"name\":\"v\",\"domains\":[\"*\"],\"routes\":[{\"match\":{\"prefix\":\"/\","
	    "\"runtime_fraction\":{\"default_value\":{\"numerator\":1},\"runtime_key\":\"a.b\"}},"
	    "\"route\":{\"cluster\":\"c\"}}]}]}]}");
	put("eds.c.json",
	    "{\"resources\":[{\"@type\":\"t/envoy.config.endpoint.v3.ClusterLoadAssignment\","
	    "\"cluster_name\":\"c\"}]}");
	s = load(put("boot.yaml",
		     "node: {id: x, cluster: y}\n"
		     "layered_runtime: {layers: [{name: s, static_layer: {a: {b: 40}}}]}\n"
		     "dynamic_resources: {lds_config: {path_config_source: {path: lds.json}}}\n"
		     "static_resources:\n"
		     "  clusters:\n"
		     "  - name: c\n"
		     "    type: EDS\n"
		     "    eds_cluster_config: {eds_config: {path_config_source: {path: eds.c.json}}}\n"));
	assert_non_null(weft_snapshot_get(s, WEFT_XDS_LISTENER, "l"));
	assert_non_null(weft_snapshot_get(s, WEFT_XDS_CLUSTER, "c"));
	assert_non_null(weft_snapshot_get(s, WEFT_XDS_ENDPOINT, "c"));
	rc = (const void *)weft_snapshot_get(s, WEFT_XDS_ROUTE, "r")->msg;
	assert_int_equal(
		rc->virtual_hosts[0]->routes[0]->match->runtime_fraction->default_value->numerator, 40);
	assert_string_equal(weft_snapshot_node_id(s), "x");
	assert_string_equal(weft_snapshot_node_cluster(s), "y");
	weft_snapshot_free(s);
	refuse(put("boot.yaml", "layered_runtime: {layers: [{name: s, static_layer: {x: 1}}]}\n"),
	       "x: no resource refers to it");
	refuse(put("boot.yaml", "layered_runtime: {layers: [{name: s, disk_layer: {}}]}\n"),
	       "only static layers are supported");
	refuse(put("boot.yaml", "layered_runtime: {layers: [{name: s, static_layer: {x: y}}]}\n"),
	       "must be a number, true, false or a fraction");
	refuse(put("boot.yaml", "dynamic_resources: {cds_config: {path_config_source: {path: lds.json}}}\n"),
	       "is not type.googleapis.com/envoy.config.cluster.v3.Cluster");
	refuse(put("boot.yaml", "dynamic_resources: {cds_config: {ads: {}}}\n"),
	       "only path_config_source is supported");
	refuse(put("boot.yaml", "dynamic_resources: {cds_config: {path_config_source: {path: no.json}}}\n"),
	       "no.json: No such file");
	refuse(put("boot.yaml", "cluster_manager: {local_cluster_name: x}\n"),
	       "cluster_manager: is not supported");
}

static void errors_name_file_and_line(void **state)
{
	(void)state;
	refuse(put("a.yaml", "static_resources:\n  clusters:\n  - name: c\n    no_such: 1\n"),
	       "a.yaml:4: static_resources.clusters[0].no_such: no such field in "
	       "envoy.config.cluster.v3.Cluster");
	refuse(put("a.yaml", "- \"@type\": t/envoy.config.cluster.v3.Cluster\n  name: 5\n"),
	       "a.yaml:2: name: must be a string (quote it)");
	refuse(put("a.yaml", "static_resources:\n  clusters: [{name: c, connect_timeout: 0s}]\n"),
	       "Cluster/c: connect_timeout: must be above 0s");
	refuse(put("a.yaml", "a: [b\n"), "a.yaml:2: ");
	refuse(put("a.json", "{\n\"a\": }"), "a.json:2: ");
	refuse(put("a.yaml", "- {\"@type\": t/envoy.config.core.v3.Node}\n"),
	       "is not one of the four resources");
	refuse(put("a.yaml", "hello\n"), "must be a mapping or a list");
	refuse(put("a.yaml", "resources: []\nfoo: 1\n"), "foo: no such field beside");
	refuse("/tmp/no/such/file.yaml", "No such file");
	refuse("/dev/null", "is no regular file");
}

static void all_causes_are_told(void **state)
{
	(void)state;
	refuse(put("a.yaml", "static_resources:\n  clusters:\n  - {name: a, type: EDS}\n  - {name: b, type: EDS}\n"),
	       "; Cluster/b: eds_cluster_config: is required");
}

/* What a real istiod sent, as JSON. */
static void istio_sample(void **state)
{
	static const struct {
		const char *name;
		enum weft_xds_type type;
		size_t n;
	} files[] = {{"cds", WEFT_XDS_CLUSTER, 7},
		     {"eds", WEFT_XDS_ENDPOINT, 4},
		     {"lds", WEFT_XDS_LISTENER, 4},
		     {"rds", WEFT_XDS_ROUTE, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char path[256];
		struct weft_snapshot *s;

		snprintf(path, sizeof(path), WEFT_TEST_DATA "/data/istio-sample/%s.json", files[i].name);
		s = load(path);
		assert_int_equal(weft_snapshot_count(s, files[i].type), files[i].n);
		for (size_t j = 0; j < files[i].n; j++)
			assert_int_equal(weft_snapshot_at(s, files[i].type, j)->unknown, 0);
		weft_snapshot_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(documents_lists_and_single_resources, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(listeners_of_a_bootstrap_need_no_name, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(folders_are_read_in_order_without_others,
						make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(bootstrap_with_paths_and_runtime, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(errors_name_file_and_line, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(all_causes_are_told, make_folder, remove_folder),
		cmocka_unit_test(istio_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
