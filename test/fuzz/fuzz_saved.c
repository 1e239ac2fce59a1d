// SPDX-License-Identifier: Apache-2.0
/*
 * A saved configuration, as it is and with a head and checksum that fit what follows: else nothing
 * behind them would ever be reached. What is accepted must be written as it would be read again.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "xds/saved.h"

#define HEAD 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_again(const struct weft_snapshot *s, int64_t saved_ms)
{
	const struct weft_saved_head head = {.identity = "i", .saved_ms = saved_ms};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *again = NULL;
	uint8_t *bytes = NULL;
	int64_t ms;
	size_t n;

	if (weft_saved_encode(&head, s, &diag, &bytes, &n))
		abort();
	if (weft_saved_decode(bytes, n, "i", &diag, &ms, &again) || ms != saved_ms)
		abort();
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		enum weft_xds_type type = (enum weft_xds_type)t;

		if (weft_snapshot_count(s, type) != weft_snapshot_count(again, type))
			abort();
		for (size_t i = 0; i < weft_snapshot_count(s, type); i++) {
			if (weft_snapshot_at(s, type, i)->hash !=
			    weft_snapshot_at(again, type, i)->hash)
				abort();
		}
	}
	weft_snapshot_free(again);
	free(bytes);
}

static void decode(const uint8_t *data, size_t len)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	int64_t ms;

	if (weft_saved_decode(data, len, "i", &diag, &ms, &s)) {
		if (!diag.n)
			abort(); /* refused without a cause */
	} else {
		check_again(s, ms);
	}
	weft_snapshot_free(s);
	weft_diag_clear(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t records, sum;
	uint8_t *fit;

	decode(data, len);
	fit = malloc(HEAD + 1 + len);
	if (!fit)
		return 0;
	memset(fit, 0, HEAD);
	memcpy(fit, "weft-xds\1\0\0\0\1\0\0\0", 16);
	records = len; /* the target runs on little endian machines */
	memcpy(fit + 16, &records, sizeof(records));
	fit[HEAD] = 'i';
	if (len)
		memcpy(fit + HEAD + 1, data, len);
	sum = XXH64(fit + HEAD, len + 1, XXH64(fit, 32, 0));
	memcpy(fit + 32, &sum, sizeof(sum));
	decode(fit, HEAD + 1 + len);
	free(fit);
	return 0;
}
