/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the engine does with one request, and why: on the memory it is bound to, changing nothing.
 */

#include <jansson.h>
#include <stdint.h>

#include "bpf/abi/types.h"
#include "xds/diag.h"

struct weft_explain_query {
	uint32_t pod, view;
	const char *listener; /* name or ADDR:PORT; NULL: the only listener */
	const char *method, *path;
	const char *host;	    /* NULL: the listener's name */
	const char *const *headers; /* "name: value", NULL-terminated; NULL: none */
	struct weft_addr source;    /* of the app; zero: 127.0.0.1 */
	const char *server_name;    /* of a TLS connection; NULL: it is none */
};

/*
 * {action, listener, chain, virtual_host, route, cluster | weighted_clusters, status, location,
 * body, details, headers, steps}. 0; -EINVAL: the question is wrong (a header without colon, an
 * unknown listener), -ENOENT: nothing is published; both with a cause in diag.
 */
int weft_explain(const struct weft_explain_query *q, struct weft_diag *diag, json_t **ret);

/* Name of a listener of a published view; its object's offset and an address it is reached by. */
struct weft_listener_ref {
	uint32_t off;
	struct weft_sockaddr dst;
};
/* By name or "ADDR:PORT" (the caller's words), or the only one. As weft_explain(). */
int weft_listener_locate(uint32_t view_off, const char *listener, struct weft_diag *diag,
			 struct weft_listener_ref *ret);
