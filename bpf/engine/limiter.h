/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * What the agent gives the engine for rate limits that are more than a bucket in the image: buckets
 * of descriptors, and rate limit services. Native only.
 */

#include <stdbool.h>

#include "bpf/abi/global.h"
#include "bpf/abi/image.h"

/* A bucket of a descriptor, and what a request asks of it. */
struct weft_rate_ask {
	__u32 pod, id, index; /* pod, state id of the limit, place of the descriptor in it; of one
				 without wildcards its own state id, and 0 */
	__u32 max; /* buckets of this descriptor, one for each key; the one used longest ago goes */
	const struct weft_img_bucket *bucket;
	const void *key;
	__u32 key_len;
	bool take; /* else it is only looked at */
	__u64 hits;
	__u64 now_ns;
};
/* Who keeps these buckets. pay(): 1: the tokens are there, 0: they are not; the word
 * (weft_cell_bucket) after it. Any thread. */
struct weft_rates {
	int (*pay)(struct weft_rates *rates, const struct weft_rate_ask *ask, __u64 *ret_word);
	/* The cell of a descriptor that programs pay from as well, made if it is not there. 0: it
	 * cannot be, pay() keeps the bucket. NULL: it never can. */
	__u32 (*cell)(struct weft_rates *rates, __u32 pod, __u32 id);
};
/*
 * As Envoy's bucket: 1: `hits` tokens are taken from the one of this word (weft_cell_bucket), 0: it
 * has fewer, or none are asked for, and the word stays.
 */
int weft_bucket_pay(__u64 *word, const struct weft_img_bucket *b, __u64 hits, __u64 now_ns);
/* It has all its tokens: as good as a new one. full: weft_img_bucket.full. */
bool weft_bucket_is_full(__u64 word, __u64 full, __u64 now_ns);
struct weft_req;
/* What a rate limit service said: nothing was asked; the request waits for its answer. */
enum weft_verdict {
	WEFT_VERDICT_NONE,
	WEFT_VERDICT_WAIT,
	WEFT_VERDICT_OK,
	WEFT_VERDICT_OVER,
	WEFT_VERDICT_ERROR,
};
struct weft_rate_text {
	const __u8 *p;
	__u32 len;
};
struct weft_rate_found {
	struct weft_rate_text key, value;
};
/* One filter's question about a request. */
struct weft_question {
	__u32 place; /* of the filter in its chain */
	__u32 key;   /* hash of its name */
	const struct weft_img_global_limit *config;
	const struct weft_img_global_route *route; /* NULL: no override */
	struct weft_img_str domain;
};
/*
 * Who asks rate limit services, for one request at a time. begin(), then descriptor() for each one,
 * then ask(): NONE without descriptors; done() after descriptors of what is asked when the request
 * is over. pass(): the request goes on with this verdict; fields may be added to it. metadata(): a
 * value that an answer has set, p NULL: none. hits: NULL, none are said. What they are given stays
 * as long as the call.
 */
struct weft_limiter {
	void (*begin)(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q);
	void (*descriptor)(struct weft_limiter *l, const struct weft_rate_found *e, __u32 n,
			   const struct weft_img_rate_rule *rule, const __u64 *hits);
	enum weft_verdict (*ask)(struct weft_limiter *l, struct weft_req *req,
				 const struct weft_question *q);
	void (*done)(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q);
	void (*pass)(struct weft_limiter *l, struct weft_req *req, const struct weft_question *q,
		     enum weft_verdict v);
	struct weft_rate_text (*metadata)(struct weft_limiter *l,
					  const struct weft_img_rate_path *path);
};
/* x-ratelimit-limit, -remaining, -reset (seconds) of one filter. */
struct weft_rate_told {
	__u64 limit, remaining, reset;
};
