/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* local_reply_config of connection managers, and the filters of access logs. */

#include "agent/compile/build.h"
#include "envoy/config/accesslog/v3/accesslog.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

/* Tests of one mapper's filter, and those inside one another: more is refused. */
#define WEFT_MAPPER_TESTS_MAX 256u
#define WEFT_MAPPER_DEPTH_MAX 16u

/* struct weft_img_mapper_test[*ret_n] of one filter. */
uint32_t weft_build_log_filter(struct weft_build *b,
			       const Envoy__Config__Accesslog__V3__AccessLogFilter *f,
			       const char *field, uint32_t *ret_n);

/* weft_img_mapping, 0: replies stay as they are. */
uint32_t weft_build_mapping(
	struct weft_build *b,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__LocalReplyConfig *c,
	const char *field);
