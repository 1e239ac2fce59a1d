// SPDX-License-Identifier: Apache-2.0
/* The hand-over with the kernel, whose part is played here: records that are honoured or not, and the way back. */
#include "proxy_fixture.h"

static struct fix_answer a;
static uint32_t slot;

#define ROUTES                                                                                                 \
	"{match: {prefix: /one}, direct_response: {status: 200, body: {inline_string: one}}}, "                \
	"{match: {prefix: /two}, direct_response: {status: 200, body: {inline_string: two}}}, "                \
	"{match: {prefix: /half, runtime_fraction: {default_value: {numerator: 50}}}, "                        \
	"direct_response: {status: 200, body: {inline_string: low}}}, "                                        \
	"{match: {prefix: /half}, direct_response: {status: 200, body: {inline_string: high}}}, " FIX_ROUTE

static void upstream(int fd)
{
	char head[8192];

	while (fix_head_read(fd, head, sizeof(head)))
		send(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 40, MSG_NOSIGNAL);
}

static void start(const char *hcm)
{
	fix_server(upstream);
	fix_open_http(hcm, ROUTES, "", 1, 1);
	slot = weft_slot_get();
	assert_int_not_equal(slot, 0);
	fix.dst.slot = slot;
	fix.dst.gen = 7;
}

/* What sk_msg does before bytes go to the agent: `passed` counts all of them. */
static void pass(uint64_t passed)
{
	__atomic_store_n(&weft_slot_at(slot)->word, WEFT_OWNER_AGENT << WEFT_OWNER_SHIFT | passed, __ATOMIC_RELEASE);
}

static uint64_t owner(void)
{
	return __atomic_load_n(&weft_slot_at(slot)->word, __ATOMIC_ACQUIRE) >> WEFT_OWNER_SHIFT;
}

static bool given_back(void)
{
	for (int i = 0; i < 200 && owner() != WEFT_OWNER_KERNEL; i++)
		fix_sleep(5);
	return owner() == WEFT_OWNER_KERNEL;
}

static struct weft_req req;
static uint8_t head_bytes[WEFT_NATIVE_HEAD_MAX + 1024];

/* The engine's decision on a head, as the program would make it. */
static void decide(const char *head, struct weft_ctx *ctx)
{
	*ctx = (struct weft_ctx){.pod = FIX_POD, .dst = fix.dst.dst, .now_ns = fix_now_ms() * 1000000};
	assert_int_equal(weft_ctx_begin(ctx), 0);
	assert_int_equal(weft_listener_find(ctx), 0);
	assert_int_equal(weft_req_begin(&req, ctx, weft_chain_find(ctx, WEFT_PROTO_RAW)), 0);
	req.head = head_bytes;
	req.len = (uint32_t)strlen(head);
	memcpy(head_bytes, head, req.len);
	assert_int_equal(weft_http1_parse(&req), WEFT_PARSE_OK);
	for (int i = 0, r = -ENOENT; r && i < 4; i++) {
		r = weft_decide(&req, ctx);
		if (r)
			weft_store_cell(fix.offline.store, FIX_POD, req.dec.need_cell);
	}
}

static void record(const struct weft_record *rec)
{
	struct weft_record *r = &weft_slot_at(slot)->rec;
	struct weft_record copy = *rec;

	copy.exchange = r->exchange;
	*r = copy;
	__atomic_store_n(&r->exchange, rec->exchange, __ATOMIC_RELEASE);
}

#define ONE "GET /one HTTP/1.1\r\nhost: a\r\n\r\n"
#define TWO "GET /two HTTP/1.1\r\nhost: a\r\n\r\n"

/* A record that says "two" of a head that asks for "one": what the agent does with it can be told apart. */
static struct weft_record two_of_one(uint32_t exchange, uint64_t position)
{
	struct weft_record rec = {.exchange = exchange, .position = position};
	struct weft_ctx ctx;

	decide(TWO, &ctx);
	rec.epoch = ctx.epoch;
	rec.outcome = req.dec.outcome;
	rec.route = req.dec.route;
	rec.vhost = req.dec.vhost;
	rec.reply = req.dec.reply;
	rec.hash = weft_hash_head(ONE, strlen(ONE));
	return rec;
}

static void ask(int fd, const char *body)
{
	fix_say(fd, ONE);
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body, body);
}

