// SPDX-License-Identifier: Apache-2.0
/*
 * weft-verify [BASELINE]: loads every program into the running kernel and prints "name instructions" for each, as the
 * verifier counted. Exit 1 when one takes half of what a kernel allows (a million) or more, and, with a baseline (the same
 * format), when one grew by more than a fifth: what grows in the verifier is what fails to load on another kernel.
 * Exit 77: not allowed to load.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cleanup.h"
#include "agent/kernel/kernel.h"

enum { INSTRUCTIONS_MAX = 500000 };

/* The baseline's figure of a program, 0: none. */
static long long baseline_of(const char *path, const char *name)
{
	_auto_file_ FILE *f = fopen(path, "re");
	char line[128], found[64];
	long long n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lld", found, &n) == 2 && !strcmp(found, name))
			return n;
	return 0;
}

static int rows_print(const json_t *rows, const char *baseline)
{
	const json_t *row;
	int result = 0;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *name = json_string_value(json_object_get(row, "name"));
		long long n = json_integer_value(json_object_get(row, "verified_instructions"));
		long long was = baseline ? baseline_of(baseline, name) : 0;

		printf("%s %lld\n", name, n);
		if (n >= INSTRUCTIONS_MAX) {
			fprintf(stderr, "%s: %lld instructions, %d are allowed\n", name, n, INSTRUCTIONS_MAX);
			result = 1;
		}
		if (baseline && !was) {
			fprintf(stderr, "%s: not in %s\n", name, baseline);
			result = 1;
		}
		if (was && n > was + was / 5) {
			fprintf(stderr, "%s: %lld instructions, was %lld\n", name, n, was);
			result = 1;
		}
	}
	return result;
}

int main(int argc, char **argv)
{
	struct weft_kernel_config cfg = {0};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_kernel *k = NULL;
	int result;

	if (geteuid() != 0) {
		puts("SKIP: loading programs needs root");
		return 77;
	}
	result = weft_kernel_load(&cfg, &diag, &k);
	if (result) {
		_auto_free_ char *text = weft_diag_text(&diag);

		fprintf(stderr, "%s\n", text ? text : strerror(-result));
		weft_diag_clear(&diag);
		return 1;
	}
	_auto_json_ json_t *rows = weft_kernel_programs(k);

	result = rows ? rows_print(rows, argc > 1 ? argv[1] : NULL) : 1;
	weft_kernel_close(k);
	weft_diag_clear(&diag);
	return result;
}
