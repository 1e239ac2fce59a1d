/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Values of metadata, and pairs of a key and a value as the image has them. */

#include "agent/compile/build.h"
#include "google/protobuf/struct.pb-c.h"

/* NULL: it has no such field, or is NULL. */
const Google__Protobuf__Value *weft_struct_get(const Google__Protobuf__Struct *s, const char *key);
/* Equal; or, of a list and list_as_any, one of its values is. */
bool weft_value_fits(const Google__Protobuf__Value *have, const Google__Protobuf__Value *want,
		     bool list_as_any);
/* Equal pairs give the same one. A value that is no JSON (not a number) is refused. */
struct weft_img_criterion weft_build_pair(struct weft_build *b, const char *key,
					  const Google__Protobuf__Value *v, const char *field);
