/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Metadata of routes and virtual hosts, and matchers of it. */

#include "agent/compile/build.h"
#include "bpf/abi/metadata.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "envoy/type/matcher/v3/metadata.pb-c.h"
#include "envoy/type/metadata/v3/metadata.pb-c.h"

/* weft_img_metadata of its filter_metadata, 0: there is none. typed_filter_metadata is no matcher's
 * to see (Envoy). */
uint32_t weft_build_metadata(struct weft_build *b, const Envoy__Config__Core__V3__Metadata *m,
			     const char *field);
/* weft_img_metadata_match; what Envoy refuses of it is refused. */
uint32_t weft_build_metadata_match(struct weft_build *b,
				   const Envoy__Type__Matcher__V3__MetadataMatcher *m,
				   const char *field);
/* Where a key leads. */
struct weft_img_metadata_path
weft_build_metadata_key(struct weft_build *b, const Envoy__Type__Metadata__V3__MetadataKey *k,
			const char *field);
