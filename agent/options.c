// SPDX-License-Identifier: Apache-2.0
#include "agent/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Every command has these two; the table of a command does not repeat them. */
static const struct weft_option option_json = {
	.name = "json", .kind = WEFT_OPTION_FLAG, .help = "print JSON, errors too"};
static const struct weft_option option_help = {
	.name = "help", .kind = WEFT_OPTION_FLAG, .help = "show this and exit"};

int weft_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long value;
	unsigned int shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	if (*end == 'K')
		shift = 10;
	else if (*end == 'M')
		shift = 20;
	else if (*end == 'G')
		shift = 30;
	if (shift != 0)
		end++;
	if (*end != '\0')
		return -EINVAL;
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	value <<= shift;
	if (value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

static const struct weft_option *option_find(const struct weft_command *c, const char *name,
					     size_t len)
{
	for (size_t i = 0; i < c->n_options; i++) {
		const struct weft_option *o = &c->options[i];

		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	}
	if (len == 4 && memcmp(name, "json", 4) == 0)
		return &option_json;
	if (len == 4 && memcmp(name, "help", 4) == 0)
		return &option_help;
	return NULL;
}

static bool is_given(const struct weft_args *args, const struct weft_option *o)
{
	for (size_t i = 0; i < args->n_words; i++) {
		if (args->word[i].option == o)
			return true;
	}
	return false;
}

static int number_check(const struct weft_option *o, const char *value, char *error, size_t size)
{
	uint64_t number;
	int r = weft_number_parse(value, o->min, o->max, &number);

	if (r == 0)
		return 0;
	if (r == -ERANGE)
		snprintf(error, size, "--%s: %s is not in %llu..%llu", o->name, value,
			 (unsigned long long)o->min, (unsigned long long)o->max);
	else
		snprintf(error, size, "--%s: %s is not a number", o->name, value);
	return -EINVAL;
}

/* One "--name[=value]" at argv[*i]; *i moves over its value. */
static int option_parse(struct weft_args *args, int argc, char *const *argv, int *i, char *error,
			size_t size)
{
	const char *name = argv[*i] + 2, *value = strchr(name, '=');
	size_t len = value ? (size_t)(value - name) : strlen(name);
	const struct weft_option *o = option_find(args->command, name, len);

	if (!o) {
		snprintf(error, size, "unknown option --%.*s", (int)len, name);
		return -EINVAL;
	}
	if (o->kind == WEFT_OPTION_FLAG && value) {
		snprintf(error, size, "--%s takes no value", o->name);
		return -EINVAL;
	}
	if (o->kind != WEFT_OPTION_FLAG) {
		if (!value && *i + 1 >= argc) {
			snprintf(error, size, "--%s needs a value (%s)", o->name, o->arg);
			return -EINVAL;
		}
		value = value ? value + 1 : argv[++*i];
		if (o->kind != WEFT_OPTION_LIST && is_given(args, o)) {
			snprintf(error, size, "--%s is given twice", o->name);
			return -EINVAL;
		}
	}
	if (o->kind == WEFT_OPTION_NUMBER && number_check(o, value, error, size) < 0)
		return -EINVAL;
	args->json |= o == &option_json;
	args->help |= o == &option_help;
	args->word[args->n_words].option = o;
	args->word[args->n_words++].value = value;
	return 0;
}

static int complete_check(const struct weft_args *args, size_t operands, char *error, size_t size)
{
	const struct weft_command *c = args->command;

	for (size_t i = 0; i < c->n_options; i++) {
		if (c->options[i].required && !is_given(args, &c->options[i])) {
			snprintf(error, size, "--%s is required", c->options[i].name);
			return -EINVAL;
		}
	}
	if (operands < c->min_operands) {
		snprintf(error, size, "%s is missing", c->operands);
		return -EINVAL;
	}
	return 0;
}

int weft_args_parse(const struct weft_command *command, int argc, char *const *argv,
		    struct weft_args *ret, char *error, size_t error_size)
{
	struct weft_args args = {.command = command};
	bool options_end = false;
	size_t operands = 0;
	int r;

	/* Known before anything can fail: it says how an error is shown. */
	for (int i = 0; i < argc; i++)
		ret->json |= strcmp(argv[i], "--json") == 0;
	for (int i = 0; i < argc; i++) {
		if (args.n_words == WEFT_ARGS_MAX) {
			snprintf(error, error_size, "more than %d words", WEFT_ARGS_MAX);
			return -EINVAL;
		}
		if (!options_end && strcmp(argv[i], "--") == 0) {
			options_end = true;
			continue;
		}
		if (!options_end && strncmp(argv[i], "--", 2) == 0) {
			r = option_parse(&args, argc, argv, &i, error, error_size);
			if (r < 0)
				return r;
			continue;
		}
		if (operands == command->max_operands) {
			snprintf(error, error_size, "unexpected argument %s", argv[i]);
			return -EINVAL;
		}
		args.word[args.n_words++].value = argv[i];
		operands++;
	}
	*ret = args;
	if (args.help)
		return 0;
	return complete_check(&args, operands, error, error_size);
}

static const struct weft_option *option_of(const struct weft_args *args, const char *name,
					   enum weft_option_kind kind)
{
	const struct weft_option *o = option_find(args->command, name, strlen(name));

	assert(o && o->kind == kind);
	return o;
}

static const char *value_of(const struct weft_args *args, const struct weft_option *o)
{
	for (size_t i = 0; i < args->n_words; i++) {
		if (args->word[i].option == o)
			return args->word[i].value;
	}
	return o->fallback;
}

const char *weft_args_string(const struct weft_args *args, const char *name)
{
	return value_of(args, option_of(args, name, WEFT_OPTION_STRING));
}

bool weft_args_flag(const struct weft_args *args, const char *name)
{
	return is_given(args, option_of(args, name, WEFT_OPTION_FLAG));
}

uint64_t weft_args_number(const struct weft_args *args, const char *name)
{
	const struct weft_option *o = option_of(args, name, WEFT_OPTION_NUMBER);
	const char *text = value_of(args, o);
	uint64_t value = 0;

	if (text)
		assert(weft_number_parse(text, o->min, o->max, &value) == 0);
	return value;
}

const char *weft_args_list(const struct weft_args *args, const char *name, size_t i)
{
	const struct weft_option *o = option_of(args, name, WEFT_OPTION_LIST);

	for (size_t w = 0; w < args->n_words; w++) {
		if (args->word[w].option == o && i-- == 0)
			return args->word[w].value;
	}
	return NULL;
}

const char *weft_args_operand(const struct weft_args *args, size_t i)
{
	for (size_t w = 0; w < args->n_words; w++) {
		if (!args->word[w].option && i-- == 0)
			return args->word[w].value;
	}
	return NULL;
}

static void option_usage(const struct weft_option *o, FILE *out)
{
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(out, "  %-28s %s", left, o->help);
	if (o->fallback)
		fprintf(out, " (default: %s)", o->fallback);
	if (o->required)
		fprintf(out, " (required)");
	fputc('\n', out);
}

void weft_command_usage(const struct weft_command *command, FILE *out)
{
	fprintf(out, "usage: weft-agent %s%s%s%s\n\n%s\n\n", command->name,
		command->operands ? " " : "", command->operands ? command->operands : "",
		" [options]", command->help);
	for (size_t i = 0; i < command->n_options; i++)
		option_usage(&command->options[i], out);
	option_usage(&option_json, out);
	option_usage(&option_help, out);
}
