/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Fault injection (envoy.filters.http.fault). */

#include "agent/compile/build.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"

/* weft_img_fault; 0: neither abort nor delay. Header names go to b->names. */
uint32_t weft_build_fault(struct weft_build *b,
			  const Envoy__Extensions__Filters__Http__Fault__V3__HTTPFault *f,
			  const char *field);
