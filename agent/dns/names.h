/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What dns.c (which clusters), names.c (one cluster's names) and dump.c (both, shown) share. */

#include <time.h>

#include "agent/compile/dns.h"
#include "agent/dns/dns.h"
#include "agent/dns/lookup.h"

struct names;

/* One lb_endpoint of a cluster. */
struct name {
	struct names *of;
	const char *text; /* the resource's */
	struct weft_lookup *lookup; /* NULL: waits for due_ms */
	int64_t due_ms;
	bool answered; /* whatever the answer was */
	struct weft_addr *addr;
	size_t n;
	uint32_t ttl;
	char *error; /* of the last answer, NULL: it was none */
	int64_t updated_ms; /* wall clock, of the last answer without error */
};

struct channel {
	struct weft_channel *c;
	unsigned int users;
	struct channel *next;
};

/* One content of one cluster. */
struct names {
	struct weft_dns *dns;
	struct weft_resource *res;
	struct weft_dns_conf conf;
	struct channel *channel;
	struct name *name;
	size_t n;
	bool wanted;
	bool changed; /* the assignment is not as the names say */
	uint64_t backoff_ms; /* bound of the next wait after a failure, 0: the first one */
	uint64_t attempts, successes, failures, no_rebuilds;
};

struct weft_dns {
	struct weft_loop *loop;
	void (*changed)(void *ctx);
	void *ctx;
	int due_fd, gather_fd;
	int64_t due_ms; /* for which due_fd is set, INT64_MAX: it is not */
	bool gathering;
	bool wanting; /* inside weft_dns_want(), which takes what is answered at once */
	struct names **v; /* by name and content */
	size_t n;
	struct channel *channels;
	struct weft_snapshot *resolved;
};

/* CLOCK_MONOTONIC or CLOCK_REALTIME in ms. */
int64_t names_clock_ms(clockid_t clock);
/* Asks for a name; what the answer does: names.c. */
void names_start(struct name *m);
/* Asks for each name of all clusters whose time has come. */
void names_start_due(struct weft_dns *d);
/* As weft_dns_is_warm(). */
bool names_warm(const struct names *c);
