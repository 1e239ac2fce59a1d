/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Responses that come no faster than faults let them (pace.c). */

#include "agent/proxy/internal.h"

/* Holds the exchange's response to the decision's rates, from now on. -ENOMEM. */
int pace_begin(struct exchange *x, const struct weft_decision *dec);
/* More of the body for the client, `end`: the last of it. What may go now goes out, the rest when
 * its time comes. -ENOMEM. */
int pace_add(struct pace *p, const uint8_t *data, size_t len, bool end);
/* Bytes that wait. */
size_t pace_waits(const struct exchange *x);
/*
 * The same for a reply made here that stands at `from` in the client's buffer. true: its body
 * waits, and the exchange (or the connection) ends without the caller; false: the caller goes on as
 * without.
 */
bool pace_reply(struct exchange *x, size_t from, bool close);
void pace_end(struct exchange *x);
