// SPDX-License-Identifier: Apache-2.0
#include "xds/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *weft_base64_encode(const uint8_t *data, size_t len)
{
	char *text = malloc((len + 2) / 3 * 4 + 1), *out = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)data[i] << 16;

		if (n > 1)
			v |= (uint32_t)data[i + 1] << 8;
		if (n > 2)
			v |= data[i + 2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
		*out++ = n > 2 ? alphabet[v & 63] : '=';
	}
	*out = '\0';
	return text;
}

static int digit(char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	if (at)
		return (int)(at - alphabet);
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int weft_base64_decode(const char *text, size_t len, uint8_t **ret, size_t *ret_len)
{
	size_t whole = len, n = 0;
	unsigned int bits = 0;
	uint32_t acc = 0;
	uint8_t *out;

	while (whole && len - whole < 2 && text[whole - 1] == '=')
		whole--;
	if (whole % 4 == 1 || (whole != len && len % 4))
		return -EINVAL;
	out = malloc(whole / 4 * 3 + 3);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < whole; i++) {
		int v = digit(text[i]);

		if (v < 0) {
			free(out);
			return -EINVAL;
		}
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	if (!n) {
		free(out);
		out = NULL;
	}
	*ret = out;
	*ret_len = n;
	return 0;
}
