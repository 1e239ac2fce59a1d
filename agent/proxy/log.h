/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Lines of access logs (bpf/abi/log.h), by the worker; a thread of their own writes them. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/proxy/outcome.h"

/* The connection manager that d is one of has a log. Under image_enter(). */
bool log_wanted(struct down *d);
/* A line for each log of the exchange's that wants one of this type (enum weft_log_type). */
void log_exchange(struct exchange *x, uint32_t type);
/* The same at the end of a request whose head, as far as it is known, is no exchange. Under
 * image_enter(). */
void log_early(struct down *d, const struct buf *head, const struct outcome *o);
