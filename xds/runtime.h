/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Runtime values of a bootstrap (layered_runtime, static layers). They never change while the bootstrap is in
 * force, so they are written into the messages that refer to them, once, as their default_value.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "envoy/config/bootstrap/v3/bootstrap.pb-c.h"
#include "xds/diag.h"

struct weft_runtime;

/*
 * -EINVAL: a layer that is not static, or a value that is no number, truth or fraction; cause in diag.
 * *ret is NULL when there is nothing set.
 */
int weft_runtime_new(const Envoy__Config__Bootstrap__V3__LayeredRuntime *layers, const char *file,
		     struct weft_diag *diag, struct weft_runtime **ret);
void weft_runtime_free(struct weft_runtime *rt);

/*
 * Writes the values into msg and all messages in it, those in an Any of a known type included. r may be NULL.
 * -EINVAL when a value does not fit the kind of the field that names it.
 */
int weft_runtime_apply(struct weft_runtime *rt, ProtobufCMessage *msg, const char *resource,
		       struct weft_diag *diag);
/* -EINVAL with a cause per key that nothing referred to: it would have no effect. */
int weft_runtime_check_used(const struct weft_runtime *rt, const char *file,
			    struct weft_diag *diag);
