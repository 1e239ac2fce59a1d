// SPDX-License-Identifier: Apache-2.0
#include "delta_script.h"

#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "xds/saved.h"

#define IDENTITY "node\ncluster"
#define HEAD_LEN 40

static char folder[] = "/tmp/weft-saved-XXXXXX";
static char path[64], fresh[64];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	snprintf(fresh, sizeof(fresh), "%s/file.new", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	unlink(fresh);
	return rmdir(folder);
}

static void put(struct weft_snapshot *s, enum weft_xds_type type, struct pb body,
		const char *version)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_resource *r;

	assert_int_equal(weft_resource_from_wire(type, body.data, body.n, version, 1234, &diag, &r),
			 0);
	assert_int_equal(weft_snapshot_put(s, r), 0);
	weft_resource_unref(r);
	free(body.data);
}

static struct weft_snapshot *sample(void)
{
	struct weft_snapshot *s;

	assert_int_equal(weft_snapshot_new(&s), 0);
	put(s, CDS, static_cluster("a", 1), "c1");
	put(s, CDS, eds_cluster("b", NULL, 1, DEFAULT_TIMEOUT), "");
	put(s, EDS, cla("b", 80), "e1");
	return s;
}

static const struct weft_saved_head head = {.identity = IDENTITY, .saved_ms = 77};

static void encode(uint8_t **data, size_t *len)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = sample();

	assert_int_equal(weft_saved_encode(&head, s, &diag, data, len), 0);
	weft_snapshot_free(s);
}

static void check_same(const struct weft_snapshot *a, const struct weft_snapshot *b)
{
	for (int t = 0; t < WEFT_XDS__MAX; t++) {
		size_t n = weft_snapshot_count(a, (enum weft_xds_type)t);

		assert_int_equal(n, weft_snapshot_count(b, (enum weft_xds_type)t));
		for (size_t i = 0; i < n; i++) {
			const struct weft_resource *x =
				weft_snapshot_at(a, (enum weft_xds_type)t, i);
			const struct weft_resource *y =
				weft_snapshot_at(b, (enum weft_xds_type)t, i);

			assert_string_equal(x->name, y->name);
			assert_string_equal(x->version, y->version);
			assert_true(x->hash == y->hash && x->updated_ms == y->updated_ms);
		}
	}
}

/* The reason why these bytes are refused; "*" is any, "" none: they are not. */
static void decode(const uint8_t *data, size_t len, const char *reason)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	int64_t ms = -1;
	/* Of its exact size, so that a read beyond it is seen. */
	uint8_t *exact = malloc(len + !len);

	assert_non_null(exact);
	memcpy(exact, data, len);
	assert_int_equal(weft_saved_decode(exact, len, IDENTITY, &diag, &ms, &s),
			 *reason ? -EINVAL : 0);
	if (*reason) {
		assert_true(diag.n >= 1);
		assert_true(*reason == '*' || strstr(diag.entries[0].reason, reason));
		assert_null(s);
		assert_int_equal(ms, -1);
	}
	weft_snapshot_free(s);
	free(exact);
}

static void sum(uint8_t *data, size_t len)
{
	uint64_t v = XXH64(data + HEAD_LEN, len - HEAD_LEN, XXH64(data, 32, 0));

	memcpy(data + 32, &v, sizeof(v));
}

