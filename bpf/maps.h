/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* The maps besides image and state, and what every attach point does with them. Programs only. */

#include "bpf/engine/cell.h"
#include "bpf/engine/slot.h"

#define WEFT_AF_INET 2
#define WEFT_AF_INET6 10
#define WEFT_V4_MAPPED bpf_htonl(0xffff) /* third word of ::ffff:0:0 */

/* netns cookie -> enrolled pod */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEFT_PODS_MAX);
	__type(key, __u64);
	__type(value, struct weft_pod);
} pod SEC(".maps");

/* Captured connections from ESTABLISHED until the agent has accepted them; the loader sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_SLOTS_DEFAULT);
	__type(key, struct weft_orig_key);
	__type(value, struct weft_orig);
} orig SEC(".maps");

/* Apps' captured HTTP sockets, by socket cookie; the loader sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, WEFT_SLOTS_DEFAULT);
	__type(key, __u64);
	__type(value, __u64);
} sock SEC(".maps");

/* What an app's socket in the sock map receives, by the same cookie; where there is a verdict
 * program (skb.bpf.c). */
struct weft_stream {
	__u32 next; /* sequence number of the first byte that no segment has brought */
	__u32 broken;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_SLOTS_DEFAULT);
	__type(key, __u64);
	__type(value, struct weft_stream);
} stream SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_sock);
} sk SEC(".maps");

/* Never read: replacing its element from user space waits for every program run that has begun. */
struct weft_grace_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct weft_grace_inner);
} grace SEC(".maps");

/* struct weft_outlier_news */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WEFT_OUTLIER_RING);
} news SEC(".maps");

WEFT_INLINE struct weft_state_head *weft_head_of(__u8 *state_base)
{
	return (struct weft_state_head *)state_base;
}

/* An address of AF_INET or AF_INET6 as everything here keeps it. */
WEFT_INLINE void weft_sockaddr_set4(struct weft_sockaddr *a, __u32 ip, __u16 port)
{
	a->addr.w[0] = 0;
	a->addr.w[1] = 0;
	a->addr.w[2] = WEFT_V4_MAPPED;
	a->addr.w[3] = ip;
	a->port = port;
	a->family = WEFT_AF_INET;
}

/* After addr was filled from an AF_INET6 socket: a v4-mapped one is IPv4 (Java's are). */
WEFT_INLINE void weft_sockaddr_canonical(struct weft_sockaddr *a)
{
	bool mapped = !a->addr.w[0] && !a->addr.w[1] && a->addr.w[2] == WEFT_V4_MAPPED;

	a->family = mapped ? WEFT_AF_INET : WEFT_AF_INET6;
}

WEFT_INLINE void weft_bump(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}
WEFT_INLINE void weft_count_class(__u8 *state_base, __u32 class_id)
{
	weft_bump(&weft_head_of(state_base)->classes[class_id & 7]);
}
WEFT_INLINE void weft_count_handed(__u8 *state_base, __u32 why)
{
	weft_bump(&weft_head_of(state_base)->handed[why & 63]);
}
/* The outcome of a request that a program answers, where the agent counts those of its own. */
WEFT_INLINE void weft_count_reply(__u8 *state_base, __u32 stat, __u32 class)
{
	struct weft_http_stat *s = &weft_head_of(state_base)->http[stat & (WEFT_HTTP_STATS_MAX - 1)];

	weft_bump(&s->rq[class & 7]);
}

WEFT_INLINE void weft_count_outcome(__u8 *state_base, __u32 outcome)
{
	weft_bump(&weft_head_of(state_base)->outcome[0][outcome & 31]);
}

/* Gives back the places of an l4 connection; 0: none. */
WEFT_INLINE void weft_places_put(__u32 cell, __u32 cell_endpoint)
{
	if (cell)
		weft_place_put_at(cell + offsetof(struct weft_cell_cluster, cx_active));
	if (cell_endpoint)
		weft_place_put_at(cell_endpoint + offsetof(struct weft_cell_endpoint, cx_active));
}

/* false: there is no room. */
WEFT_INLINE bool weft_outlier_tell(__u32 pod, const struct weft_cell_endpoint *e)
{
	struct weft_outlier_news n = {.pod = pod, .cluster = e->owner, .endpoint = e->self};

	return !bpf_ringbuf_output(&news, &n, sizeof(n), 0);
}

/* The same for those a socket holds; each is given back once, by whoever exchanges the offset away. */
WEFT_INLINE void weft_sock_put_places(struct weft_sock *w)
{
	__u32 cell = __sync_lock_test_and_set(&w->cell, 0);
	__u32 cell_endpoint = __sync_lock_test_and_set(&w->cell_endpoint, 0);

	weft_places_put(cell, cell_endpoint);
}

WEFT_INLINE struct weft_slot *weft_slot_in(__u8 *state_base, __u32 slot)
{
	return WEFT_STATE(struct weft_slot, weft_slot_off(state_base, slot));
}
