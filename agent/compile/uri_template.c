// SPDX-License-Identifier: Apache-2.0
/*
 * A template is segments: a text, one of the globs (one segment) and ** (any rest), or a variable
 * for either, maybe with text around it. Envoy makes a regular expression of it, whose oddities are
 * kept: a star inside a text is not escaped.
 */
#include "agent/compile/uri_template.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/compile/parts.h"
#include "agent/compile/text.h"
#include "agent/regex/regex.h"

#define LETTERS "a-zA-Z0-9-._~%!$&'()*+,;:@="
#define TEXT "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;:@="
#define VARIABLES_MAX 5u
#define NAME_MAX_LEN 16u

struct text {
	const char *p;
	size_t len;
};

struct parse {
	FILE *out;
	struct text name[VARIABLES_MAX];
	unsigned int n_name;
	bool rest; /* ** was there: no other glob may follow */
	const char *why;
};

static bool fail(struct parse *s, const char *why)
{
	s->why = why;
	return false;
}

static bool is_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if (!memchr(TEXT, t.p[i], sizeof(TEXT) - 1))
			return false;
	}
	return t.len > 0;
}

static bool text_put(struct parse *s, struct text t)
{
	if (!is_text(t))
		return fail(s, "a text is empty or has a character that may not be there");
	for (size_t i = 0; i < t.len; i++)
		fprintf(s->out, strchr("$()+.", t.p[i]) ? "\\%c" : "%c", t.p[i]);
	return true;
}

static bool glob_put(struct parse *s, bool rest)
{
	if (s->rest)
		return fail(s, "a glob behind **");
	s->rest = rest;
	fputs(rest ? "[" LETTERS "/]*" : "[" LETTERS "]+", s->out);
	return true;
}

/* One of the parts between slashes in a variable. */
static bool part_put(struct parse *s, struct text t)
{
	if (t.len && t.p[0] == '*') {
		bool rest = t.len > 1 && t.p[1] == '*';

		if (t.len != 1u + rest)
			return fail(s, "a glob of a variable stands with other text");
		return glob_put(s, rest);
	}
	return text_put(s, t);
}

static bool name_take(struct parse *s, struct text name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (!isalnum((unsigned char)name.p[i]) && (!i || name.p[i] != '_'))
			return fail(s, "a variable's name has a character that may not be there");
	}
	if (!name.len || isdigit((unsigned char)name.p[0]))
		return fail(s, "a variable's name does not begin with a letter");
	if (name.len > NAME_MAX_LEN)
		return fail(s, "a variable's name is too long");
	for (unsigned int i = 0; i < s->n_name; i++) {
		if (s->name[i].len == name.len && !memcmp(s->name[i].p, name.p, name.len))
			return fail(s, "two variables of one name");
	}
	if (s->n_name == VARIABLES_MAX)
		return fail(s, "too many variables");
	s->name[s->n_name++] = name;
	return true;
}

/* What stands between braces. */
static bool variable_put(struct parse *s, struct text v)
{
	const char *eq = memchr(v.p, '=', v.len), *end = v.p + v.len;

	if (!name_take(s, (struct text){v.p, eq ? (size_t)(eq - v.p) : v.len}))
		return false;
	if (!eq)
		return glob_put(s, false);
	for (const char *p = eq + 1;; p++) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		const char *stop = slash ? slash : end;

		if (!part_put(s, (struct text){p, (size_t)(stop - p)}))
			return false;
		if (!slash)
			return true;
		fputc('/', s->out);
		p = slash;
	}
}

/* Text behind a glob or a variable, up to the next slash. */
static bool suffix_put(struct parse *s, const char **at)
{
	size_t n = strcspn(*at, "/");

	if (n && !text_put(s, (struct text){*at, n}))
		return false;
	*at += n;
	return true;
}

static bool braced_put(struct parse *s, const char **at)
{
	const char *close = strchr(*at, '}');

	if (!close)
		return fail(s, "a brace that is not closed");
	if (!variable_put(s, (struct text){*at + 1, (size_t)(close - *at - 1)}))
		return false;
	*at = close + 1;
	return suffix_put(s, at);
}

static bool starred_put(struct parse *s, const char **at)
{
	bool rest = (*at)[1] == '*', more;

	if (!glob_put(s, rest))
		return false;
	*at += 1 + rest;
	more = **at && **at != '/';
	if (!suffix_put(s, at))
		return false;
	return !more || !**at || fail(s, "text behind a glob before the last segment");
}

static bool segment_put(struct parse *s, const char **at)
{
	size_t n = strcspn(*at, "/"), open = strcspn(*at, "{/");

	if (**at == '*')
		return starred_put(s, at);
	if (**at == '{')
		return braced_put(s, at);
	if (open < n && !memchr(*at + open, '}', n - open))
		return fail(s, "a variable with text before it has a slash");
	if (!text_put(s, (struct text){*at, open}))
		return false;
	*at += open;
	return open == n || braced_put(s, at);
}

static bool template_put(struct parse *s, const char *t)
{
	for (const char *p = t; *p; p++) {
		if (!isgraph((unsigned char)*p))
			return fail(s, "a character that may not be there");
	}
	if (*t != '/')
		return fail(s, "does not begin with a slash");
	while (*t == '/') {
		fputc('/', s->out);
		t++;
		if (*t && !segment_put(s, &t))
			return false;
	}
	return true;
}

int weft_uri_template_regex(const char *template, char **ret, const char **ret_why)
{
	struct parse s = {0};
	char *text = NULL;
	size_t len = 0;
	bool ok;

	s.out = open_memstream(&text, &len);
	if (!s.out)
		return -ENOMEM;
	ok = template_put(&s, template);
	if (!weft_text_end(s.out, &text))
		return -ENOMEM;
	if (!ok) {
		free(text);
		*ret_why = s.why;
		return -EINVAL;
	}
	*ret = text;
	return 0;
}

bool weft_build_template_cond(struct weft_build *b, const char *template, const char *field,
			      struct weft_img_cond *c)
{
	_auto_regex_ struct weft_regex *re = NULL;
	struct weft_regex_error error;
	const char *why = "";
	char *regex = NULL;
	int r = weft_uri_template_regex(template, &regex, &why);

	if (r == -EINVAL)
		weft_build_fail(b, field, "'%s' is no template: %s", template, why);
	if (!r)
		r = weft_regex_new(regex, UINT32_MAX, &re, &error);
	if (r == -EINVAL && regex) /* Envoy takes it, and no path ever fits */
		weft_build_fail(b, field, "unsupported: '%s': %s", template, error.text);
	else if (r)
		b->err = b->err ? b->err : r;
	free(regex);
	if (r)
		return false;
	c->from = WEFT_FROM_PATH;
	weft_build_regex_cond(b, re, c);
	return true;
}
