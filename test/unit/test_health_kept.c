// SPDX-License-Identifier: Apache-2.0
/* Active health checks of clusters for pods, with real hosts on the loopback: what is published, when, and what becomes of
 * hosts that come and go. */
#include "compile_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/health/health.h"
#include "agent/loop.h"
#include "agent/view.h"

#define HOSTS 4
#define CHECKS                                                                                     \
	"health_checks: [{timeout: 5s, interval: 0.02s, no_traffic_interval: 0.02s, "              \
	"healthy_threshold: 1, unhealthy_threshold: 1, tcp_health_check: {}}]"
#define EDS(name, more)                                                                            \
	CLUSTER(name, "type: EDS, eds_cluster_config: {eds_config: {ads: {}}" more ", " CHECKS)
/* Changes are told at once, and no host is chosen for want of others. */
#define QUICK                                                                                      \
	"}, common_lb_config: {update_merge_window: 0s, healthy_panic_threshold: {value: 0}}"

static struct conf c;
static struct weft_loop *loop;
static struct weft_views *views;
static struct weft_health *h;
static int netns, server[HOSTS];
static uint16_t port[HOSTS];
static unsigned int publishes, passes;
static int publish_error;
static const char *inside = ""; /* of each endpoint */

static uint64_t clock_of(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t zero(void *ctx)
{
	(void)ctx;
	return 0;
}

static int publish(void *ctx, bool warmed)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;

	(void)ctx;
	publishes++;
	if (publish_error)
		return publish_error;
	return warmed ? weft_views_renew(views, &diag) : weft_views_again(views, &diag);
}

static void passed(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint)
{
	(void)ctx;
	assert_true(pod && cluster && endpoint);
	passes++;
}

/* ---- hosts ---- */

