/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Resources as they may be shown: without secrets. */

#include <protobuf-c/protobuf-c.h>

/*
 * A copy in which "[redacted]" stands for private keys, passwords, tokens and the like, through
 * everything that stands in an Any, a TypedStruct too. The content of an Any whose type is not
 * known is left out, for nobody can tell what it holds; that of Istio's own filters stays. -ENOMEM.
 * *ret is freed with protobuf_c_message_free_unpacked(*ret, NULL). Thread safe.
 */
int weft_redacted(const ProtobufCMessage *msg, ProtobufCMessage **ret);
