// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "xds/credential.h"

static char folder[] = "/tmp/weft-credential-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void put(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* The token in a file of this text, or the reason. */
static void check_token(const char *text, int err, const char *expected)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char *token = NULL;

	put(text, strlen(text));
	assert_int_equal(weft_credential_token(path, &diag, &token), err);
	if (err) {
		assert_int_equal(diag.n, 1);
		assert_string_equal(diag.entries[0].resource, path);
		assert_string_equal(diag.entries[0].reason, expected);
	} else {
		assert_string_equal(token, expected);
	}
	weft_credential_free(token);
}

static void test_tokens(void **state)
{
	(void)state;
	check_token("aZ0-._~+/=", 0, "aZ0-._~+/=");
	check_token(" \r\n\ta.b.c\r\n\n", 0, "a.b.c");
	check_token("", -EINVAL, "is empty");
	check_token(" \n", -EINVAL, "is empty");
	check_token("a b", -EINVAL, "is no bearer token: character 2");
	check_token("a\nX-Header: b", -EINVAL, "is no bearer token: character 2");
	check_token("ab\x80", -EINVAL, "is no bearer token: character 3");
}

static void test_sizes(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char *token = NULL, *large = malloc(WEFT_CREDENTIAL_TOKEN_MAX + 1);

	(void)state;
	assert_non_null(large);
	memset(large, 'a', WEFT_CREDENTIAL_TOKEN_MAX + 1);
	put(large, WEFT_CREDENTIAL_TOKEN_MAX);
	assert_int_equal(weft_credential_token(path, &diag, &token), 0);
	assert_int_equal(strlen(token), WEFT_CREDENTIAL_TOKEN_MAX);
	weft_credential_free(token);
	put(large, WEFT_CREDENTIAL_TOKEN_MAX + 1);
	assert_int_equal(weft_credential_token(path, &diag, &token), -EFBIG);
	assert_string_equal(diag.entries[0].reason, "is larger than 16384 bytes");
	free(large);
}

static void test_files_that_are_none(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	char *text = NULL;
	size_t len;

	(void)state;
	put("a\0b", 3);
	assert_int_equal(weft_credential_read(path, 10, &diag, &text, &len), -EINVAL);
	assert_string_equal(diag.entries[0].reason, "has a NUL in it");
	assert_int_equal(weft_credential_read(folder, 10, &diag, &text, &len), -EINVAL);
	assert_string_equal(diag.entries[1].reason, "is no regular file");
	unlink(path);
	assert_int_equal(weft_credential_read(path, 10, &diag, &text, &len), -ENOENT);
	assert_string_equal(diag.entries[2].reason, "No such file or directory");
	/* Nobody writes to it: that must not be waited for. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(weft_credential_read(path, 10, &diag, &text, &len), -EINVAL);
	assert_string_equal(diag.entries[3].reason, "is no regular file");
	unlink(path);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_files_that_are_none),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
