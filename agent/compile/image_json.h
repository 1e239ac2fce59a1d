/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Between the files that show the image. Each gives a new reference. */

#include <jansson.h>
#include <stdint.h>

#include "bpf/abi/image.h"

json_t *weft_image_text(struct weft_img_str s);
/* offsets of weft_img_reply (0: null), weft_img_rbac */
json_t *weft_image_reply(uint32_t off);
json_t *weft_image_rbac(uint32_t off);
json_t *weft_image_fault(uint32_t off); /* of weft_img_fault */
json_t *weft_image_bucket(const struct weft_img_bucket *b);
/* kind: enum weft_filter_kind; config: offset of what belongs to it, 0: none. */
json_t *weft_image_filter(uint32_t kind, uint32_t config, uint32_t disabled);
/* weft_img_override[n] at off. */
json_t *weft_image_overrides(uint32_t off, uint32_t n);
json_t *weft_image_targets(uint32_t off); /* of weft_img_targets */
json_t *weft_image_cond(const struct weft_img_cond *c);
json_t *weft_image_address(const struct weft_addr *a, uint32_t port);
/* Offset of weft_img_metadata, NULL: 0; of weft_img_metadata_match. */
json_t *weft_image_metadata(uint32_t off);
json_t *weft_image_metadata_match(uint32_t off);
/* request_mirror_policies of a route; NULL: none. */
json_t *weft_image_mirrors(const struct weft_img_forward *f);
/* Clusters of a view, or the endpoints of each. */
json_t *weft_image_clusters(const struct weft_img_view *view, bool endpoints);
/* Its route configurations; its listeners, in the order of their names. */
json_t *weft_image_routes(const struct weft_img_view *view);
json_t *weft_image_listeners(const struct weft_img_view *view);
