/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Envoy's admin interface says, in Envoy's form: envoy.admin.v3 in proto JSON. Each function
 * fills the answer; main thread. What is long is taken down there and written by the answer's own
 * thread, one resource at a time.
 */

#include "agent/daemon.h"
#include "agent/status/status.h"

/* All but /server_info take ?pod=: what that pod sees. */
/* /config_dump, with resource, mask, name_regex, include_eds. */
void weft_http_config_dump(struct weft_daemon *d, const char *query, struct weft_http_answer *ret);
/* /clusters, with filter and format=json. */
void weft_http_clusters(struct weft_daemon *d, const char *query, struct weft_http_answer *ret);
/* /listeners, with format=json. */
void weft_http_listeners(struct weft_daemon *d, const char *query, struct weft_http_answer *ret);
void weft_http_server_info(struct weft_daemon *d, struct weft_http_answer *ret);

/* select.c: the view of ?pod=NAMESPACE/NAME, WEFT_STATUS_ALL without it; else answered, and -errno.
 */
int weft_http_view(struct weft_daemon *d, const char *query, struct weft_http_answer *ret,
		   int64_t *ret_view);
/* A status of one line. */
void weft_http_say(struct weft_http_answer *a, unsigned int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Who the agent says it is to the first server; an empty object when there is none. */
json_t *weft_status_node(const struct weft_status *s);
/* envoy.admin.v3.BootstrapConfigDump: node, admin address, xDS servers. */
json_t *weft_status_bootstrap(const struct weft_daemon *d, const struct weft_status *s);
/* "2026-11-21T21:37:27.740Z" into buf of WEFT_STATUS_TIME bytes; returns it. */
#define WEFT_STATUS_TIME 32
const char *weft_status_time(int64_t ms, char *buf);
