/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* RBAC, HTTP and network filter: policies as a flat list of tests (weft_img_rules). */

#include "agent/compile/build.h"
#include "envoy/extensions/filters/http/rbac/v3/rbac.pb-c.h"
#include "envoy/extensions/filters/network/rbac/v3/rbac.pb-c.h"

/* A range of addresses into ret->v4, addr and mask. false: refused. */
bool weft_build_range(struct weft_build *b, const char *address, uint32_t prefix_len,
		      const char *field, struct weft_img_test *ret);
/* weft_img_rbac. Header names go to b->names. */
uint32_t weft_build_rbac(struct weft_build *b,
			 const Envoy__Extensions__Filters__Http__Rbac__V3__RBAC *r,
			 const char *field);
/* weft_img_rbac; adds WEFT_CHAIN_RBAC_AGENT to *flags where connect() cannot judge it. */
uint32_t weft_build_conn_rbac(struct weft_build *b,
			      const Envoy__Extensions__Filters__Network__Rbac__V3__RBAC *r,
			      const char *field, uint32_t *flags);
