/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * One period of Envoy's earliest-deadline-first order of n weights (all > 0): hosts' indexes,
 * WEFT_SCHEDULE_MAX at most; weights whose period is longer are scaled down to it. Returns the
 * number of entries, 0 when all weights are equal (plain rotation), -E2BIG when they differ and
 * there are more hosts than entries, -ENOMEM. *ret is malloc'ed.
 */
int weft_schedule_make(const uint32_t *weight, size_t n, uint16_t **ret);