static void test_records(void **state)
{
	const uint64_t len = strlen(ONE);
	struct weft_proxy_stats s;
	struct weft_record rec;
	int fd;

	(void)state;
	start("");
	fd = fix_dial();
	pass(0);
	ask(fd, "one"); /* nothing was recorded */
	rec = two_of_one(1, len);
	record(&rec);
	ask(fd, "two");
	ask(fd, "one"); /* each record is used once */
	rec = two_of_one(2, 3 * len);
	rec.hash ^= 1;
	record(&rec);
	ask(fd, "one");
	rec = two_of_one(3, 4 * len + 1);
	record(&rec);
	ask(fd, "one");
	rec = two_of_one(4, 5 * len);
	rec.epoch++;
	record(&rec);
	ask(fd, "one");
	rec = two_of_one(5, 6 * len);
	rec.outcome = WEFT_OUTCOME_NONE;
	record(&rec);
	ask(fd, "one");
	rec = two_of_one(6, 7 * len);
	record(&rec);
	ask(fd, "two");
	weft_proxy_stats(fix.proxy, &s);
	assert_int_equal(s.decisions_honoured, 2);
	assert_true(s.decisions_dropped >= 2);
	close(fd);
	fix_close();
}

/* A record that lies ahead waits for its head. */
static void test_record_ahead(void **state)
{
	const uint64_t len = strlen(ONE);
	struct weft_record rec;
	int fd;

	(void)state;
	start("");
	fd = fix_dial();
	pass(0);
	rec = two_of_one(1, 2 * len);
	record(&rec);
	fix_say(fd, ONE ONE ONE ONE);
	for (int i = 0; i < 4; i++) {
		assert_true(fix_hear(fd, &a));
		assert_string_equal(a.body, i == 2 ? "two" : "one");
	}
	close(fd);
	fix_close();
}

static void test_give_back(void **state)
{
	const uint64_t len = strlen(ONE);
	uint64_t got;
	int fd;

	(void)state;
	start("");
	fd = fix_dial();
	pass(len);
	ask(fd, "one");
	got = strlen(a.head) + a.len;
	assert_true(given_back());
	assert_int_equal(weft_slot_at(slot)->word & WEFT_PASSED_MASK, len);
	assert_int_equal(__atomic_load_n(&weft_slot_at(slot)->agent_tx, __ATOMIC_ACQUIRE), got);
	/* more was passed than has come: the agent keeps it */
	pass(3 * len);
	ask(fd, "one");
	fix_sleep(50);
	assert_int_equal(owner(), WEFT_OWNER_AGENT);
	ask(fd, "one");
	assert_true(given_back());
	/* an exchange with an upstream is open: not before its answer is out */
	pass(3 * len + 28);
	fix_say(fd, "GET /up HTTP/1.1\r\nhost: a\r\n\r");
	fix_sleep(50);
	assert_int_equal(owner(), WEFT_OWNER_AGENT);
	pass(3 * len + 29);
	fix_say(fd, "\n");
	assert_true(fix_hear(fd, &a));
	assert_string_equal(a.body, "ok");
	assert_true(given_back());
	close(fd);
	for (int i = 0; i < 200 && !__atomic_load_n(&fix.released, __ATOMIC_RELAXED); i++)
		fix_sleep(5);
	assert_int_equal(FIX_LOAD(fix.released), 1);
	fix_close();
}

#define LIMIT                                                                                                  \
	"http_filters: [{name: l, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http." \
	"local_ratelimit.v3.LocalRateLimit, stat_prefix: l, token_bucket: {max_tokens: 3, tokens_per_fill: 1, " \
	"fill_interval: 3600s}, filter_enabled: {default_value: {numerator: 100}}, filter_enforced: "            \
	"{default_value: {numerator: 100}}}}, {name: r, typed_config: {\"@type\": type.googleapis.com/envoy."   \
	"extensions.filters.http.router.v3.Router}}],"

/* One of three tokens is paid by a record of another image: how many more are answered. */
static void paid_by_record(bool recycled, int more)
{
	struct weft_record rec;
	struct weft_ctx ctx;
	int fd;

	start(LIMIT);
	decide(ONE, &ctx); /* takes one of three */
	assert_int_equal(req.dec.n_paid, 1);
	rec = (struct weft_record){.exchange = 1, .epoch = ctx.epoch + 1, .outcome = req.dec.outcome, .n_paid = 1};
	rec.hash = weft_hash_head(ONE, strlen(ONE));
	rec.paid[0] = req.dec.paid[0];
	weft_cell_bucket(rec.paid[0])->since = recycled ? rec.epoch + 1 : 0;
	fd = fix_dial();
	pass(0);
	record(&rec);
	for (int i = 0; i < more; i++)
		ask(fd, "one");
	ask(fd, "local_rate_limited");
	assert_int_equal(a.status, 429);
	close(fd);
	fix_close();
}

