/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CorsPolicy of a level, with what the levels around it say where it says nothing (Envoy 1.40). */

#include "agent/compile/build.h"
#include "envoy/config/route/v3/route_components.pb-c.h"

/* Forgets the levels that are not around this one. */
void weft_cors_enter(struct weft_build *b, enum weft_level level);
void weft_cors_leave(struct weft_build *b);
/* weft_img_cors of envoy.extensions.filters.http.cors.v3.CorsPolicy; takes the message. key: of the
 * filter. */
uint32_t weft_build_cors(struct weft_build *b, enum weft_level level, uint32_t key,
			 ProtobufCMessage *msg, const char *field);
/* The same of the deprecated field, which has to last as long as the levels inside it are built. */
uint32_t weft_build_cors_old(struct weft_build *b, enum weft_level level,
			     const Envoy__Config__Route__V3__CorsPolicy *msg, const char *field);
