/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Large configurations by number: the same bytes for the same arguments, and requests with the route each has to take.
 * Numbers in paths have five digits, so that a request is as long whatever the size of the table.
 */

#include <stddef.h>
#include <stdint.h>

enum table_kind {
	TABLE_ROUTES, /* one virtual host: prefixes, exact paths, header conditions, a regular expression in 50 */
	TABLE_PLAIN,  /* the same without regular expressions */
	TABLE_HOSTS,  /* n virtual hosts of two domains and two routes */
	TABLE_WILD,   /* n virtual hosts of a wildcard domain each, of lengths that differ */
	TABLE_HEADER, /* one path, n routes that differ in the exact value of one header */
};

/* What a request of a table comes to; tables of hosts and TABLE_HEADER have requests of one sort only. */
enum table_sort { SORT_PREFIX, SORT_EXACT, SORT_HEADER, SORT_REGEX, SORT_LAST, SORT__MAX };

struct table_request {
	char host[64];
	char path[128];
	char lines[128]; /* header lines, each with its end */
	uint32_t route;	 /* index in its virtual host */
	char vhost[32];	 /* its name */
};

/*
 * Resources as a JSON list: a listener at 10.0.0.1:80, its route configuration, the cluster "c" of two endpoints that
 * every route forwards to. Caller frees; NULL: no memory.
 */
char *table_json(enum table_kind kind, uint32_t n);

/* Request number k of a sort, spread over the whole table. 0: the table has none of the sort. */
int table_request(enum table_kind kind, uint32_t n, enum table_sort sort, uint32_t k, struct table_request *ret);

const char *table_sort_name(enum table_sort sort);
