// SPDX-License-Identifier: Apache-2.0
#include "agent/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/log.h"
#include "xds/saved.h"

struct weft_keeper {
	char *path, *identity;
	struct weft_snapshot *waiting; /* NULL: nothing changed since the last write began */
	int64_t next_ms;	       /* no write before */
	pthread_t thread;
	bool thread_runs; /* to be joined */

	/* Of the thread while `writing`. */
	struct weft_snapshot *taken;

	pthread_mutex_t lock; /* all below */
	bool writing;
	uint64_t writes, failures;
	char *error;
};

int weft_keeper_new(const char *path, const char *identity, struct weft_keeper **ret)
{
	struct weft_keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	pthread_mutex_init(&k->lock, NULL);
	k->path = strdup(path);
	k->identity = strdup(identity);
	if (!k->path || !k->identity) {
		weft_keeper_free(k);
		return -ENOMEM;
	}
	*ret = k;
	return 0;
}

/* Takes over text, NULL: all is well. */
static void error_set(struct weft_keeper *k, char *text)
{
	pthread_mutex_lock(&k->lock);
	free(k->error);
	k->error = text;
	pthread_mutex_unlock(&k->lock);
}

static void write_now(struct weft_keeper *k, const struct weft_snapshot *s)
{
	_cleanup_diag_ struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_saved_head head = {.identity = k->identity};
	struct timespec ts;
	int err;

	clock_gettime(CLOCK_REALTIME, &ts);
	head.saved_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	err = weft_saved_write(k->path, &head, s, &diag);
	error_set(k, err ? weft_diag_text(&diag) : NULL);
	pthread_mutex_lock(&k->lock);
	k->writes += !err;
	k->failures += err != 0;
	if (err)
		WEFT_LOG(WEFT_LOG_ERROR, "configuration is not saved, what was saved before stays",
			 WEFT_KV_S("path", k->path),
			 WEFT_KV_S("reason", k->error ? k->error : strerror(-err)));
	pthread_mutex_unlock(&k->lock);
}

static void *write_thread(void *arg)
{
	struct weft_keeper *k = arg;

	write_now(k, k->taken);
	weft_snapshot_free(k->taken);
	k->taken = NULL;
	pthread_mutex_lock(&k->lock);
	k->writing = false;
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

static void thread_join(struct weft_keeper *k)
{
	if (k->thread_runs)
		pthread_join(k->thread, NULL);
	k->thread_runs = false;
}

void weft_keeper_free(struct weft_keeper *k)
{
	if (!k)
		return;
	thread_join(k);
	if (k->waiting)
		write_now(k, k->waiting);
	weft_snapshot_free(k->waiting);
	pthread_mutex_destroy(&k->lock);
	free(k->path);
	free(k->identity);
	free(k->error);
	free(k);
}

int weft_keeper_put(struct weft_keeper *k, const struct weft_snapshot *s)
{
	struct weft_snapshot *copy;
	int err = weft_snapshot_clone(s, &copy);

	if (err)
		return err;
	weft_snapshot_free(k->waiting);
	k->waiting = copy;
	return 0;
}

static bool is_writing(struct weft_keeper *k)
{
	bool writing;

	pthread_mutex_lock(&k->lock);
	writing = k->writing;
	pthread_mutex_unlock(&k->lock);
	return writing;
}

void weft_keeper_tick(struct weft_keeper *k, int64_t now_ms)
{
	if (!k->waiting || now_ms < k->next_ms || is_writing(k))
		return;
	thread_join(k);
	k->taken = k->waiting;
	k->waiting = NULL;
	k->writing = true;
	k->next_ms = now_ms + WEFT_KEEPER_INTERVAL_MS;
	k->thread_runs = pthread_create(&k->thread, NULL, write_thread, k) == 0;
	if (!k->thread_runs) {
		/* Tried again at the next turn. */
		k->writing = false;
		k->waiting = k->taken;
		k->taken = NULL;
	}
}

int weft_keeper_load(struct weft_keeper *k, struct weft_diag *diag, int64_t *ret_saved_ms,
		     struct weft_snapshot **ret)
{
	int err = weft_saved_read(k->path, k->identity, diag, ret_saved_ms, ret);

	error_set(k, err ? weft_diag_text(diag) : NULL);
	return err;
}

json_t *weft_keeper_json(struct weft_keeper *k)
{
	json_t *j;

	pthread_mutex_lock(&k->lock);
	j = json_pack("{s:s, s:I, s:I, s:s?}", "path", k->path, "writes", (json_int_t)k->writes,
		      "failures", (json_int_t)k->failures, "error", k->error);
	pthread_mutex_unlock(&k->lock);
	return j;
}
