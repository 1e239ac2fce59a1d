/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The rules that refuse a resource by itself, whatever else is in force: those of the API and of Envoy. */

#include <protobuf-c/protobuf-c.h>

#include "xds/diag.h"

/*
 * Checks msg and everything in it, the messages inside typed_config included. All causes found go
 * to diag. In an inbound listener (Envoy's traffic_direction) types and fields that are not known
 * are left as they are: nothing here runs it. *ret_unknown: unknown fields that do not matter.
 * -EINVAL, -ENOMEM.
 */
int weft_validate(const ProtobufCMessage *msg, const char *resource, struct weft_diag *diag,
		  unsigned int *ret_unknown);
