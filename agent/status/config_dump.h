/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between config_dump.c (what is asked, and the form) and config_lists.c (what is in the lists). */

#include "agent/regex/regex.h"
#include "agent/status/status.h"
#include "agent/status/status_http.h"

struct dump_job {
	struct weft_status *status;
	json_t *bootstrap;
	char *resource;		  /* the one list, NULL: all sections */
	json_t *mask;		  /* or NULL */
	struct weft_regex *names; /* or NULL */
	int64_t view;
	bool eds;
	/* While it is written. */
	FILE *out;
	const struct dump_list *list;
	size_t sections, lists, items; /* written in the one around them */
	bool failed;
};

struct dump_list {
	const char *name;
	const ProtobufCMessageDescriptor *item;
	void (*fill)(struct dump_job *j);	   /* NULL: weft has none of these */
	const ProtobufCMessageDescriptor *content; /* of its Any */
};

/* config_dump.c: one entry of the list that is being filled; taken over. */
void dump_item(struct dump_job *j, json_t *item);
bool dump_is_named(const struct dump_job *j, const char *name);

/* config_lists.c */
void dump_static_clusters(struct dump_job *j);
void dump_active_clusters(struct dump_job *j);
void dump_warming_clusters(struct dump_job *j);
void dump_static_listeners(struct dump_job *j);
void dump_dynamic_listeners(struct dump_job *j);
void dump_static_routes(struct dump_job *j);
void dump_dynamic_routes(struct dump_job *j);
void dump_static_endpoints(struct dump_job *j);
void dump_dynamic_endpoints(struct dump_job *j);
