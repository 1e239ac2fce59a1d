/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The BPF side as the agent sees it: load, attach, maps, features. Main thread unless said. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/image.h"
#include "bpf/abi/state.h"
#include "xds/diag.h"

struct weft_kernel;

struct weft_kernel_config {
	const char *cgroup; /* cgroup2 folder whose sockets are governed; NULL: the root of the cgroup2 mount */
	uint32_t img_size, state_size; /* powers of two, without slack; 0: defaults of abi/limits.h */
	uint32_t n_slot, n_cell; /* 0: defaults */
	uint32_t pod_slots; /* that one pod may hold; 0: default, at most n_slot */
};

/*
 * Loads (not yet attached) every program that this kernel can run, and lays out an empty state; features that are
 * missing are off and listed. One agent per cgroup: the folder is locked until close (or the end of the process).
 * -EPERM, -ENOTSUP, -ENOENT (no cgroup2), -EBUSY (another agent governs this cgroup), -EINVAL (sizes), -ENOSPC (state
 * too small), each with a cause in diag. libbpf's messages go where libbpf_set_print() says.
 */
int weft_kernel_open(const struct weft_kernel_config *cfg, struct weft_diag *diag,
		     struct weft_kernel **ret);
/* The same without a cgroup and its lock, for looking at the programs; never attached. */
int weft_kernel_load(const struct weft_kernel_config *cfg, struct weft_diag *diag,
		     struct weft_kernel **ret);
/*
 * News of endpoints' cells that programs have (weft_outlier_tell()). A descriptor that is readable
 * when there is some, and the function that hands it on, by the thread that calls it.
 */
int weft_kernel_news_fd(const struct weft_kernel *k);
void weft_kernel_news(struct weft_kernel *k,
		      void (*told)(void *ctx, uint32_t pod, uint32_t cluster, uint32_t endpoint),
		      void *ctx);

/* Attaches to the cgroup; links are not pinned, so they end with the process. */
int weft_kernel_attach(struct weft_kernel *k, struct weft_diag *diag);
/* Detaches and frees. NULL is fine. */
void weft_kernel_close(struct weft_kernel *k);

/* Writable, weft_store_mem's img and state; *ret_size without the slack. Valid until close. */
void *weft_kernel_image(struct weft_kernel *k, uint32_t *ret_size);
void *weft_kernel_state(struct weft_kernel *k, uint32_t *ret_size);
/* A grace period over all program runs (map-in-map update). Signature of weft_store_mem.synchronize. Any thread. */
int weft_kernel_synchronize(void *k);

/* Enrols or updates the network namespace with this cookie. */
int weft_kernel_pod_set(struct weft_kernel *k, uint64_t netns_cookie, const struct weft_pod *pod);
int weft_kernel_pod_del(struct weft_kernel *k, uint64_t netns_cookie);

/* What a pod holds, and may hold, of slots and of entries of original destinations: {slots, slots_max, entries,
 * entries_max}. Any thread.
 */
json_t *weft_kernel_pod_use(const struct weft_kernel *k, uint32_t pod);
/* Any thread: takes (looks up and deletes) what connect left for an accepted connection. -ENOENT: not captured. */
int weft_kernel_orig_take(void *k, const struct weft_orig_key *key, struct weft_orig *ret);
/* Any thread: exempts a socket of the agent's own, before connect(). */
int weft_kernel_exempt(void *k, int fd);
/* Any thread: drops the agent's reference to a slot (frees it when the app's is gone too). */
void weft_kernel_slot_release(void *k, uint32_t slot, uint32_t gen);
/*
 * Forgets connections whose app closed more than max_age_ns ago and that were never accepted (a full backlog, a
 * listener that is gone), and frees their slots. Their number. To be called every few seconds with 30 s or more.
 */
unsigned int weft_kernel_sweep(struct weft_kernel *k, uint64_t max_age_ns);

/* Features: [{feature, available, reason, without}], by trial load; needs no open kernel. NULL: out of memory. */
json_t *weft_kernel_probe(const char *cgroup);
/* Programs: [{name, hook, verified_instructions, attached}]. */
json_t *weft_kernel_programs(const struct weft_kernel *k);
/* Counters of the state head with their names: {outcomes: {kernel, agent}, handed: {...}, classes: {...}, slots_used}. */
json_t *weft_kernel_counters(const struct weft_kernel *k);
/* Whether an open kernel uses a feature, by its name in weft_kernel_probe(). "fionread": TCP reads
 * are counted right without the passing verdict program (bpf/skb.bpf.c).
 */
bool weft_kernel_has(const struct weft_kernel *k, const char *feature);