static void test_what_is_written_is_read(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = sample(), *again = NULL, *empty;
	struct stat st;
	int64_t ms;

	(void)state;
	assert_int_equal(weft_saved_read(path, IDENTITY, &diag, &ms, &again), -ENOENT);
	assert_int_equal(diag.n, 0);
	/* What an attempt left that was cut off is in nobody's way. */
	assert_int_equal(symlink("/nonexistent/elsewhere", fresh), 0);
	umask(0);
	assert_int_equal(weft_saved_write(path, &head, s, &diag), 0);
	assert_int_equal(lstat(fresh, &st), -1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(weft_saved_read(path, IDENTITY, &diag, &ms, &again), 0);
	assert_int_equal(ms, 77);
	check_same(s, again);
	weft_snapshot_free(again);
	assert_int_equal(weft_snapshot_new(&empty), 0);
	assert_int_equal(weft_saved_write(path, &head, empty, &diag), 0);
	assert_int_equal(weft_saved_read(path, IDENTITY, &diag, &ms, &again), 0);
	check_same(empty, again);
	weft_snapshot_free(again);
	weft_snapshot_free(empty);
	weft_snapshot_free(s);
}

static void test_every_cut_is_refused(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	encode(&data, &len);
	decode(data, len, "");
	for (size_t n = 0; n < len; n++)
		decode(data, n, n < HEAD_LEN ? "is none" : "is cut short");
	data = realloc(data, len + 1);
	assert_non_null(data);
	data[len] = 0;
	decode(data, len + 1, "longer than it says");
	free(data);
}

static void test_every_changed_byte_is_refused(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	encode(&data, &len);
	for (size_t i = 0; i < len; i++) {
		data[i] ^= 0x10;
		decode(data, len, i < 8 ? "is none" : i < 12 ? "is of version" : "is ");
		data[i] ^= 0x10;
	}
	decode(data, len, "");
	free(data);
}

static void test_other_version_and_node(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	encode(&data, &len);
	data[8] = 2;
	sum(data, len);
	decode(data, len, "is of version 2, not 1");
	data[8] = 1;
	data[HEAD_LEN] = 'N';
	sum(data, len);
	decode(data, len, "was saved for another node");
	free(data);
}

/* Records that a checksum vouches for, but that are none. */
static void test_bad_records(void **state)
{
	const size_t first = HEAD_LEN + sizeof(IDENTITY) - 1;
	uint8_t *data;
	size_t len;

	(void)state;
	encode(&data, &len);
	data[first] = WEFT_XDS__MAX;
	sum(data, len);
	decode(data, len, "no known type");
	/* A cluster's bytes are no listener; why exactly is not the loader's to say. */
	data[first] = WEFT_XDS_LISTENER;
	sum(data, len);
	decode(data, len, "*");
	free(data);
	encode(&data, &len);
	memset(data + first + 4, 0xff, 12);
	sum(data, len);
	decode(data, len, "a record is cut short");
	free(data);
	encode(&data, &len);
	memset(data + first + 26, 0xff, 8);
	sum(data, len);
	decode(data, len, "*");
	free(data);
}

static void test_twice(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s;
	uint8_t *data, *twice;
	size_t len, body;
	uint64_t both;
	const size_t first = HEAD_LEN + sizeof(IDENTITY) - 1;

	(void)state;
	assert_int_equal(weft_snapshot_new(&s), 0);
	put(s, CDS, static_cluster("a", 1), "1");
	assert_int_equal(weft_saved_encode(&head, s, &diag, &data, &len), 0);
	body = len - first;
	twice = malloc(len + body);
	assert_non_null(twice);
	memcpy(twice, data, len);
	memcpy(twice + len, data + first, body);
	both = 2 * body;
	memcpy(twice + 16, &both, sizeof(both));
	sum(twice, len + body);
	decode(twice, len + body, "is there twice");
	free(twice);
	free(data);
	weft_snapshot_free(s);
}

static void refused_file(int err, const char *reason)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	int64_t ms;

	assert_int_equal(weft_saved_read(path, IDENTITY, &diag, &ms, &s), err);
	assert_int_equal(diag.n, 1);
	assert_non_null(strstr(diag.entries[0].reason, reason));
	assert_null(s);
}

static void test_files_that_are_refused(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = sample();

	(void)state;
	assert_int_equal(weft_saved_write(path, &head, s, &diag), 0);
	assert_int_equal(chmod(path, 0620), 0);
	refused_file(-EPERM, "others may write to it");
	assert_int_equal(chmod(path, 0600), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
		refused_file(-EPERM, "belongs to another user");
		assert_int_equal(chown(path, 0, (gid_t)-1), 0);
	}
	assert_int_equal(truncate(path, (off_t)WEFT_SAVED_MAX + 1), 0);
	refused_file(-EFBIG, "is larger than 268435456 bytes");
	assert_int_equal(truncate(path, 10), 0);
	refused_file(-EINVAL, "is none");
	unlink(path);
	assert_int_equal(symlink("/dev/null", path), 0);
	refused_file(-ELOOP, "open: ");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused_file(-EINVAL, "is no regular file");
	unlink(path);
	weft_snapshot_free(s);
}

static void test_write_that_fails_leaves_the_old(void **state)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = sample(), *again;
	int64_t ms;

	(void)state;
	assert_int_equal(weft_saved_write(path, &head, s, &diag), 0);
	assert_int_equal(mkdir(fresh, 0700), 0);
	assert_int_equal(weft_saved_write(path, &head, s, &diag), -EEXIST);
	assert_string_equal(diag.entries[0].resource, fresh);
	assert_int_equal(rmdir(fresh), 0);
	assert_int_equal(weft_saved_read(path, IDENTITY, &diag, &ms, &again), 0);
	weft_snapshot_free(again);
	weft_snapshot_free(s);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_every_cut_is_refused),
		cmocka_unit_test(test_every_changed_byte_is_refused),
		cmocka_unit_test(test_other_version_and_node),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_files_that_are_refused),
		cmocka_unit_test(test_write_that_fails_leaves_the_old),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
