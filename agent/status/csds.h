/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Client status discovery: what `dump` shows of resources, for tools that speak xDS. Main thread.
 */

#include "xds/diag.h"

struct weft_daemon;
struct weft_csds;

/* address: ADDRESS:PORT of the loopback or the path of a unix socket, as that of --admin-http, with
 * its errors. */
int weft_csds_new(struct weft_daemon *d, const char *address, struct weft_diag *diag,
		  struct weft_csds **ret);
/* NULL is fine. */
void weft_csds_free(struct weft_csds *c);
