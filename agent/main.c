// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "agent/json_out.h"
#include "agent/options.h"

static void usage(FILE *out)
{
	fputs("usage: weft-agent COMMAND [options]\n\n", out);
	for (const struct weft_command *c = weft_commands; c->name; c++)
		fprintf(out, "  %-12s %s\n", c->name, c->help);
	fputs("\nweft-agent COMMAND --help shows the options of a command.\n", out);
}

/* The command named by the first word or two; *ret_words says how many they were. */
static const struct weft_command *command_find(int argc, char **argv, int *ret_words)
{
	for (const struct weft_command *c = weft_commands; c->name; c++) {
		const char *space = strchr(c->name, ' ');
		size_t first = space ? (size_t)(space - c->name) : strlen(c->name);

		if (strlen(argv[1]) != first || memcmp(argv[1], c->name, first) != 0)
			continue;
		if (space && (argc < 3 || strcmp(argv[2], space + 1) != 0))
			continue;
		*ret_words = space ? 2 : 1;
		return c;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct weft_command *command;
	struct weft_args args = {0};
	char error[256];
	int words;

	if (argc < 2) {
		usage(stderr);
		return WEFT_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return WEFT_EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	command = command_find(argc, argv, &words);
	if (!command) {
		bool json = false;

		for (int i = 1; i < argc; i++)
			json |= strcmp(argv[i], "--json") == 0;
		return weft_out_error(json, WEFT_EXIT_USAGE, NULL,
				      "unknown command %s (try --help)", argv[1]);
	}
	if (weft_args_parse(command, argc - words - 1, argv + words + 1, &args, error,
			    sizeof(error)) < 0)
		return weft_out_error(args.json, WEFT_EXIT_USAGE, NULL, "%s: %s", command->name,
				      error);
	if (args.help) {
		weft_command_usage(command, stdout);
		return WEFT_EXIT_OK;
	}
	return command->run(&args);
}
