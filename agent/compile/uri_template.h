/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Path templates (envoy.extensions.path.match.uri_template). */

#include "agent/compile/build.h"

/*
 * The regular expression that a path without query has to fit wholly, as Envoy makes it of the
 * template. 0, the caller frees; -EINVAL: no template, *ret_why says why (a constant); -ENOMEM.
 */
int weft_uri_template_regex(const char *template, char **ret, const char **ret_why);

/* The same as a condition of the path. false: refused, or without memory. */
bool weft_build_template_cond(struct weft_build *b, const char *template, const char *field,
			      struct weft_img_cond *c);
