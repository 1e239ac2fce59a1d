/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Heads that are no requests: the one table of what Envoy answers them, and why. */

#include <stdbool.h>
#include <stdint.h>

#include "bpf/engine/engine.h"

struct refused {
	uint32_t status;
	const char *body;
	const char *details; /* response code details */
	enum weft_outcome outcome;
	bool close;    /* what follows cannot be told from it */
	bool protocol; /* it is the codec that refuses: flag DPE */
};

/* why: enum weft_parse; OK: its path has escapes, and the client is sent to the one without. */
struct refused refused_head(const struct weft_req *req, int why);
