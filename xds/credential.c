// SPDX-License-Identifier: Apache-2.0
#include "xds/credential.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xds/read.h"

static int check(const char *path, const char *text, ssize_t len, size_t max,
		 struct weft_diag *diag)
{
	if (len < 0)
		return weft_diag_add(diag, (int)len, path, NULL, "%s", strerror((int)-len));
	if (len == 0)
		return weft_diag_add(diag, -EINVAL, path, NULL, "is empty");
	if ((size_t)len > max)
		return weft_diag_add(diag, -EFBIG, path, NULL, "is larger than %zu bytes", max);
	if (memchr(text, '\0', (size_t)len))
		return weft_diag_add(diag, -EINVAL, path, NULL, "has a NUL in it");
	return 0;
}

int weft_credential_read(const char *path, size_t max, struct weft_diag *diag, char **ret,
			 size_t *ret_len)
{
	struct stat st;
	ssize_t len;
	char *text;
	int fd, err;

	/* Not to wait for the writer of a fifo. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		return weft_diag_add(diag, err, path, NULL, "%s", strerror(-err));
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return weft_diag_add(diag, -EINVAL, path, NULL, "is no regular file");
	}
	text = malloc(max + 2);
	if (!text) {
		close(fd);
		return -ENOMEM;
	}
	/* One more than may be, so that too much is seen as such. */
	len = weft_fd_read(fd, text, max + 1);
	close(fd);
	err = check(path, text, len, max, diag);
	if (err) {
		free(text);
		return err;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = (size_t)len;
	return 0;
}

int weft_credential_token(const char *path, struct weft_diag *diag, char **ret)
{
	char *text, *start, *end;
	size_t len;
	int err = weft_credential_read(path, WEFT_CREDENTIAL_TOKEN_MAX, diag, &text, &len);

	if (err)
		return err;
	start = text;
	end = text + len;
	while (start < end && isspace((unsigned char)*start))
		start++;
	while (end > start && isspace((unsigned char)end[-1]))
		end--;
	len = (size_t)(end - start);
	memmove(text, start, len);
	text[len] = '\0';
	if (len == 0)
		err = weft_diag_add(diag, -EINVAL, path, NULL, "is empty");
	/* b64token of RFC 6750; anything else would be a header that the server cuts in two. */
	for (size_t i = 0; !err && i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("-._~+/=", text[i]))
			err = weft_diag_add(diag, -EINVAL, path, NULL,
					    "is no bearer token: character %zu", i + 1);
	}
	if (err) {
		weft_credential_free(text);
		return err;
	}
	*ret = text;
	return 0;
}

void weft_credential_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}
