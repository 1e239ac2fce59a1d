// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "xds/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_lines *lines;
	json_t *docs;

	if (!weft_yaml_parse((const char *)data, len, "fuzz", &diag, &docs, &lines)) {
		json_decref(docs);
		weft_lines_free(lines);
	} else if (!diag.n) {
		abort(); /* refused without a cause */
	}
	weft_diag_clear(&diag);
	return 0;
}
