// SPDX-License-Identifier: Apache-2.0
#include "xds/body.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "xds/clock.h"

static struct {
	pthread_mutex_t lock;
	struct weft_body **bucket;
	size_t n_bucket; /* power of two; 0: none yet */
	size_t n, users;
	uint64_t secret;
	bool has_secret;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held, as all that follow but for the functions of the header. */
static uint64_t secret(void)
{
	if (!pool.has_secret &&
	    getrandom(&pool.secret, sizeof(pool.secret), 0) != sizeof(pool.secret))
		pool.secret = weft_clock_ns(CLOCK_REALTIME);
	pool.has_secret = true;
	return pool.secret;
}

static bool is(const struct weft_body *b, enum weft_xds_type type, size_t len,
	       const uint64_t key[2])
{
	return b->type == type && b->len == len && b->key[0] == key[0] && b->key[1] == key[1];
}

static struct weft_body *find(enum weft_xds_type type, size_t len, const uint64_t key[2])
{
	struct weft_body *b = pool.n_bucket ? pool.bucket[key[0] & (pool.n_bucket - 1)] : NULL;

	while (b && !is(b, type, len, key))
		b = b->next;
	if (b) {
		b->refs++;
		pool.users++;
	}
	return b;
}

static bool grow(void)
{
	size_t n = pool.n_bucket ? pool.n_bucket * 2 : 1024;
	struct weft_body **bucket;

	if (pool.n < pool.n_bucket)
		return true;
	bucket = calloc(n, sizeof(struct weft_body *));
	if (!bucket)
		return pool.n_bucket > 0;
	for (size_t i = 0; i < pool.n_bucket; i++) {
		for (struct weft_body *b = pool.bucket[i], *next; b; b = next) {
			struct weft_body **to = &bucket[b->key[0] & (n - 1)];

			next = b->next;
			b->next = *to;
			*to = b;
		}
	}
	free(pool.bucket);
	pool.bucket = bucket;
	pool.n_bucket = n;
	return true;
}

struct weft_body *weft_body_find(enum weft_xds_type type, const uint8_t *data, size_t len,
				 uint64_t ret_key[2])
{
	struct weft_body *b;
	XXH128_hash_t hash;
	uint64_t seed;

	pthread_mutex_lock(&pool.lock);
	seed = secret();
	pthread_mutex_unlock(&pool.lock);
	hash = XXH3_128bits_withSeed(data, len, seed);
	ret_key[0] = hash.low64;
	ret_key[1] = hash.high64;
	pthread_mutex_lock(&pool.lock);
	b = find(type, len, ret_key);
	pthread_mutex_unlock(&pool.lock);
	return b;
}

static void contents_free(const struct weft_body *b)
{
	protobuf_c_message_free_unpacked(b->msg, NULL);
	free(b->name);
}

struct weft_body *weft_body_add(const struct weft_body *from)
{
	struct weft_body *b, *made = malloc(sizeof(*made));

	if (!made)
		return NULL;
	pthread_mutex_lock(&pool.lock);
	b = find(from->type, from->len, from->key);
	if (!b && grow()) {
		struct weft_body **to = &pool.bucket[from->key[0] & (pool.n_bucket - 1)];

		b = made;
		*b = *from;
		b->refs = 1;
		b->next = *to;
		*to = b;
		pool.n++;
		pool.users++;
	}
	pthread_mutex_unlock(&pool.lock);
	if (b != made) {
		free(made);
		if (b)
			contents_free(from);
	}
	return b;
}

void weft_body_unref(struct weft_body *b)
{
	struct weft_body **p;

	pthread_mutex_lock(&pool.lock);
	pool.users--;
	if (--b->refs) {
		pthread_mutex_unlock(&pool.lock);
		return;
	}
	for (p = &pool.bucket[b->key[0] & (pool.n_bucket - 1)]; *p != b;)
		p = &(*p)->next;
	*p = b->next;
	if (!--pool.n) { /* a process that ends leaves nothing */
		free(pool.bucket);
		pool.bucket = NULL;
		pool.n_bucket = 0;
	}
	pthread_mutex_unlock(&pool.lock);
	contents_free(b);
	free(b);
}

void weft_body_stats(size_t *ret_bodies, size_t *ret_users)
{
	pthread_mutex_lock(&pool.lock);
	*ret_bodies = pool.n;
	*ret_users = pool.users;
	pthread_mutex_unlock(&pool.lock);
}
