// SPDX-License-Identifier: Apache-2.0
/* Escapes and classes of RE2's syntax: the bytes that one place of a pattern may be. */
#include <string.h>

#include "agent/regex/parse.h"
#include "bpf/engine/hex.h"

/* ---- escapes ---- */

/* "\x{...}" or "\x12" behind the x; -1: it is none. */
static int escape_hex(struct parser *s)
{
	int v = 0;

	if (s->p < s->end && *s->p == '{') {
		const char *q = s->p + 1;

		while (q < s->end && weft_hex_digit(*q) >= 0 && v <= 255)
			v = v * 16 + weft_hex_digit(*q++);
		if (q == s->end || *q != '}' || q == s->p + 1 || v > 255) {
			s->p = q < s->end && v <= 255 ? q + 1 : q;
			return -1;
		}
		s->p = q + 1;
		return v;
	}
	if (s->end - s->p < 2 || weft_hex_digit(s->p[0]) < 0 || weft_hex_digit(s->p[1]) < 0) {
		s->p = s->end - s->p < 2 ? s->end : s->p + 2;
		return -1;
	}
	v = weft_hex_digit(s->p[0]) * 16 + weft_hex_digit(s->p[1]);
	s->p += 2;
	return v;
}

static int escape_octal(struct parser *s, int v)
{
	for (int i = 0; i < 2 && s->p < s->end && *s->p >= '0' && *s->p <= '7'; i++)
		v = v * 8 + *s->p++ - '0';
	return v > 255 ? -1 : v;
}

int parse_escape(struct parser *s)
{
	static const char from[] = "nrtafv", to[] = "\n\r\t\a\f\v";
	const char *begin = s->p++, *f;
	int c, v = -1;

	if (s->p == s->end) {
		parse_refuse(s, "trailing \\", NULL, NULL);
		return -1;
	}
	c = (unsigned char)*s->p++;
	f = c ? strchr(from, c) : NULL;
	if (f)
		v = (unsigned char)to[f - from];
	else if (c == 'x')
		v = escape_hex(s);
	else if (c == '0' ||
		 (c >= '1' && c <= '7' && s->p < s->end && *s->p >= '0' && *s->p <= '7'))
		v = escape_octal(s, c - '0');
	else if (c < 128 && weft_hex_digit(c) < 0 && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
		v = c;
	if (v < 0)
		parse_refuse(s, "invalid escape sequence", begin, s->p);
	return v;
}

/* ---- classes ---- */

static void set_range(struct regex_set *set, unsigned int lo, unsigned int hi, bool fold)
{
	for (unsigned int c = lo; c <= hi; c++) {
		if (fold)
			regex_set_fold(set, c);
		else
			set_add(set, c);
	}
}

static void set_invert(struct regex_set *set)
{
	for (int i = 0; i < 4; i++)
		set->w[i] = ~set->w[i];
}

static void set_or(struct regex_set *set, const struct regex_set *other)
{
	for (int i = 0; i < 4; i++)
		set->w[i] |= other->w[i];
}

/* Ranges as pairs of bytes. */
static void set_pairs(struct regex_set *set, const char *pairs, bool negated, bool fold)
{
	struct regex_set own = {0};

	for (; *pairs; pairs += 2)
		set_range(&own, (unsigned char)pairs[0], (unsigned char)pairs[1], fold);
	if (negated)
		set_invert(&own);
	set_or(set, &own);
}

bool parse_perl_class(struct parser *s, struct regex_set *set)
{
	const char *pairs;

	if (s->end - s->p < 2 || *s->p != '\\')
		return false;
	switch (s->p[1] | 0x20) {
	case 'd':
		pairs = "09";
		break;
	case 's':
		pairs = "\t\n\f\r  ";
		break;
	case 'w':
		pairs = "09AZ__az";
		break;
	default:
		return false;
	}
	set_pairs(set, pairs, !(s->p[1] & 0x20), s->flags & RE_FOLD);
	s->p += 2;
	return true;
}

/* [:alpha:] and so on. 1: done, 0: it is none, -1: refused. */
static int posix_class(struct parser *s, struct regex_set *set)
{
	static const struct {
		const char *name, *pairs;
	} all[] = {
		{"alnum", "09AZaz"},
		{"alpha", "AZaz"},
		{"blank", "\t\t  "},
		{"digit", "09"},
		{"graph", "!~"},
		{"lower", "az"},
		{"print", " ~"},
		{"punct", "!/:@[`{~"},
		{"space", "\t\r  "},
		{"upper", "AZ"},
		{"word", "09AZ__az"},
		{"xdigit", "09AFaf"},
		{"cntrl", "\001\037\177\177"},
		{"ascii", "\001\177"},
	};
	const char *name = s->p + 2, *close = NULL;
	bool negated;

	for (const char *q = name; q + 1 < s->end && !close; q++) {
		if (q[0] == ':' && q[1] == ']')
			close = q;
	}
	if (!close)
		return 0;
	negated = *name == '^';
	name += negated;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct regex_set own = {0};

		if (strlen(all[i].name) != (size_t)(close - name) ||
		    memcmp(all[i].name, name, strlen(all[i].name)) != 0)
			continue;
		set_pairs(&own, all[i].pairs, false, s->flags & RE_FOLD);
		if (i >= 12) /* pairs end at a NUL: it is added here */
			set_add(&own, 0);
		if (negated)
			set_invert(&own);
		set_or(set, &own);
		s->p = close + 2;
		return 1;
	}
	parse_refuse(s, "invalid character class range", s->p, close + 2);
	return -1;
}

