/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Access logs (bpf/abi/log.h). */

#include "agent/compile/build.h"
#include "envoy/config/accesslog/v3/accesslog.pb-c.h"

/* Logs of one place: more are refused. */
#define WEFT_LOGS_MAX 16u

/*
 * weft_img_logs of the `access_log` of the message at `field`, 0: none. Loggers that are not
 * written (those that are no file and no stream), and logs whose filter only an extension can
 * decide, are noted: they observe.
 */
uint32_t weft_build_logs(struct weft_build *b, size_t n,
			 Envoy__Config__Accesslog__V3__AccessLog *const *list, uint32_t flags,
			 uint32_t interval_ms, const char *field);
