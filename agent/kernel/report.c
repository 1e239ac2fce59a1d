// SPDX-License-Identifier: Apache-2.0
/* The kernel part in JSON, for probe, dump and metrics. */

#include "agent/kernel/kernel_state.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "agent/cleanup.h"

json_t *weft_kernel_probe(const char *cgroup)
{
	struct weft_feature_result results[WEFT_FEATURE__MAX];
	_auto_json_ json_t *list = json_array();

	(void)cgroup; /* nothing is attached: loading is the answer */
	if (!list)
		return NULL;
	weft_features_probe(results);
	for (int i = 0; i < WEFT_FEATURE__MAX; i++) {
		json_t *row = json_pack("{s:s, s:b, s:s, s:s}", "feature", weft_feature_rows[i].name,
					"available", results[i].available, "reason",
					results[i].reason, "without", weft_feature_rows[i].without);

		if (!row || json_array_append_new(list, row))
			return NULL;
	}
	return WEFT_TAKE_PTR(list);
}

static json_int_t verified_insns(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_program__fd(prog);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return 0;
	return info.verified_insns;
}

json_t *weft_kernel_programs(const struct weft_kernel *k)
{
	_auto_json_ json_t *list = json_array();
	struct bpf_program *prog;

	if (!list)
		return NULL;
	bpf_object__for_each_program(prog, k->skel->obj) {
		bool on = bpf_program__autoload(prog);
		json_t *row = json_pack("{s:s, s:s, s:I, s:b}", "name", bpf_program__name(prog),
					"hook", bpf_program__section_name(prog),
					"verified_instructions", verified_insns(prog), "attached",
					on && k->attached);

		if (!row)
			return NULL;
		if (!on && !strcmp(bpf_program__name(prog), "msg"))
			json_object_set_new(row, "reason", json_string(k->msg_off_reason));
		if (json_array_append_new(list, row))
			return NULL;
	}
	return WEFT_TAKE_PTR(list);
}

static json_int_t counter_read(const __u64 *counter)
{
	return (json_int_t)__atomic_load_n(counter, __ATOMIC_RELAXED);
}

json_t *weft_kernel_counters(const struct weft_kernel *k)
{
	const struct weft_state_head *head = (const void *)k->state;
	json_t *side[2] = {json_object(), json_object()}, *handed = json_object(),
	       *classes = json_object();

	for (int i = 0; i < WEFT_OUTCOME__MAX; i++)
		for (int s = 0; s < 2; s++)
			json_object_set_new(side[s], weft_outcome_name((enum weft_outcome)i),
					    json_integer(counter_read(&head->outcome[s][i])));
	for (int i = 0; i < WEFT_HANDED__MAX; i++)
		json_object_set_new(handed, weft_handed_name((enum weft_handed)i),
				    json_integer(counter_read(&head->handed[i])));
	for (int i = 0; i < WEFT_CLASS__MAX; i++)
		json_object_set_new(classes, weft_class_name((enum weft_class)i),
				    json_integer(counter_read(&head->classes[i])));
	return json_pack("{s:{s:o, s:o}, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "outcomes",
			 "kernel", side[0], "agent", side[1], "handed", handed, "classes", classes,
			 "slots_used", counter_read(&head->slots_used), "decisions_honoured",
			 counter_read(&head->decisions_honoured), "decisions_dropped",
			 counter_read(&head->decisions_dropped), "segments_trimmed",
			 counter_read(&head->segments_trimmed), "streams_broken",
			 counter_read(&head->streams_broken), "repeated",
			 counter_read(&head->repeated));
}

bool weft_kernel_has(const struct weft_kernel *k, const char *feature)
{
	for (int i = 0; i < WEFT_FEATURE__MAX; i++)
		if (!strcmp(weft_feature_rows[i].name, feature))
			return k->feature[i].available;
	if (!strcmp(feature, "msg"))
		return k->msg_on;
	return !strcmp(feature, "skb") && k->verdict_on;
}

json_t *weft_kernel_pod_use(const struct weft_kernel *k, uint32_t pod)
{
	const struct weft_state_head *head = (const void *)k->state;
	const struct weft_pod_use *use = (const void *)(k->state + head->pod_use);

	use += pod <= WEFT_PODS_MAX ? pod : 0;
	return json_pack("{s:I, s:I, s:I, s:I}", "slots",
			 (json_int_t)__atomic_load_n(&use->slots, __ATOMIC_RELAXED), "slots_max",
			 (json_int_t)head->pod_slots_max, "entries",
			 (json_int_t)__atomic_load_n(&use->origs, __ATOMIC_RELAXED), "entries_max",
			 (json_int_t)head->pod_origs_max);
}
