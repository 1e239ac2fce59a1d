// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "agent/cleanup.h"
#include "agent/compile/dns.h"
#include "agent/compile/fields.h"
#include "agent/json_out.h"
#include "agent/offline.h"
#include "agent/options.h"

/* The causes are the output: standard output holds nothing else. */
static int refused(bool json, const struct weft_diag *diag, int err)
{
	if (json || diag->n == 0)
		return weft_out_error(json, WEFT_EXIT_FAILED, diag, "%s",
				      diag->n > 0 ? "the configuration is refused"
						  : strerror(-err));
	for (size_t i = 0; i < diag->n; i++)
		printf("%s: %s: %s\n", diag->entries[i].resource, diag->entries[i].field,
		       diag->entries[i].reason);
	return WEFT_EXIT_FAILED;
}

/* Names of one DNS cluster that an agent would ask for: nobody is asked here. */
static void names_append(json_t *list, const Envoy__Config__Cluster__V3__Cluster *c)
{
	const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a =
		weft_dns_is(c) ? c->load_assignment : NULL;

	for (size_t i = 0; a && i < a->n_endpoints; i++) {
		for (size_t j = 0; j < a->endpoints[i]->n_lb_endpoints; j++) {
			/* whatever is accepted has a socket_address */
			const char *name = a->endpoints[i]
						   ->lb_endpoints[j]
						   ->endpoint->address->socket_address->address;
			struct weft_sockaddr literal;

			if (!weft_ip_parse(name, 0, &literal))
				json_array_append_new(
					list, json_pack("{s:o, s:o}", "cluster",
							weft_json_bytes(c->name, strlen(c->name)),
							"name",
							weft_json_bytes(name, strlen(name))));
		}
	}
}

static json_t *unresolved(const struct weft_snapshot *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < weft_snapshot_count(s, WEFT_XDS_CLUSTER); i++)
		names_append(list, (const void *)weft_snapshot_at(s, WEFT_XDS_CLUSTER, i)->msg);
	return list;
}

/* fields: class -> message -> field -> how often. */
static void field_count(void *ctx, const ProtobufCMessageDescriptor *d,
			const ProtobufCFieldDescriptor *f, enum weft_field_class c)
{
	json_t *messages = json_object_get(ctx, weft_field_class_name(c)), *fields;
	json_int_t n;

	fields = json_object_get(messages, d->name);
	if (!fields) {
		fields = json_object();
		json_object_set_new(messages, d->name, fields);
	}
	n = json_integer_value(json_object_get(fields, f->name));
	json_object_set_new(fields, f->name, json_integer(n + 1));
}

static json_t *fields_json(const struct weft_snapshot *s)
{
	json_t *classes = json_object();

	for (int c = 0; c < WEFT_FIELD__MAX; c++)
		json_object_set_new(classes, weft_field_class_name((enum weft_field_class)c),
				    json_object());
	weft_fields_walk_all(s, &(struct weft_field_visitor){field_count, classes});
	/* what is accepted has none */
	json_object_del(classes, weft_field_class_name(WEFT_FIELD_REFUSED));
	return classes;
}

/* A line: how many fields of each class; with `all` each of them, by message. */
static void fields_print(json_t *classes, bool all)
{
	const char *class, *message, *field;
	json_t *messages, *fields, *n;

	printf("fields:");
	json_object_foreach(classes, class, messages)
	{
		json_int_t sum = 0;

		json_object_foreach(messages, message, fields) json_object_foreach(fields, field, n)
			sum += json_integer_value(n);
		printf(" %s %lld", class, (long long)sum);
	}
	putchar('\n');
	if (!all)
		return;
	json_object_foreach(classes, class, messages)
	{
		json_object_foreach(messages, message, fields)
		{
			printf("%s: %s:", class, message);
			json_object_foreach(fields, field, n)
				printf(" %s %lld", field, (long long)json_integer_value(n));
			putchar('\n');
		}
	}
}

static void accepted(bool json, bool fields, const struct weft_offline *o)
{
	static const char *const keys[WEFT_XDS__MAX] = {"clusters", "endpoints", "listeners",
							"routes"};
	const struct weft_diag *notes = weft_compiler_not_applied(o->compiler);
	_auto_json_ json_t *j = json_object();
	json_t *counts = json_object(), *names = unresolved(o->snapshot), *item;
	size_t k;

	json_object_set_new(j, "accepted", json_true());
	json_object_set_new(j, "resources", counts);
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(o->snapshot, (enum weft_xds_type)t);

		json_object_set_new(counts, keys[t], json_integer((json_int_t)n));
		if (!json)
			printf("%s%s %zu", t ? ", " : "accepted: ", keys[t], n);
	}
	json_object_set_new(j, "fields", fields_json(o->snapshot));
	json_object_set_new(j, "not_applied", notes ? weft_json_diag(notes) : json_array());
	json_object_set_new(j, "unresolved", names);
	if (json) {
		weft_out_json(j);
		return;
	}
	putchar('\n');
	fields_print(json_object_get(j, "fields"), fields);
	for (size_t i = 0; notes && i < notes->n; i++)
		printf("not applied: %s: %s: %s\n", notes->entries[i].resource,
		       notes->entries[i].field, notes->entries[i].reason);
	json_array_foreach(names, k, item)
		printf("unresolved: Cluster/%s: %s\n",
		       json_string_value(json_object_get(item, "cluster")),
		       json_string_value(json_object_get(item, "name")));
}

int weft_cmd_check(const struct weft_args *args)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	uint64_t image = weft_args_number(args, "image-size");
	struct weft_offline o;
	int r;

	if (image & (image - 1))
		return weft_out_error(args->json, WEFT_EXIT_USAGE, NULL,
				      "check: --image-size is not a power of two");
	r = weft_offline_open(weft_args_operand(args, 0), (uint32_t)image, false, &diag, &o);
	if (r == 0)
		accepted(args->json, weft_args_flag(args, "fields"), &o);
	else
		r = refused(args->json, &diag, r);
	weft_offline_close(&o);
	return r;
}
