// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Request headers that Envoy's connection manager takes from every client (1.40, cleanInternalHeaders), or at the edge. */
#include <string.h>

#include "bpf/engine/engine.h"

const char *const weft_removed[WEFT_N_REMOVED] = {
	"x-envoy-upstream-rq-timeout-ms",
	"x-envoy-upstream-rq-per-try-timeout-ms",
	"x-envoy-upstream-rq-timeout-alt-response",
	"x-envoy-upstream-alt-stat-name",
	"x-envoy-upstream-stream-duration-ms",
	"x-envoy-expected-rq-timeout-ms",
	"x-envoy-max-retries",
	"x-envoy-retry-on",
	"x-envoy-retry-grpc-on",
	"x-envoy-retriable-status-codes",
	"x-envoy-retriable-header-names",
	"x-envoy-internal",
	"x-envoy-force-trace",
	"x-envoy-ip-tags",
	"x-envoy-original-url",
	"x-envoy-hedge-on-per-try-timeout",
};

const char *const weft_removed_edge[WEFT_N_REMOVED_EDGE] = {
	"x-envoy-decorator-operation", "x-envoy-downstream-service-cluster",
	"x-envoy-downstream-service-node", "x-envoy-original-path", "x-envoy-original-host",
};

bool weft_header_removed(const char *lower, bool edge)
{
	for (size_t i = 0; i < WEFT_N_REMOVED; i++)
		if (!strcmp(lower, weft_removed[i]) && strcmp(lower, "x-envoy-original-url"))
			return true;
	for (size_t i = 0; edge && i < WEFT_N_REMOVED_EDGE; i++)
		if (!strcmp(lower, weft_removed_edge[i]))
			return true;
	return false;
}
