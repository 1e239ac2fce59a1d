/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a certificate must be: the one of a server (chain, time, purpose, name) and our own. gRPC
 * would check the first too, but says of every failure no more than that there was one.
 */

#include <stddef.h>

#include "xds/diag.h"

struct weft_xds_trust;

/*
 * The certificate authorities in `pem`, which came from `file`. -EINVAL: there is none, or one that
 * cannot be read; -ENOMEM.
 */
int weft_xds_trust_new(const char *file, const char *pem, struct weft_diag *diag,
		       struct weft_xds_trust **ret);
/*
 * From now on nothing that the lists in `pem` (from `file`) revoke is accepted, nor a chain of
 * which a certificate has no list that is in force, as in Envoy. -EINVAL: there is none, or one
 * that cannot be read; -ENOMEM. Once.
 */
int weft_xds_trust_revoke(struct weft_xds_trust *t, const char *file, const char *pem,
			  struct weft_diag *diag);
void weft_xds_trust_free(struct weft_xds_trust *t);

/*
 * A server's chain, its own certificate first, in PEM. It must end at one of the authorities (which
 * need not be roots: Envoy does not ask for it either), be valid now, be for servers, and carry one
 * of the names as subject alternative name: a URI ("spiffe://...") exactly, an address as one, else
 * a DNS name (RFC 6125; a wildcard is a whole label). -EKEYREJECTED with the cause. Any thread.
 */
int weft_xds_trust_check(const struct weft_xds_trust *t, const char *chain,
			 const char *const *names, size_t n_names, struct weft_diag *diag);

/* Our own certificate and key: readable, not expired, of each other. -EINVAL with the cause. */
int weft_xds_identity_check(const char *cert_file, const char *cert, const char *key_file,
			    const char *key, struct weft_diag *diag);
