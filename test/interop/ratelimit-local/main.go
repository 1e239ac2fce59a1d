// SPDX-License-Identifier: Apache-2.0

// The reference rate limit service as it is: configured by its environment (RUNTIME_ROOT, REDIS_URL, GRPC_PORT and so on).
package main

import (
	"github.com/envoyproxy/ratelimit/src/service_cmd/runner"
	"github.com/envoyproxy/ratelimit/src/settings"
)

func main() {
	r := runner.NewRunner(settings.NewSettings())
	r.Run()
}
