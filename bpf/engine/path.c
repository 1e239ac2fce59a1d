/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Paths as Envoy normalises them: Chromium's canonical form (dot segments, also escaped; backslash as slash;
 * escapes of unreserved bytes undone, bytes that a path may not hold escaped), then merge_slashes; before both,
 * escaped slashes. The query stays as it is.
 */

#include <errno.h>
#include <string.h>

#include "bpf/engine/engine.h"
#include "bpf/engine/hex.h"

struct path_out {
	__u8 *p;
	__u32 n, cap;
	bool full;
};

static void put(struct path_out *o, __u32 c)
{
	if (o->n == o->cap)
		o->full = true;
	else
		o->p[o->n++] = (__u8)c;
}

static void put_escaped(struct path_out *o, __u32 c)
{
	static const char hex[] = "0123456789ABCDEF";

	put(o, '%');
	put(o, (__u8)hex[c >> 4]);
	put(o, (__u8)hex[c & 15]);
}

/* The byte that "%xx" at p stands for, -1: no escape. */
static int escaped_byte(const __u8 *p, const __u8 *end)
{
	if (end - p < 3 || *p != '%' || weft_hex_digit(p[1]) < 0 || weft_hex_digit(p[2]) < 0)
		return -1;
	return weft_hex_digit(p[1]) << 4 | weft_hex_digit(p[2]);
}

static bool is_unreserved(__u32 c)
{
	return (c | 0x20) - 'a' < 26 || c - '0' < 10 || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Bytes that stand for themselves in a path besides the unreserved ones. */
static bool is_path_byte(__u32 c)
{
	return c && c < 128 && strchr("!$&'()*+,/:;=@[]", (int)c);
}

/* Length of a dot, plain or "%2e", at p; 0: none. */
static __u32 dot_at(const __u8 *p, const __u8 *end)
{
	if (p < end && *p == '.')
		return 1;
	return escaped_byte(p, end) == '.' ? 3 : 0;
}

/* One or two dots that fill a whole segment at p: how many, and bytes to skip with the slash behind. */
static __u32 dot_segment(const __u8 *p, const __u8 *end, __u32 *ret_skip)
{
	__u32 a = dot_at(p, end), b = a ? dot_at(p + a, end) : 0;
	const __u8 *q = p + a + b;

	if (!a || (q < end && *q != '/' && *q != '\\'))
		return 0;
	*ret_skip = a + b + (q < end);
	return b ? 2 : 1;
}

/* Takes the last segment off "…/x/": what stays ends with a slash. */
static void pop_segment(struct path_out *o)
{
	if (o->n > 1)
		o->n--;
	while (o->n > 1 && o->p[o->n - 1] != '/')
		o->n--;
}

static int canonicalize(const __u8 *p, const __u8 *end, struct path_out *o)
{
	while (p < end) {
		__u32 skip;
		int c;

		if (o->n && o->p[o->n - 1] == '/') {
			__u32 dots = dot_segment(p, end, &skip);

			if (dots == 2)
				pop_segment(o);
			if (dots) {
				p += skip;
				continue;
			}
		}
		c = escaped_byte(p, end);
		if (c == 0)
			return -EINVAL; /* an escaped NUL makes the path invalid */
		if (c > 0) {
			if (is_unreserved((__u32)c)) {
				put(o, (__u32)c);
			} else { /* stays as it was written */
				put(o, p[0]);
				put(o, p[1]);
				put(o, p[2]);
			}
			p += 3;
			continue;
		}
		if (*p == '\\')
			put(o, '/');
		else if (*p == '%' || is_unreserved(*p) || is_path_byte(*p))
			put(o, *p);
		else
			put_escaped(o, *p);
		p++;
	}
	return 0;
}

/* Envoy joins the non-empty segments and adds the first and the last slash by themselves: of slashes alone two stay. */
static void merge(struct path_out *o)
{
	__u32 n = 0;

	for (__u32 i = 0; i < o->n; i++)
		if (!n || o->p[i] != '/' || o->p[n - 1] != '/')
			o->p[n++] = o->p[i];
	o->n = n == 1 && o->n > 1 ? 2 : n;
}

int weft_path_normalize(const void *path, __u32 len, void *out, __u32 cap, bool normalize,
			bool merge_slashes)
{
	const __u8 *p = path, *q = memchr(p, '?', len), *end = q ? q : p + len;
	struct path_out o = { .p = out, .cap = cap };
	int r = 0;

	if (!len || *p != '/')
		return -EINVAL;
	if (normalize)
		r = canonicalize(p, end, &o);
	else
		for (; p < end; p++)
			put(&o, *p);
	if (r)
		return r;
	if (merge_slashes)
		merge(&o);
	for (p = end; p < (const __u8 *)path + len; p++)
		put(&o, *p);
	return o.full ? -ENOSPC : (int)o.n;
}

/* "%2F" and "%5C" become what they stand for: Envoy undoes them alone, and not in the query. true: there were some. */
static bool unescape_slashes(__u8 *p, __u32 len, __u32 *ret_len)
{
	__u8 *q = memchr(p, '?', len), *out = p, *end = p + len, *in = p;
	__u8 *path_end = q ? q : end;

	while (in < path_end) {
		int c = escaped_byte(in, path_end);

		if (c != '/' && c != '\\') {
			*out++ = *in++;
			continue;
		}
		*out++ = (__u8)c;
		in += 3;
	}
	memmove(out, in, (size_t)(end - in));
	*ret_len = (__u32)(out - p) + (__u32)(end - in);
	return *ret_len != len;
}

int weft_req_form_path(struct weft_req *req, void *out, __u32 cap)
{
	struct weft_span path = req->value[WEFT_VALUE_PATH];
	__u32 flags = req->hcm_flags;
	bool found = false;
	int n;

	if (!(flags & WEFT_HCM_PATH_FORM) || !(req->flags & WEFT_REQ_PATH_ODD))
		return 0;
	if (flags & WEFT_HCM_SLASHES)
		found = unescape_slashes(req->head + path.off, path.len, &path.len);
	if (found && (flags & WEFT_HCM_SLASHES_REJECT ||
		      weft_req_set_path(req, req->head + path.off, path.len)))
		return -EINVAL;
	if (flags & (WEFT_HCM_NORMALIZE_PATH | WEFT_HCM_MERGE_SLASHES)) {
		n = weft_path_normalize(req->head + path.off, path.len, out, cap,
					flags & WEFT_HCM_NORMALIZE_PATH, flags & WEFT_HCM_MERGE_SLASHES);
		if (n <= 0 || weft_req_set_path(req, out, (__u32)n))
			return -EINVAL;
	}
	req->flags &= ~WEFT_REQ_PATH_ODD;
	return found && flags & WEFT_HCM_SLASHES_REDIRECT;
}
