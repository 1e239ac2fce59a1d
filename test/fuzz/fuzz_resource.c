// SPDX-License-Identifier: Apache-2.0
/* First byte: the type of resource; the rest: its bytes, from a control plane that is not to be trusted. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "xds/json.h"
#include "xds/resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *res = NULL;
	json_t *json = NULL;

	if (!len)
		return 0;
	if (weft_resource_from_wire(data[0] % WEFT_XDS__MAX, data + 1, len - 1, "1", 0, &diag,
				    &res)) {
		if (!diag.n)
			abort(); /* refused without a cause */
	} else if (weft_json_from_msg(res->msg, &json)) {
		json = NULL; /* nested deeper than JSON is written */
	}
	json_decref(json);
	weft_resource_unref(res);
	weft_diag_clear(&diag);
	return 0;
}
