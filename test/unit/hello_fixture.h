/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ClientHellos made byte by byte. */

#include <string.h>

#include "bpf/engine/engine.h"

struct bytes {
	__u8 b[20000];
	__u32 n;
};

static inline void put(struct bytes *o, const void *p, __u32 n)
{
	memcpy(o->b + o->n, p, n);
	o->n += n;
}

static inline void put_number(struct bytes *o, __u32 width, __u32 v)
{
	while (width--)
		o->b[o->n++] = (__u8)(v >> 8 * width);
}

/* Room for a length of `width` bytes; vector_end() fills it in. */
static inline __u32 vector_begin(struct bytes *o, __u32 width)
{
	put_number(o, width, 0);
	return o->n;
}

static inline void vector_end(struct bytes *o, __u32 width, __u32 begin)
{
	__u32 n = o->n, len = o->n - begin;

	o->n = begin - width;
	put_number(o, width, len);
	o->n = n;
}

static inline void put_extension(struct bytes *o, __u32 type, const void *p, __u32 n)
{
	put_number(o, 2, type);
	put_number(o, 2, n);
	put(o, p, n);
}

static inline void put_server_name(struct bytes *o, const char *name, __u32 len)
{
	put_number(o, 2, 0);
	put_number(o, 2, len + 5);
	put_number(o, 2, len + 3);
	put_number(o, 1, 0);
	put_number(o, 2, len);
	put(o, name, len);
}

/* protocols: each with its length before it. */
static inline void put_alpn(struct bytes *o, const char *protocols)
{
	__u32 n = (__u32)strlen(protocols);

	put_number(o, 2, 16);
	put_number(o, 2, n + 2);
	put_number(o, 2, n);
	put(o, protocols, n);
}

/* A handshake message, without its record. extensions: NULL: the field is not there. */
static inline void put_hello(struct bytes *o, __u32 version, const struct bytes *extensions)
{
	__u32 at;

	put_number(o, 1, 1);
	at = vector_begin(o, 3);
	put_number(o, 2, version);
	for (int i = 0; i < 32; i++)
		put_number(o, 1, 'R');
	put_number(o, 1, 0); /* session id */
	put_number(o, 2, 2); /* cipher suites */
	put_number(o, 2, 0xc02f);
	put_number(o, 1, 1); /* compression methods */
	put_number(o, 1, 0);
	if (extensions) {
		put_number(o, 2, extensions->n);
		put(o, extensions->b, extensions->n);
	}
	vector_end(o, 3, at);
}

static inline void put_record(struct bytes *o, __u32 type, const void *p, __u32 n)
{
	put_number(o, 1, type);
	put_number(o, 2, 0x0301);
	put_number(o, 2, n);
	put(o, p, n);
}

/* A whole ClientHello with a name, NULL none, and protocols, NULL none. */
static inline void hello_make(struct bytes *o, const char *name, const char *protocols)
{
	static struct bytes extensions, message;

	o->n = extensions.n = message.n = 0;
	if (name)
		put_server_name(&extensions, name, (__u32)strlen(name));
	if (protocols)
		put_alpn(&extensions, protocols);
	put_hello(&message, 0x0303, &extensions);
	put_record(o, 22, message.b, message.n);
}
