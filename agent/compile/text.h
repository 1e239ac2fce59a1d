/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Ends what open_memstream() began. False without memory, with *text NULL: neither fclose() nor the
 * text itself says that it was cut short, and glibc's last reallocation fails without a word.
 */
static inline bool weft_text_end(FILE *f, char **text)
{
	bool whole = !ferror(f);

	if (!fclose(f) && whole && *text)
		return true;
	free(*text);
	*text = NULL;
	return false;
}
