// SPDX-License-Identifier: Apache-2.0
/*
 * Heads for the HTTP admin listener. However the bytes are cut, the verdict is the same, and what
 * is taken is within its limits.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct weft_http_request whole = {0}, part;
	char value[32];
	int r, first = -EAGAIN;

	if (len > WEFT_HTTP_REQUEST_MAX)
		len = WEFT_HTTP_REQUEST_MAX;
	r = weft_http_request_parse((const char *)data, len, &whole);
	/* as they come: the first verdict that is one is the verdict */
	for (size_t n = 0; n <= len && first == -EAGAIN; n++)
		first = weft_http_request_parse((const char *)data, n, &part);
	if (first != r || (!r && memcmp(&whole, &part, sizeof(part))))
		abort();
	if (r)
		return 0;
	if (whole.path[0] != '/' ||
	    strlen(whole.path) + strlen(whole.query) >= WEFT_HTTP_TARGET_MAX)
		abort();
	if (weft_http_query_get(whole.query, "format", value, sizeof(value)) &&
	    (strlen(value) >= sizeof(value) || !strstr(whole.query, value)))
		abort();
	return 0;
}
