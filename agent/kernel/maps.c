// SPDX-License-Identifier: Apache-2.0
/* What the agent asks of the maps while it runs. */

#include "agent/kernel/kernel_state.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <time.h>

int weft_kernel_synchronize(void *ctx)
{
	struct weft_kernel *k = ctx;
	__u32 zero = 0;

	/* The kernel waits for an RCU grace period after it has replaced a map in a map;
	 * membarrier() does not on every machine. */
	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.grace), &zero, &k->grace_fd, BPF_ANY);
}

int weft_kernel_pod_set(struct weft_kernel *k, uint64_t netns_cookie, const struct weft_pod *pod)
{
	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.pod), &netns_cookie, pod, BPF_ANY);
}

int weft_kernel_pod_del(struct weft_kernel *k, uint64_t netns_cookie)
{
	return bpf_map_delete_elem(bpf_map__fd(k->skel->maps.pod), &netns_cookie);
}

int weft_kernel_orig_take(void *ctx, const struct weft_orig_key *key, struct weft_orig *ret)
{
	struct weft_kernel *k = ctx;
	int r = bpf_map_lookup_and_delete_elem(bpf_map__fd(k->skel->maps.orig), key, ret);

	if (!r)
		weft_pod_orig_put(ret->pod);
	return r;
}

int weft_kernel_exempt(void *ctx, int fd)
{
	struct weft_kernel *k = ctx;
	struct weft_sock own = {.flags = WEFT_SOCK_EXEMPT};

	return bpf_map_update_elem(bpf_map__fd(k->skel->maps.sk), &fd, &own, BPF_ANY);
}

void weft_kernel_slot_release(void *ctx, uint32_t slot, uint32_t gen)
{
	struct weft_kernel *k = ctx;
	const struct weft_state_head *head = (const void *)k->state;
	struct weft_slot *at;
	uint32_t old;

	if (!slot || slot >= head->n_slot)
		return;
	at = (void *)(k->state + head->slot + (size_t)slot * sizeof(*at));
	if (__atomic_load_n(&at->gen, __ATOMIC_ACQUIRE) != gen)
		return;
	old = __atomic_fetch_and(&at->refs, ~WEFT_REF_AGENT, __ATOMIC_ACQ_REL);
	/* The engine is bound to this state by whoever opened the kernel part (agent/store). */
	if (old == WEFT_REF_AGENT) {
		weft_pod_slot_put(at->pod);
		weft_slot_put(slot);
	}
}

/* Those of one walk, as many as keys[] holds; *ret_full: there may be more. */
static unsigned int sweep_some(struct weft_kernel *k, uint64_t now, uint64_t max_age_ns, bool *ret_full)
{
	int map = bpf_map__fd(k->skel->maps.orig);
	struct weft_orig_key keys[256], *at = NULL;
	struct weft_orig val;
	unsigned int n = 0, found = 0;
	uint32_t steps = 2 * bpf_map__max_entries(k->skel->maps.orig); /* a walk may restart */

	/* Keys first: deleting the key that the walk stands on would restart it. */
	while (steps-- && n < sizeof(keys) / sizeof(keys[0]) &&
	       !bpf_map_get_next_key(map, at, &keys[n])) {
		struct weft_orig_key *key = &keys[n];

		if (!bpf_map_lookup_elem(map, key, &val) && val.closed_ns &&
		    now - val.closed_ns >= max_age_ns)
			n++;
		at = key;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (weft_kernel_orig_take(k, &keys[i], &val))
			continue;
		found++;
		if (val.slot)
			weft_kernel_slot_release(k, val.slot, val.gen);
	}
	*ret_full = n == sizeof(keys) / sizeof(keys[0]);
	return found;
}

unsigned int weft_kernel_sweep(struct weft_kernel *k, uint64_t max_age_ns)
{
	unsigned int found = 0, some;
	bool full = true;
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	/* Each round takes out what it found: it ends with the entries, or when others take them. */
	do {
		some = sweep_some(k, now, max_age_ns, &full);
		found += some;
	} while (full && some);
	return found;
}

int weft_kernel_on_news(void *ctx, void *data, size_t len)
{
	const struct weft_kernel *k = ctx;
	const struct weft_outlier_news *n = data;

	if (len >= sizeof(*n) && k->told)
		k->told(k->told_ctx, n->pod, n->cluster, n->endpoint);
	return 0;
}

int weft_kernel_news_fd(const struct weft_kernel *k)
{
	return ring_buffer__epoll_fd(k->news);
}

void weft_kernel_news(struct weft_kernel *k,
		      void (*told)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint),
		      void *ctx)
{
	k->told = told;
	k->told_ctx = ctx;
	ring_buffer__consume(k->news);
}
