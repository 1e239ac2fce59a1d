/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* Headers that are one line each, several joined by commas; all others stay line by line (Envoy 1.40, seen with requests). */

#include <string.h>

#include "bpf/engine/engine.h"

static const char *const both[] = {
	"cache-control",
	"content-encoding",
	"content-type",
	"proxy-status",
	"via",
	"x-envoy-attempt-count",
	"x-envoy-decorator-operation",
	"x-request-id",
};
static const char *const requests[] = {
	"accept",
	"accept-encoding",
	"access-control-request-headers",
	"access-control-request-method",
	"authorization",
	"expect",
	"grpc-accept-encoding",
	"grpc-timeout",
	"if-match",
	"if-modified-since",
	"if-none-match",
	"origin",
	"pragma",
	"referer",
	"te",
	"user-agent",
	"x-client-trace-id",
	"x-envoy-downstream-service-cluster",
	"x-envoy-downstream-service-node",
	"x-envoy-expected-rq-timeout-ms",
	"x-envoy-external-address",
	"x-envoy-original-host",
	"x-envoy-original-path",
	"x-forwarded-for",
	"x-forwarded-host",
	"x-forwarded-port",
	"x-forwarded-proto",
};
/*
 * Of internal requests, the last where it is forwarded; of others they are gone before anything
 * looks at them. A program need not know: where a rule looks at one, the agent judges.
 */
static const char *const internal[] = {
	"x-envoy-force-trace",
	"x-envoy-hedge-on-per-try-timeout",
	"x-envoy-ip-tags",
	"x-envoy-max-retries",
	"x-envoy-original-url",
	"x-envoy-retriable-header-names",
	"x-envoy-retriable-status-codes",
	"x-envoy-retry-grpc-on",
	"x-envoy-retry-on",
	"x-envoy-upstream-alt-stat-name",
	"x-envoy-upstream-rq-per-try-timeout-ms",
	"x-envoy-upstream-rq-timeout-alt-response",
	"x-envoy-upstream-rq-timeout-ms",
	"x-envoy-upstream-stream-duration-ms",
	"x-forwarded-client-cert",
};
static const char *const responses[] = {
	"access-control-allow-credentials",
	"access-control-allow-headers",
	"access-control-allow-methods",
	"access-control-allow-origin",
	"access-control-allow-private-network",
	"access-control-expose-headers",
	"access-control-max-age",
	"age",
	"etag",
	"expires",
	"grpc-message",
	"grpc-status",
	"last-modified",
	"location",
	"vary",
	"x-envoy-degraded",
	"x-envoy-immediate-health-check-fail",
	"x-envoy-ratelimited",
	"x-envoy-upstream-canary",
	"x-envoy-upstream-healthchecked-cluster",
};

static bool in(const char *const *list, size_t n, const char *name, __u32 len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(list[i]) == len && !memcmp(list[i], name, len))
			return true;
	return false;
}
#define IN(list, name, len) in(list, sizeof(list) / sizeof(*(list)), name, len)

bool weft_header_joins(const char *lower, __u32 len, bool response)
{
	if (IN(both, lower, len))
		return true;
	return response ? IN(responses, lower, len)
			: IN(requests, lower, len) || IN(internal, lower, len);
}
