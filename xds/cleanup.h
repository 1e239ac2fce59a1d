/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Locals of xds/ that clean up after themselves; ownership leaves by WEFT_XDS_TAKE. */

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

static inline void weft_xds_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void weft_xds_cleanup_json(json_t **j)
{
	json_decref(*j);
}

static inline void weft_xds_cleanup_msg(ProtobufCMessage **msg)
{
	if (*msg)
		protobuf_c_message_free_unpacked(*msg, NULL);
}

#define _xds_free_ __attribute__((cleanup(weft_xds_cleanup_free)))
#define _xds_json_ __attribute__((cleanup(weft_xds_cleanup_json)))
#define _xds_msg_ __attribute__((cleanup(weft_xds_cleanup_msg)))

#define WEFT_XDS_TAKE(p)                                                                           \
	__extension__({                                                                            \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
