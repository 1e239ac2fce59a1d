/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct weft_img_split;

/*
 * The order in which hosts of unequal weights take turns, one period long: exactly as many turns
 * for each as its weight, by the greatest common divisor.
 */
struct weft_schedule {
	uint32_t period; /* 0: weights are equal, plain rotation */
	uint16_t *order; /* period <= WEFT_SCHEDULE_MAX: indexes of hosts */
	struct weft_img_split *split; /* beyond: a tree, the first is the root */
	uint32_t n_split;
	uint32_t *turns; /* of each host in a period; NULL: one each */
};

/*
 * Weights are of n hosts (below 65536), each > 0. The order of a short period is that of Envoy's
 * EDF scheduler: the k-th turn is due at k / weight, ties go to who waits longer. A tree keeps
 * every prefix, however long, within 1.7 turns of what the weights say (struct weft_img_split).
 * Weights that sum to more than 2^32-1 are halved until they do not. 0 or -ENOMEM; *ret is for
 * weft_schedule_free().
 */
int weft_schedule_make(const uint32_t *weight, size_t n, struct weft_schedule *ret);
void weft_schedule_free(struct weft_schedule *s);

/* Greatest common divisor; of 0 and a: a. */
uint64_t weft_gcd(uint64_t a, uint64_t b);
