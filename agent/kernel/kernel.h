/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The BPF side as the agent sees it: load, attach, maps, features. Main thread unless said. */

#include <jansson.h>
#include <stdint.h>

#include "bpf/abi/image.h"
#include "bpf/abi/state.h"
#include "xds/diag.h"

struct weft_kernel;

struct weft_kernel_config {
	const char *cgroup; /* cgroup2 folder whose sockets are governed */
	uint32_t img_size, state_size; /* 0: defaults of abi/limits.h */
	uint32_t n_slot, n_cell; /* 0: defaults */
};

/*
 * Loads (not yet attached) every program that this kernel can run; features that are missing are off and listed.
 * -EPERM, -ENOTSUP, -ENOENT (no cgroup2), -EBUSY (another agent holds this node) with a cause in diag.
 */
int weft_kernel_open(const struct weft_kernel_config *cfg, struct weft_diag *diag,
		     struct weft_kernel **ret);
/* Attaches to the cgroup; links are not pinned, so they end with the process. */
int weft_kernel_attach(struct weft_kernel *k, struct weft_diag *diag);
/* Detaches and frees. NULL is fine. */
void weft_kernel_close(struct weft_kernel *k);

void *weft_kernel_image(struct weft_kernel *k, uint32_t *ret_size);
void *weft_kernel_state(struct weft_kernel *k, uint32_t *ret_size);
/* A grace period over all program runs (map-in-map update). Signature of weft_store_mem.synchronize. */
int weft_kernel_synchronize(void *k);

/* Enrols or updates the network namespace with this cookie. */
int weft_kernel_pod_set(struct weft_kernel *k, uint64_t netns_cookie, const struct weft_pod *pod);
int weft_kernel_pod_del(struct weft_kernel *k, uint64_t netns_cookie);

/* Any thread: takes (looks up and deletes) what connect left for an accepted connection. -ENOENT: not captured. */
int weft_kernel_orig_take(void *k, const struct weft_orig_key *key, struct weft_orig *ret);
/* Any thread: exempts a socket of the agent's own, before connect(). */
int weft_kernel_exempt(void *k, int fd);
/* Any thread: drops the agent's reference to a slot (frees it when the app's is gone too). */
void weft_kernel_slot_release(void *k, uint32_t slot, uint32_t gen);

/* Features: [{feature, available, reason, without}], by trial load; needs no open kernel. */
json_t *weft_kernel_probe(const char *cgroup);
/* Programs: [{name, hook, verified_instructions, attached}]. */
json_t *weft_kernel_programs(const struct weft_kernel *k);
/* Counters of the state head with their names: {outcomes: {...}, handed: {...}, classes: {...}}. */
json_t *weft_kernel_counters(const struct weft_kernel *k);
/* True when this kernel's FIONREAD needs the passing verdict program (kernel-facts 37). */
bool weft_kernel_has(const struct weft_kernel *k, const char *feature);