/* The head has paid, although its decision is of another image: no second token is taken. */
static void test_paid_once(void **state)
{
	(void)state;
	paid_by_record(false, 3);
}

/* What it paid was a bucket that is gone; this one, in the same cell, has got nothing. */
static void test_paid_to_another(void **state)
{
	(void)state;
	paid_by_record(true, 2);
}

/* A head that is decided again takes the route that its random value gave the first time. */
static void test_random_is_shared(void **state)
{
	static const char half[] = "GET /half HTTP/1.1\r\nhost: a\r\n\r\n";
	struct weft_record rec;
	struct weft_ctx ctx;
	int fd;

	(void)state;
	start("");
	fd = fix_dial();
	pass(0);
	for (uint32_t i = 0; i < 16; i++) {
		decide(half, &ctx);
		rec = (struct weft_record){.exchange = i + 1,
					   .position = i * strlen(half),
					   .epoch = ctx.epoch + 1,
					   .random = 1049 + i * 7};
		rec.hash = weft_hash_head(half, (uint32_t)strlen(half));
		record(&rec);
		fix_say(fd, half);
		assert_true(fix_hear(fd, &a));
		assert_string_equal(a.body, rec.random % 100 < 50 ? "low" : "high");
	}
	close(fd);
	fix_close();
}

/* Requests that the kernel answers are a sign of life: the idle timeout counts from the last of them. */
static void test_idle_counts_the_kernel(void **state)
{
	uint64_t last = 0;
	int fd;

	(void)state;
	start("common_http_protocol_options: {idle_timeout: 0.3s}, drain_timeout: 0.1s,");
	fd = fix_dial();
	pass(strlen(ONE));
	ask(fd, "one");
	assert_true(given_back());
	for (int i = 0; i < 12; i++) {
		last = fix_now_ms();
		__atomic_store_n(&weft_slot_at(slot)->active, (uint32_t)(last * 1000000 >> 20), __ATOMIC_RELEASE);
		assert_true(fix_silent(fd, 100)); /* no end */
	}
	assert_true(fix_ended(fd));
	assert_true(fix_now_ms() - last >= 290);
	close(fd);
	/* the kernel has not answered for long: it ends in its time */
	__atomic_store_n(&weft_slot_at(slot)->active, (uint32_t)((last - 100000) * 1000000 >> 20), __ATOMIC_RELEASE);
	fd = fix_dial();
	last = fix_now_ms();
	ask(fd, "one");
	assert_true(fix_ended(fd));
	assert_true(fix_now_ms() - last >= 290);
	close(fd);
	fix_close();
}

static void expect_listed(bool with, const char *why)
{
	json_t *list = weft_proxy_connections(fix.proxy, 10);
	const json_t *one = json_array_get(list, 0), *no_slot = json_object_get(one, "no_slot");

	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(json_is_true(json_object_get(one, "slot")), with);
	assert_non_null(no_slot);
	assert_int_equal(json_is_null(no_slot), !why);
	if (why)
		assert_string_equal(json_string_value(no_slot), why);
	json_decref(list);
}

/* A connection without a slot is judged all the same, and tells why it has none. */
static void test_without_slot(void **state)
{
	int fd;

	(void)state;
	start("");
	fd = fix_dial();
	pass(0);
	ask(fd, "one");
	expect_listed(true, NULL);
	close(fd);
	fix_close();
	start("");
	fix.dst.slot = 0;
	fix.dst.why = WEFT_HANDED_POD_SLOTS;
	fd = fix_dial();
	ask(fd, "one");
	expect_listed(false, "pod_slots");
	close(fd);
	fix_close();
	fix.dst.why = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {FIX_TEST(test_records), FIX_TEST(test_record_ahead),
					   FIX_TEST(test_give_back), FIX_TEST(test_paid_once),
					   FIX_TEST(test_random_is_shared),
					   FIX_TEST(test_idle_counts_the_kernel),
					   FIX_TEST(test_without_slot), FIX_TEST(test_paid_to_another)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
