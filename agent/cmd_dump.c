// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/cleanup.h"
#include "agent/cmd_admin.h"
#include "agent/json_out.h"

static const char *const resource_columns[] = {
	"name", "version", "updated", "status", "source", "in_kernel", "used_by", "error", NULL};
static const char *const listener_columns[] = {"name",	 "version",   "updated", "status",
					       "source", "in_kernel", "state",	 "used_by",
					       "error",	 NULL};
static const char *const endpoint_columns[] = {"service_name", "clusters", "version",
					       "updated",      "status",   "source",
					       "in_kernel",    "error",	   NULL};
static const char *const name_columns[] = {"cluster", "name",  "addresses",
					   "ttl",     "error", NULL};
static const char *const pod_columns[] = {
	"id", "namespace", "name", "service_account", "phase", "ipv4", "ipv6", "netns", NULL};
static const char *const connection_columns[] = {"pod",	  "client",    "dst",
						 "state", "exchanges", NULL};
static const char *const cell_columns[] = {"pod",	   "kind",	"name",	       "rq_total",
					   "rq_active",	   "cx_active", "rq_overflow", "enabled",
					   "rate_limited", "ok",	NULL};

/* The words of `dump`, the list that its answer holds under that name, and how to show it. */
static const struct {
	const char *what, *list;
	const char *const *columns; /* NULL: as a tree */
} shows[] = {
	{"listeners", "resources", listener_columns},
	{"routes", "resources", resource_columns},
	{"clusters", "resources", resource_columns},
	{"endpoints", "resources", endpoint_columns},
	{"pods", "pods", pod_columns},
	{"connections", "connections", connection_columns},
	{"stats", "cells", cell_columns},
	{"image", NULL, NULL},
	{"summary", NULL, NULL},
};
#define USERS_SHOWN 4
#define N_SHOWS (sizeof(shows) / sizeof(shows[0]))

/* "listeners main, route default"; what the client's error is about goes with it. */
static void flatten(json_t *item)
{
	_auto_free_ char *text = strdup(""), *error = NULL;
	const char *list, *failed = json_string_value(json_object_get(item, "failed_version"));
	const json_t *names, *name;
	size_t i;

	json_object_foreach(json_object_get(item, "users"), list, names)
	{
		json_array_foreach(names, i, name)
		{
			char *longer = NULL;

			/* A table is for eyes; --json has all of them. */
			if (i == USERS_SHOWN || !text ||
			    asprintf(&longer, "%s%s%.*s/%s", text, *text ? "," : "",
				     (int)strlen(list) - 1, list, json_string_value(name)) < 0)
				break;
			free(text);
			text = longer;
		}
		if (json_array_size(names) > USERS_SHOWN && text) {
			char *longer = NULL;

			if (asprintf(&longer, "%s,+%zu", text,
				     json_array_size(names) - USERS_SHOWN) >= 0) {
				free(text);
				text = longer;
			}
		}
	}
	json_object_set_new(item, "used_by", json_string(text && *text ? text : "-"));
	if (failed && asprintf(&error, "version %s: %s", failed,
			       json_string_value(json_object_get(item, "error"))) >= 0)
		json_object_set_new(item, "error", json_string(error));
}

static void show(size_t k, json_t *answer)
{
	const json_t *list = json_object_get(answer, shows[k].list), *item;
	size_t i;

	if (shows[k].list && !strcmp(shows[k].list, "resources"))
		json_array_foreach(list, i, item) flatten((json_t *)(uintptr_t)item);

	if (strcmp(shows[k].what, "image") == 0) {
		weft_out_json(json_object_get(answer, "image"));
		return;
	}
	if (shows[k].columns)
		weft_out_table(list, shows[k].columns);
	if (strcmp(shows[k].what, "endpoints") == 0 &&
	    json_array_size(json_object_get(answer, "dns")) > 0)
		weft_out_table(json_object_get(answer, "dns"), name_columns);
	json_array_foreach(json_object_get(answer, "differences"), i, item)
		printf("disagrees: %s: %s\n", json_string_value(json_object_get(item, "name")),
		       json_string_value(json_object_get(item, "where")));
	if (json_object_get(answer, "agree") && !json_is_object(json_object_get(answer, "agree")))
		printf("epoch %lld, agent and kernel %s\n",
		       (long long)json_integer_value(json_object_get(answer, "epoch")),
		       json_is_true(json_object_get(answer, "agree")) ? "agree" : "disagree");
	if (strcmp(shows[k].what, "stats") == 0 || !shows[k].columns) {
		json_object_del(answer, "cells");
		json_object_del(answer, "what");
		weft_out_tree(answer, "");
	}
}

int weft_cmd_dump(const struct weft_args *args)
{
	const char *what = weft_args_operand(args, 0);
	_auto_json_ json_t *request = NULL, *answer = NULL;
	size_t k = 0;
	int r;

	what = what ? what : "summary";
	while (k < N_SHOWS && strcmp(shows[k].what, what) != 0)
		k++;
	if (k == N_SHOWS)
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL, "dump: %s cannot be shown",
				      what);
	request = json_pack("{s:s, s:s}", "command", "dump", "what", what);
	r = weft_cmd_ask(args, request, NULL, 0, &answer);
	if (r != WEFT_EXIT_OK)
		return r;
	if (args->json)
		weft_out_json(answer);
	else
		show(k, answer);
	return WEFT_EXIT_OK;
}
