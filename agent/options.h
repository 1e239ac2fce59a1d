/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Command lines as data: one table per command says its options; parsing, --help, the list for the
 * man page and the usage errors come from it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum weft_exit {
	WEFT_EXIT_OK,
	WEFT_EXIT_FAILED,
	WEFT_EXIT_USAGE,
	WEFT_EXIT_UNREACHABLE, /* no daemon answers on the admin socket */
};

enum weft_option_kind {
	WEFT_OPTION_FLAG = 1,
	WEFT_OPTION_STRING,
	WEFT_OPTION_LIST,   /* may be given several times */
	WEFT_OPTION_NUMBER, /* min..max, with suffix K, M or G (powers of 1024) */
};

struct weft_option {
	const char *name; /* without the dashes */
	const char *arg;  /* what the value is called in --help; NULL for a flag */
	const char *help;
	enum weft_option_kind kind;
	bool required;
	const char *fallback; /* of a STRING or NUMBER that is not given, NULL: none */
	uint64_t min, max;
};

struct weft_args;

struct weft_command {
	const char *name;     /* "check", "pod add" */
	const char *operands; /* as shown: "PATH", "[WHAT]"; NULL: none */
	size_t min_operands, max_operands;
	const char *help; /* one line */
	const struct weft_option *options;
	size_t n_options;
	/* enum weft_exit */
	int (*run)(const struct weft_args *args);
};

#define WEFT_ARGS_MAX 256 /* words of a command line: more is a mistake */

struct weft_args {
	const struct weft_command *command;
	size_t n_words;
	struct {
		const struct weft_option *option; /* NULL: an operand */
		const char *value;
	} word[WEFT_ARGS_MAX];
	bool json, help;
};

/*
 * Reads the words after the command's name. 0; -EINVAL with a sentence in `error` otherwise.
 * `--help` anywhere sets help and skips the check for what is required. Values are borrowed from
 * argv.
 */
int weft_args_parse(const struct weft_command *command, int argc, char *const *argv,
		    struct weft_args *ret, char *error, size_t error_size);

/* Value of an option of the command's table (asserted); the fallback, or NULL, when it was not
 * given. */
const char *weft_args_string(const struct weft_args *args, const char *name);
bool weft_args_flag(const struct weft_args *args, const char *name);
/* Of a NUMBER; 0 when it was not given and has no fallback. */
uint64_t weft_args_number(const struct weft_args *args, const char *name);
/* i-th value of a LIST, NULL behind the last. */
const char *weft_args_list(const struct weft_args *args, const char *name, size_t i);
/* i-th operand, NULL behind the last. */
const char *weft_args_operand(const struct weft_args *args, size_t i);

/* "123", "64M". -EINVAL; -ERANGE outside of min..max. */
int weft_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

void weft_command_usage(const struct weft_command *command, FILE *out);

/* The commands in the order of --help, ended by a name of NULL. */
extern const struct weft_command weft_commands[];

int weft_cmd_run(const struct weft_args *args);
int weft_cmd_pod_add(const struct weft_args *args);
int weft_cmd_pod_remove(const struct weft_args *args);
int weft_cmd_pod_list(const struct weft_args *args);
int weft_cmd_check(const struct weft_args *args);
int weft_cmd_explain(const struct weft_args *args);
int weft_cmd_dump(const struct weft_args *args);
int weft_cmd_probe(const struct weft_args *args);
int weft_cmd_version(const struct weft_args *args);
