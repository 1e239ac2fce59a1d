// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/options.h"

static char *page;

static int page_read(void **state)
{
	FILE *f = fopen(WEFT_TEST_DATA "/../deploy/weft-agent.8", "re");
	size_t size = 0;

	(void)state;
	if (!f)
		return -1;
	if (getdelim(&page, &size, '\0', f) < 0)
		return -1;
	fclose(f);
	return 0;
}

static int page_drop(void **state)
{
	(void)state;
	free(page);
	return 0;
}

/* The page writes a dash as "\-". */
static void escaped(const char *text, char *out)
{
	for (; *text; text++) {
		if (*text == '-')
			*out++ = '\\';
		*out++ = *text;
	}
	*out = '\0';
}

/* Text of the command's section, up to the next heading. */
static char *section(const struct weft_command *c)
{
	char heading[256];
	const char *start, *end, *other;

	snprintf(heading, sizeof(heading), ".SS \"%s%s%s\"\n", c->name, c->operands ? " " : "",
		 c->operands ? c->operands : "");
	start = strstr(page, heading);
	if (!start)
		fail_msg("the man page has no section for \"%s\"", c->name);
	start += strlen(heading);
	end = strstr(start, "\n.SS ");
	other = strstr(start, "\n.SH ");
	if (!end || (other && other < end))
		end = other;
	return strndup(start, end ? (size_t)(end - start) + 1 : strlen(start));
}

static void test_every_option_is_in_the_man_page(void **state)
{
	(void)state;
	for (const struct weft_command *c = weft_commands; c->name; c++) {
		char *text = section(c);

		for (size_t i = 0; i < c->n_options; i++) {
			const struct weft_option *o = &c->options[i];
			char name[128], arg[128], line[512];

			escaped(o->name, name);
			escaped(o->arg ? o->arg : "", arg);
			if (o->arg)
				snprintf(line, sizeof(line), ".BI \\-\\-%s \" %s\"\n", name, arg);
			else
				snprintf(line, sizeof(line), ".B \\-\\-%s\n", name);
			if (!strstr(text, line))
				fail_msg("%s: the man page lacks --%s", c->name, o->name);
			if (o->fallback) {
				char fallback[128];

				escaped(o->fallback, fallback);
				snprintf(line, sizeof(line), "Default: %s.", fallback);
				if (!strstr(text, line))
					fail_msg("%s: the man page lacks the default of --%s",
						 c->name, o->name);
			}
		}
		free(text);
	}
}

static void test_the_man_page_has_no_other_option(void **state)
{
	(void)state;
	for (const struct weft_command *c = weft_commands; c->name; c++) {
		char *text = section(c);
		size_t n = 0;

		for (const char *p = text; (p = strstr(p, "\n.TP\n")); p++)
			n++;
		assert_int_equal(n, c->n_options);
		free(text);
	}
}

/* Defaults of numbers are within their own limits; every command has words to say and a function.
 */
static void test_tables_are_sound(void **state)
{
	(void)state;
	for (const struct weft_command *c = weft_commands; c->name; c++) {
		assert_non_null(c->help);
		assert_non_null(c->run);
		assert_true(c->min_operands <= c->max_operands);
		for (size_t i = 0; i < c->n_options; i++) {
			const struct weft_option *o = &c->options[i];
			uint64_t n;

			assert_non_null(o->help);
			assert_int_equal(o->arg == NULL, o->kind == WEFT_OPTION_FLAG);
			if (o->kind == WEFT_OPTION_NUMBER && o->fallback)
				assert_int_equal(weft_number_parse(o->fallback, o->min, o->max, &n),
						 0);
			for (size_t k = 0; k < i; k++)
				assert_string_not_equal(c->options[k].name, o->name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_option_is_in_the_man_page),
		cmocka_unit_test(test_the_man_page_has_no_other_option),
		cmocka_unit_test(test_tables_are_sound),
	};

	return cmocka_run_group_tests(tests, page_read, page_drop);
}
