// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/refused.h"

static const struct {
	int why;
	struct refused answer; /* details NULL: the parser's */
} table[] = {
	{WEFT_PARSE_OK,
	 {307, "", "path_normalization_failed", WEFT_OUTCOME_REDIRECT, false, false}},
	{WEFT_PARSE_TOO_LONG,
	 {431, "Request Header Fields Too Large", "http1.headers_too_large",
	  WEFT_OUTCOME_HEADERS_TOO_LARGE, true, true}},
	{WEFT_PARSE_TOO_MANY,
	 {431, "Request Header Fields Too Large", "http1.too_many_headers",
	  WEFT_OUTCOME_HEADERS_TOO_LARGE, true, true}},
	{WEFT_PARSE_BAD_CODING,
	 {501, "Not Implemented", NULL, WEFT_OUTCOME_NOT_IMPLEMENTED, true, true}},
	{WEFT_PARSE_VERSION,
	 {426, "Upgrade Required", "low_version", WEFT_OUTCOME_UPGRADE_REQUIRED, true, true}},
	{WEFT_PARSE_BAD_HOST,
	 {400, "Bad Request", "http.invalid_authority", WEFT_OUTCOME_BAD_REQUEST, true, true}},
	{WEFT_PARSE_NO_HOST,
	 {400, "", "missing_host_header", WEFT_OUTCOME_MISSING_HOST, true, false}},
	{WEFT_PARSE_NO_PATH, {404, "", NULL, WEFT_OUTCOME_MISSING_PATH, false, false}},
	{WEFT_PARSE_BAD_UDP,
	 {404, "The path is incorrect for CONNECT-UDP", "invalid_path", WEFT_OUTCOME_MISSING_PATH,
	  false, false}},
	{WEFT_PARSE_BAD_PATH,
	 {400, "", "path_normalization_failed", WEFT_OUTCOME_BAD_REQUEST, true, false}},
	{WEFT_PARSE_NO_TYPE,
	 {400, "", "query_missing_content_type", WEFT_OUTCOME_BAD_REQUEST, true, false}},
};

/* Where a request that is answered has more behind its head. */
static bool goes_on(const struct weft_req *req, int why)
{
	uint32_t flags = WEFT_REQ_CHUNKED | WEFT_REQ_CLOSE;

	if (why == WEFT_PARSE_BAD_UDP)
		flags |= WEFT_REQ_UPGRADE | WEFT_REQ_CONNECT;
	return req->flags & flags || req->content_length;
}

struct refused refused_head(const struct weft_req *req, int why)
{
	struct refused a = {400, "Bad Request", NULL, WEFT_OUTCOME_BAD_REQUEST, true, true};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].why == why)
			a = table[i].answer;
	if (!a.details)
		a.details = req->details ? req->details : "http1.codec_error";
	a.close = a.close || goes_on(req, why);
	return a;
}
