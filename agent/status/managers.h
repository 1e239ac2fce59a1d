/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The HTTP connection managers of a listener, as those who show routes look for them. Any thread.
 */

#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

typedef void (*weft_manager_fn)(
	void *ctx,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
		*manager);

/* Each one of each filter chain, the default one last; what cannot be unpacked is passed over. */
void weft_managers_each(const Envoy__Config__Listener__V3__Listener *l, weft_manager_fn fn,
			void *ctx);
