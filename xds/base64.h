/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Standard alphabet with padding. Caller frees; NULL: out of memory. */
char *weft_base64_encode(const uint8_t *data, size_t len);
/*
 * Either alphabet of RFC 4648, with or without padding. -EINVAL for anything else. *ret is freed by the
 * caller, NULL when there are no bytes.
 */
int weft_base64_decode(const char *text, size_t len, uint8_t **ret, size_t *ret_len);