int parse_unicode_class(struct parser *s, struct regex_set *set)
{
	const char *begin = s->p, *name = s->p + 2, *stop;
	bool negated = s->p[1] == 'P';
	struct regex_set own = {0};

	if (name < s->end && *name == '{') {
		name++;
		stop = memchr(name, '}', (size_t)(s->end - name));
		s->p = stop ? stop + 1 : s->end;
		if (stop && name < stop && *name == '^') {
			negated = !negated;
			name++;
		}
	} else {
		stop = name < s->end ? name + 1 : NULL;
		s->p = stop ? stop : s->end;
	}
	if (!stop || !regex_unicode(name, (size_t)(stop - name), &own)) {
		parse_refuse(s, "invalid character class range", begin, s->p);
		return -1;
	}
	for (unsigned int c = 'A'; s->flags & RE_FOLD && c <= 'z'; c++) {
		if (set_has(&own, c))
			regex_set_fold(&own, c);
	}
	if (negated)
		set_invert(&own);
	set_or(set, &own);
	return 1;
}

static int class_char(struct parser *s, const char *whole)
{
	if (s->p == s->end) {
		parse_refuse(s, "missing ]", whole, s->end);
		return -1;
	}
	return *s->p == '\\' ? parse_escape(s) : (unsigned char)*s->p++;
}

/* One piece of a class. */
static bool class_item(struct parser *s, const char *whole, struct regex_set *set)
{
	const char *begin = s->p;
	int lo, hi, r = 0;

	if (s->end - s->p > 2 && s->p[0] == '[' && s->p[1] == ':')
		r = posix_class(s, set);
	else if (s->end - s->p > 2 && s->p[0] == '\\' && (s->p[1] | 0x20) == 'p')
		r = parse_unicode_class(s, set);
	if (r)
		return r > 0;
	if (parse_perl_class(s, set))
		return true;
	lo = hi = class_char(s, whole);
	if (lo < 0)
		return false;
	/* "[a-]" means a or - */
	if (s->end - s->p >= 2 && s->p[0] == '-' && s->p[1] != ']') {
		s->p++;
		hi = class_char(s, whole);
		if (hi < 0)
			return false;
		if (hi < lo)
			return parse_refuse(s, "invalid character class range", begin, s->p);
	}
	set_range(set, (unsigned int)lo, (unsigned int)hi, s->flags & RE_FOLD);
	return true;
}

bool parse_class(struct parser *s, struct regex_set *ret)
{
	const char *whole = s->p++;
	bool negated = s->p < s->end && *s->p == '^', first = true;

	*ret = (struct regex_set){0};
	s->p += negated;
	while (s->p < s->end && (*s->p != ']' || first)) {
		first = false;
		if (!class_item(s, whole, ret))
			return false;
	}
	if (s->p == s->end)
		return parse_refuse(s, "missing ]", whole, s->end);
	s->p++;
	if (negated)
		set_invert(ret);
	return true;
}
