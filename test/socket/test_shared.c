// SPDX-License-Identifier: Apache-2.0
/* One state under many hands; and what is left when the agent is gone. */

#include "world.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKENS 2000u
#define CLIENTS 4

static uint32_t passed, refused, from_agent;

static void *client_run(void *arg)
{
	int fd = vip_connect(1);
	struct answer a;

	(void)arg;
	for (uint32_t i = 0; i < TOKENS; i++) {
		/* some go to the agent, which takes from the same bucket */
		send_get(fd, "/limit", i % 5 == 4 ? "Expect: 100-continue\r\n" : "");
		recv_answer(fd, false, &a);
		__atomic_add_fetch(a.status == 200 ? &passed : &refused, 1, __ATOMIC_RELAXED);
	}
	finish(fd);
	return NULL;
}

static void *taker_run(void *arg)
{
	const struct weft_img_bucket *b = weft_img_at(world.image.limit_bucket);
	uint32_t cell = weft_cell_find(WORLD_POD, FIX_CELL_LIMIT);
	struct timespec ts, step = {.tv_nsec = 200000};

	(void)arg;
	for (int i = 0; i < 500; i++) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		if (weft_bucket_take(cell, b, (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec))
			from_agent++;
		nanosleep(&step, NULL);
	}
	return NULL;
}

/* Clients on every CPU, the programs, the agent's connections and a thread of its own: the tokens are all that pass. */
static void bucket_is_exact(void **state)
{
	pthread_t client[CLIENTS], taker;

	(void)state;
	world.image.limit_tokens = TOKENS;
	fix_image_publish(&world.image);
	assert_int_equal(pthread_create(&taker, NULL, taker_run, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&client[i], NULL, client_run, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(client[i], NULL);
	pthread_join(taker, NULL);
	assert_int_equal(passed + refused, CLIENTS * TOKENS);
	assert_true(from_agent > 0);
	assert_int_equal(passed + from_agent, TOKENS);
	world_drained();
}

static void second_agent_is_refused(void **state)
{
	struct weft_kernel_config cfg = {.cgroup = world.cgroup};
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_kernel *k = NULL;

	(void)state;
	assert_int_equal(weft_kernel_open(&cfg, &diag, &k), -EBUSY);
	assert_non_null(strstr(diag.entries[0].reason, "another weft-agent"));
	weft_diag_clear(&diag);
}

/* Nothing is pinned: with the programs gone, connect() goes where it was asked to. */
static void gone_is_as_without(void **state)
{
	struct sockaddr_in a = vip4(1), got;
	struct weft_kernel *k = world.kernel;
	socklen_t len = sizeof(got);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, fd;
	struct weft_kernel_config cfg = {.cgroup = world.cgroup};
	struct weft_diag diag = WEFT_DIAG_INIT;

	(void)state;
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(server, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(server, 8), 0);
	fd = vip_connect(1);
	expect(fd, "/deny", 403, false); /* not that server */
	finish(fd);
	world_drained();
	world.kernel = NULL;
	weft_kernel_close(k);
	fd = vip_connect(1);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&got, &len), 0);
	assert_int_equal(got.sin_addr.s_addr, a.sin_addr.s_addr);
	int peer = accept(server, NULL, NULL);

	assert_true(peer >= 0);
	send_text(fd, "x");
	assert_int_equal(recv(peer, &one, 1, 0), 1);
	close(peer);
	close(fd);
	close(server);
	/* and the next agent starts */
	assert_int_equal(weft_kernel_open(&cfg, &diag, &world.kernel), 0);
	assert_int_equal(weft_kernel_attach(world.kernel, &diag), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket_is_exact),
		cmocka_unit_test(second_agent_is_refused),
		cmocka_unit_test(gone_is_as_without),
	};

	world_need_root();
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