static void host_up(int i)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port[i])};
	socklen_t len = sizeof(a);
	int one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(server[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(server[i], (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(server[i], 4096), 0);
	assert_int_equal(getsockname(server[i], (struct sockaddr *)&a, &len), 0);
	port[i] = ntohs(a.sin_port);
}

/* Its port stays its own: nobody else answers there. */
static void host_down(int i)
{
	assert_int_equal(shutdown(server[i], SHUT_RDWR), 0);
}

static void host_again(int i)
{
	close(server[i]);
	host_up(i);
}

/* An assignment of hosts, a bit each; more: of each. */
static void load_text(char *to, size_t size, const char *name, uint32_t bits, const char *more)
{
	size_t n = (size_t)snprintf(to, size,
				    "- {" T("config.endpoint.v3.ClusterLoadAssignment")
				    ", cluster_name: %s, endpoints: [{lb_endpoints: [",
				    name);

	for (int i = 0; i < HOSTS; i++) {
		if (bits >> i & 1)
			n += (size_t)snprintf(to + n, size - n,
					      "{%sendpoint: {%saddress: {socket_address: {address: "
					      "127.0.0.1, port_value: %u}}}}, ",
					      more, inside, port[i]);
	}
	snprintf(to + n, size - n, "]}]}\n");
}

static void set(const char *clusters, uint32_t bits, const char *more)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	char text[8192], load[4096];

	load_text(load, sizeof(load), "c", bits, more);
	snprintf(text, sizeof(text), "%s%s", clusters, load);
	assert_int_equal(conf_load(text, &diag, &s), 0);
	assert_int_equal(weft_views_set(views, 0, WEFT_SOURCE_FILE, s, &diag), 0);
	weft_snapshot_free(s);
}

static bool open_all(void)
{
	const struct weft_health_config cfg = {.now_ms = clock_of,
					       .random = zero,
					       .publish = publish,
					       .passed = passed};
	struct weft_health_config full = cfg;

	netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (setns(netns, CLONE_NEWNET)) { /* checks are made from pods' namespaces */
		close(netns);
		return false;
	}
	conf_open(&c);
	assert_int_equal(weft_loop_new(&loop), 0);
	full.loop = loop;
	full.compiler = c.compiler;
	assert_int_equal(weft_health_new(&full, &h), 0);
	assert_int_equal(weft_views_new(c.compiler, NULL, NULL, &views), 0);
	weft_views_check_hosts(views, h);
	publishes = passes = 0;
	publish_error = 0;
	memset(port, 0, sizeof(port));
	for (int i = 0; i < HOSTS; i++)
		host_up(i);
	return true;
}

static void end(void)
{
	weft_health_free(h);
	weft_views_free(views);
	weft_loop_free(loop);
	conf_close(&c);
	for (int i = 0; i < HOSTS; i++)
		close(server[i]);
	close(netns);
}

#define OPEN()                                                                                     \
	do {                                                                                       \
		(void)state;                                                                       \
		if (!open_all())                                                                   \
			skip();                                                                    \
	} while (0)

/* ---- what pods have ---- */

static const struct weft_img_endpoints *endpoints_of(uint32_t pod)
{
	struct weft_ctx ctx = {.pod = pod};
	const struct weft_img_view *v;
	const struct weft_img_cluster_ref *ref;

	assert_int_equal(weft_ctx_begin(&ctx), 0);
	v = weft_img_at(ctx.view_off);
	ref = weft_img_at(v->cluster);
	for (uint32_t i = 0; i < v->n_cluster; i++) {
		if (ref[i].cluster)
			return weft_img_at(ref[i].endpoints);
	}
	return NULL;
}

static uint32_t bit_of(const struct weft_img_endpoint *e)
{
	for (int i = 0; i < HOSTS; i++) {
		if (e->addr.port == port[i])
			return 1u << i;
	}
	fail_msg("port %u", e->addr.port);
	return 0;
}

/* Hosts that the pod has at all, and those that requests may go to: a bit each. */
static uint32_t members(uint32_t pod)
{
	const struct weft_img_endpoints *e = endpoints_of(pod);
	const struct weft_img_endpoint *host = e ? weft_img_at(e->endpoint) : NULL;
	uint32_t bits = 0;

	for (uint32_t i = 0; e && i < e->n; i++)
		bits |= bit_of(&host[i]);
	return bits;
}

static uint32_t eligible(uint32_t pod)
{
	const struct weft_img_endpoints *e = endpoints_of(pod);
	const struct weft_img_endpoint *host = e ? weft_img_at(e->endpoint) : NULL;
	const struct weft_img_host_set *s = e ? weft_img_at(e->set) : NULL;
	const uint32_t *at = s ? weft_img_at(s->host) : NULL;
	uint32_t bits = 0;

	for (uint32_t i = 0; s && i < s->n_host; i++)
		bits |= bit_of(&host[at[i]]);
	return bits;
}

static void turn(void)
{
	assert_int_equal(weft_loop_step(loop, 50), 0);
}

#define UNTIL(what)                                                                                \
	do {                                                                                       \
		uint64_t until_ = clock_of(NULL) + 20000;                                          \
		while (!(what)) {                                                                  \
			if (clock_of(NULL) > until_)                                               \
				fail_msg("never: %s", #what);                                      \
			turn();                                                                    \
		}                                                                                  \
	} while (0)

/* A number of a pod's cluster, -1: there is none such. */
static json_int_t stat(uint32_t pod, const char *name)
{
	json_t *list = weft_health_stats_json(h), *j;
	json_int_t n = -1;
	size_t i;

	json_array_foreach(list, i, j)
	{
		if (json_integer_value(json_object_get(j, "pod")) == pod)
			n = json_integer_value(json_object_get(j, name));
	}
	json_decref(list);
	return n;
}

/* Whether Envoy's flags of a pod's host have these words. */
static bool flagged(uint32_t pod, int i, const char *flags)
{
	json_t *list = weft_health_hosts_json(h), *j;
	char host[64];
	bool is = false;
	size_t k;

	snprintf(host, sizeof(host), "127.0.0.1:%u", port[i]);
	json_array_foreach(list, k, j)
	{
		if (json_integer_value(json_object_get(j, "pod")) == pod &&
		    !strcmp(json_string_value(json_object_get(j, "host")), host))
			is = strcmp(json_string_value(json_object_get(j, "health_flags")), flags) ==
			     0;
	}
	json_decref(list);
	return is;
}

static void pod_add(uint32_t pod)
{
	assert_int_equal(weft_health_pod_add(h, pod, 0, netns), 0);
}

/* ---- tests ---- */

/* Hosts of each pod are failed until its own first check, which counts at once. */
static void test_first(void **state)
{
	OPEN();
	host_down(2);
	set(EDS("c", QUICK), 7, "");
	assert_int_equal(eligible(1), 7); /* nobody is there who would check */
	pod_add(1);
	assert_true(flagged(1, 0, "/failed_active_hc"));
	assert_false(weft_health_pod_is_warm(h, 1));
	UNTIL(eligible(1) == 3 && stat(1, "failure") > 0);
	assert_true(weft_health_pod_is_warm(h, 1));
	assert_true(flagged(1, 0, "healthy"));
	assert_true(flagged(1, 2, "/failed_active_hc"));
	assert_int_equal(stat(1, "membership_total"), 3);
	assert_int_equal(stat(1, "membership_healthy"), 2);
	assert_int_equal(stat(1, "healthy"), 2);
	assert_true(stat(1, "network_failure") > 0);
	UNTIL(passes > 4);
	/* another pod begins anew, and the first one's results stand */
	pod_add(2);
	assert_true(flagged(2, 0, "/failed_active_hc"));
	assert_false(weft_health_pod_is_warm(h, 2));
	assert_true(weft_health_pod_is_warm(h, 1));
	assert_int_equal(eligible(1), 3);
	UNTIL(eligible(2) == 3);
	weft_health_pod_drop(h, 2);
	UNTIL(stat(2, "attempt") < 0);
	end();
}

/* Its routes may name it before (validate_clusters). */
#define COLD                                                                                       \
	EDS("c", QUICK)                                                                            \
	LISTENER("l", AT_80,                                                                       \
		 HCM("", "",                                                                       \
		     "route_config: {virtual_hosts: [{name: v, domains: ['*'], routes: [{match: "  \
		     "{prefix: /}, route: {cluster: c}}]}]}"))

/* A cluster that is new is not there for pods that are until their hosts were checked. */
static void test_cold(void **state)
{
	OPEN();
	host_down(1);
	pod_add(1);
	set(COLD, 3, "");
	assert_null(endpoints_of(1));
	assert_false(weft_health_pod_is_warm(h, 1));
	UNTIL(endpoints_of(1));
	assert_true(weft_health_pod_is_warm(h, 1));
	assert_int_equal(members(1), 3);
	assert_int_equal(eligible(1), 1);
	/* one without hosts is not waited for */
	set(COLD, 0, "");
	assert_non_null(endpoints_of(1));
	end();
}

static void test_comes_and_goes(void **state)
{
	OPEN();
	pod_add(1);
	set(EDS("c", QUICK), 3, "");
	UNTIL(eligible(1) == 3);
	host_down(0);
	UNTIL(eligible(1) == 2);
	host_again(0);
	UNTIL(eligible(1) == 3);
	end();
}

/* ignore_new_hosts_until_first_hc: excluded instead of failed alone. */
static void test_excluded(void **state)
{
	OPEN();
	set(EDS("c", "}, common_lb_config: {update_merge_window: 0s, "
		     "ignore_new_hosts_until_first_hc: true}"),
	    3, "");
	pod_add(1);
	assert_true(flagged(1, 0, "/failed_active_hc/pending_active_hc"));
	assert_int_equal(stat(1, "membership_excluded"), 2);
	UNTIL(stat(1, "success") >= 2);
	assert_int_equal(stat(1, "membership_excluded"), 0);
	UNTIL(eligible(1) == 3);
	end();
}

/* A host that discovery takes away stays where its checks pass, and goes when one fails. */
static void test_removed(void **state)
{
	OPEN();
	host_down(2);
	pod_add(1);
	set(EDS("c", QUICK), 7, "");
	UNTIL(eligible(1) == 3 && flagged(1, 2, "/failed_active_hc") && stat(1, "failure") > 0);
	set(EDS("c", QUICK), 1, "");
	/* the one that fails goes at once */
	assert_int_equal(members(1), 3);
	assert_int_equal(eligible(1), 3);
	assert_true(flagged(1, 1, "/pending_dynamic_removal"));
	assert_true(flagged(1, 0, "healthy"));
	assert_int_equal(stat(1, "membership_total"), 2);
	/* further updates do not change that, nor do further checks */
	set(EDS("c", QUICK), 9, "");
	assert_int_equal(members(1), 11);
	assert_int_equal(eligible(1), 3); /* a new one is failed until it is checked */
	UNTIL(eligible(1) == 11);
	/* it is back: an ordinary one */
	set(EDS("c", QUICK), 3, "");
	assert_int_equal(members(1), 11);
	assert_true(flagged(1, 1, "healthy"));
	assert_true(flagged(1, 3, "/pending_dynamic_removal"));
	host_down(3);
	UNTIL(members(1) == 3);
	assert_int_equal(eligible(1), 3);
	assert_int_equal(stat(1, "membership_total"), 2);
	/* it fails while it is there: unhealthy, not gone */
	host_down(1);
	UNTIL(eligible(1) == 1);
	assert_int_equal(members(1), 3);
	set(EDS("c", QUICK), 1, "");
	assert_int_equal(members(1), 1);
	end();
}

/* Each pod by its own checks: one that comes later never has the host. */
static void test_removed_of_pods(void **state)
{
	OPEN();
	pod_add(1);
	set(EDS("c", QUICK), 3, "");
	UNTIL(eligible(1) == 3);
	set(EDS("c", QUICK), 1, "");
	assert_int_equal(members(1), 3);
	pod_add(2);
	UNTIL(eligible(2) == 1);
	assert_int_equal(members(2), 1);
	assert_int_equal(members(1), 3);
	host_down(1);
	UNTIL(members(1) == 1);
	weft_health_pod_drop(h, 1);
	end();
}

/* What goes at once: where the cluster wants it, of an assignment that clusters share, what EDS
 * calls unhealthy. */
static void test_removed_at_once(void **state)
{
	static const char *const cases[] = {
		EDS("c", QUICK ", ignore_health_on_host_removal: true"),
		EDS("c", QUICK) EDS("d", ", service_name: c" QUICK),
	};

	for (size_t i = 0; i < 2; i++) {
		OPEN();
		pod_add(1);
		set(cases[i], 3, "");
		UNTIL(eligible(1) == 3);
		set(cases[i], 1, "");
		assert_int_equal(members(1), 1);
		end();
	}
	OPEN();
	pod_add(1);
	set(EDS("c", QUICK), 3, "health_status: UNHEALTHY, ");
	UNTIL(stat(1, "success") >= 2);
	set(EDS("c", QUICK), 1, "");
	assert_int_equal(members(1), 1);
	end();
	/* and one that is not checked */
	OPEN();
	pod_add(1);
	inside = "health_check_config: {disable_active_health_check: true}, ";
	set(EDS("c", QUICK), 3, "");
	inside = "";
	UNTIL(eligible(1) == 3);
	set(EDS("c", QUICK), 1, "");
	assert_int_equal(members(1), 1);
	end();
}

/* A publish that fails is tried again. */
static void test_failed_publish(void **state)
{
	json_t *j;

	OPEN();
	pod_add(1);
	publish_error = -EIO;
	set(EDS("c", QUICK), 1, "");
	UNTIL(publishes >= 2);
	assert_null(endpoints_of(1));
	j = weft_health_limits_json(h);
	assert_true(json_integer_value(json_object_get(j, "publish_failures")) >= 2);
	assert_int_equal(json_integer_value(json_object_get(j, "hosts")), 1);
	json_decref(j);
	publish_error = 0;
	UNTIL(eligible(1) == 1);
	end();
}

/* A cluster that changes takes the place of the old one when every pod's hosts were checked. */
static void test_changed(void **state)
{
	OPEN();
	pod_add(1);
	set(EDS("c", QUICK), 1, "");
	UNTIL(eligible(1) == 1);
	set(EDS("c", QUICK ", connect_timeout: 7s"), 1, "");
	assert_int_equal(eligible(1), 1); /* the old one's */
	UNTIL(eligible(1) == 1 && stat(1, "attempt") > 0 && flagged(1, 0, "healthy"));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first),		cmocka_unit_test(test_cold),
		cmocka_unit_test(test_comes_and_goes),
		cmocka_unit_test(test_excluded),	cmocka_unit_test(test_removed),
		cmocka_unit_test(test_removed_of_pods), cmocka_unit_test(test_removed_at_once),
		cmocka_unit_test(test_failed_publish),	cmocka_unit_test(test_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
