// SPDX-License-Identifier: Apache-2.0
#include "image.h"
#include "bpf/abi/rate.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weft_addr fix_addr4(const char *text)
{
	struct weft_addr a = {.w = {0, 0, htonl(0xffff)}};

	assert(inet_pton(AF_INET, text, &a.w[3]) == 1);
	return a;
}

struct weft_addr fix_addr6(const char *text)
{
	struct weft_addr a;

	assert(inet_pton(AF_INET6, text, a.w) == 1);
	return a;
}

static __u32 put(struct fix_image *f, const void *bytes, size_t len)
{
	__u32 off = f->used;

	if (bytes)
		memcpy(f->img + off, bytes, len);
	f->used += (__u32)((len + 64 + 7) & ~(size_t)7);
	return off;
}

static struct weft_img_str str(struct fix_image *f, const char *s)
{
	return (struct weft_img_str){put(f, s, strlen(s)), (__u32)strlen(s)};
}

static __u32 reply(struct fix_image *f, int status, const char *body)
{
	size_t cap = strlen(body) + 512;
	char *text = malloc(cap);
	struct weft_img_reply r = {.status = (__u16)status};
	int n;

	assert(text);
	n = snprintf(text, cap, "HTTP/1.1 %d Test\r\ndate: ", status);
	r.date_off = (__u32)n;
	n += snprintf(text + n, cap - (size_t)n,
		      "Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: %zu\r\n", strlen(body));
	r.insert_off = r.head_off = (__u32)n;
	n += snprintf(text + n, cap - (size_t)n, "\r\n");
	r.head_len = (__u32)n;
	n += snprintf(text + n, cap - (size_t)n, "%s", body);
	r.len = (__u32)n;
	r.data = put(f, text, (size_t)n);
	free(text);
	return put(f, &r, sizeof(r));
}

static __u32 accept_put(struct fix_image *f, __u32 index, __u32 route)
{
	struct weft_img_accept a = {.best = index, .best_route = route};

	return put(f, &a, sizeof(a));
}

static __u32 node(struct fix_image *f, const char *label, __u32 accept, __u32 exact, __u32 mask,
		  const __u32 *children)
{
	struct {
		struct weft_img_node n;
		__u32 child[32];
	} o = {.n = {.label = str(f, label).off,
		     .len = (__u16)strlen(label),
		     .child_mask = (__u16)mask,
		     .accept = accept,
		     .accept_exact = exact}};
	char first[8] = {0};

	strncpy(first, label, sizeof(first)); /* zero padded, not terminated */
	memcpy(&o.n.label8, first, sizeof(first));
	for (__u32 i = 0; children && i <= mask; i++)
		o.child[i] = children[i];
	return put(f, &o, sizeof(o));
}

static __u32 route(struct fix_image *f, __u32 index, enum weft_action kind, __u32 action,
		   __u32 override)
{
	struct weft_img_route r = {.name = str(f, "r"),
				   .index = index,
				   .action_kind = kind,
				   .action = action,
				   .n_override = override ? 1 : 0,
				   .override = override};

	return put(f, &r, sizeof(r));
}

static __u32 targets(struct fix_image *f, __u32 cluster)
{
	struct {
		struct weft_img_targets t;
		struct weft_img_target one;
	} o = {.t = {.n = 1, .total = 1}, .one = {.cluster = cluster, .weight = 1, .end = 1}};

	o.one.name = str(f, "cluster");
	return put(f, &o, sizeof(o));
}

static struct weft_img_bucket bucket(__u32 cell, __u32 tokens)
{
	struct weft_img_bucket b = {.cell = cell, .max_tokens = tokens};

	b.cost = 16ull * 1000000000 * 3600; /* one token an hour */
	b.full = b.cost * tokens;
	return b;
}

#define LIMIT_KEY 77u

/* Route configuration id: with all routes, or with /deny alone. */
static __u32 route_config(struct fix_image *f, bool all, const char *deny_body)
{
	__u32 child[32] = {0}, root;
	struct weft_img_rate_limit limit = {.bucket = bucket(FIX_CELL_LIMIT, f->limit_tokens),
					    .flags = WEFT_RATE_HAS_BUCKET,
					    .enabled = 1000000,
					    .enforced = 1000000};
	struct weft_img_override over = {.key = LIMIT_KEY, .kind = WEFT_FILTER_LOCAL_RATE_LIMIT};
	struct weft_img_forward forward = {.timeout_ms = 15000,
					   .no_cluster = WEFT_REPLY_NO_CLUSTER_503};
	struct weft_img_redirect redirect = {.host = str(f, "other.test")};
	struct weft_img_vhost vhost = {.name = str(f, "vhost")};
	struct weft_img_route_config rc = {.name = str(f, "routes")};
	__u32 deny = route(f, 0, WEFT_ACTION_DIRECT, reply(f, 403, deny_body), 0);

	child['d' & 31] = node(f, "deny", 0, accept_put(f, 0, deny), 0, NULL);
	if (all) {
		limit.reply = reply(f, 429, "local_rate_limited");
		f->limit_bucket = put(f, &limit, sizeof(limit)) +
				  (__u32)offsetof(struct weft_img_rate_limit, bucket);
		over.config = f->limit_bucket;
		redirect.reply = reply(f, 302, "");
		forward.targets = targets(f, 0);
		child['l' & 31] =
			node(f, "limit", 0,
			     accept_put(f, 1, route(f, 1, WEFT_ACTION_DIRECT, reply(f, 200, "within"),
						    put(f, &over, sizeof(over)))),
			     0, NULL);
		child['r' & 31] = node(f, "redir", 0,
				       accept_put(f, 2, route(f, 2, WEFT_ACTION_REDIRECT,
							      put(f, &redirect, sizeof(redirect)),
							      0)),
				       0, NULL);
		root = node(f, "/",
			    accept_put(f, 3, route(f, 3, WEFT_ACTION_FORWARD,
						   put(f, &forward, sizeof(forward)), 0)),
			    0, 31, child);
	} else {
		root = node(f, "/", 0, 0, 31, child);
	}
	vhost.trie = root;
	vhost.n_route = 4;
	rc.star = put(f, &vhost, sizeof(vhost));
	return put(f, &rc, sizeof(rc));
}

static __u32 hcm(struct fix_image *f, __u32 rc, __u32 max_requests)
{
	struct weft_img_filter filter = {.key = LIMIT_KEY,
					 .kind = WEFT_FILTER_LOCAL_RATE_LIMIT,
					 .disabled = 1};
	struct weft_img_hcm h = {.stat_prefix = str(f, "hcm"),
				 .server_name = str(f, "envoy"),
				 .route_config = rc,
				 .n_filter = 1,
				 .max_head = 60 * 1024,
				 .max_headers = 100,
				 .max_requests = max_requests};

	h.filter = put(f, &filter, sizeof(filter));
	for (int i = 0; i < WEFT_REPLY__MAX; i++)
		h.reply[i] = reply(f, i == WEFT_REPLY_NOT_FOUND ? 404 : 503, i ? "unavailable" : "");
	return put(f, &h, sizeof(h));
}

static __u32 listener(struct fix_image *f, __u32 kind, __u32 target, __u32 limit)
{
	struct weft_img_chain chain = {.name = str(f, "chain"), .kind = kind, .target = target};
	struct weft_img_chain_group group = {0};
	struct weft_img_listener l = {.name = str(f, "listener"), .n_group = 1};
	__u32 off;

	if (limit) {
		chain.n_conn_limit = 1;
		chain.conn_limit[0] = limit;
	}
	off = kind ? put(f, &chain, sizeof(chain)) : 0;
	for (int i = 0; i < WEFT_PROTO__MAX; i++)
		group.chain[i] = off;
	l.group = put(f, &group, sizeof(group));
	return put(f, &l, sizeof(l));
}

static __u32 cluster(struct fix_image *f, enum weft_cluster_type type, __u32 cell, __u32 max)
{
	struct weft_img_cluster c = {.name = str(f, "cluster"),
				     .type = type,
				     .cell = cell,
				     .connect_timeout_ms = 5000,
				     .choice_count = 2};

	for (int i = 0; i < WEFT_PRIORITY__MAX; i++)
		c.threshold[i] = (struct weft_img_thresholds){.max_connections = max,
							      .max_pending = 1024,
							      .max_requests = 1024,
							      .max_retries = 3,
							      .max_per_host = WEFT_THRESHOLD_NONE,
							      .max_pools = WEFT_THRESHOLD_NONE};
	return put(f, &c, sizeof(c));
}

static __u32 endpoints(struct fix_image *f)
{
	struct weft_img_endpoint e = {.addr = f->endpoint, .weight = 1, .cell = FIX_CELL_TCP_EP};
	__u32 host = 0;
	struct weft_img_host_set set = {.load_end = 100, .n_host = 1};
	struct weft_img_endpoints all = {.n = 1, .n_set = 1};

	set.host = put(f, &host, sizeof(host));
	all.endpoint = put(f, &e, sizeof(e));
	all.set = put(f, &set, sizeof(set));
	return put(f, &all, sizeof(all));
}

static __u32 addr_table(struct fix_image *f, const __u32 *listeners)
{
	struct {
		struct weft_img_addr_tab t;
		struct weft_img_addr_ent e[64];
	} o = {.t = {.mask = 63}};

	for (int i = 1; i <= FIX_LISTENERS; i++)
		for (int v6 = 0; v6 < 2; v6++) {
			const struct weft_sockaddr *a = v6 ? &f->vip6[i] : &f->vip4[i];
			__u32 at = weft_hash_addr(&a->addr, a->port) & 63;

			if (!a->port)
				continue;
			while (o.e[at].port)
				at = (at + 1) & 63;
			o.e[at] = (struct weft_img_addr_ent){a->addr, a->port, listeners[i]};
		}
	return put(f, &o, sizeof(o));
}

void fix_image_publish(struct fix_image *f)
{
	struct weft_img_head *head = (void *)f->img;
	struct weft_img_bucket conn = bucket(FIX_CELL_CONN, FIX_CONN_TOKENS);
	struct weft_img_view view = {0};
	struct weft_img_cluster_ref ref[5] = {0};
	struct {
		struct weft_img_root r;
		__u32 view[1];
	} root = {.r = {.epoch = ++f->epoch, .n_view = 1}};
	__u32 rc[3], l[FIX_LISTENERS + 1] = {0};
	char *big = calloc(1, WEFT_REPLY_MAX + 1);

	assert(big);
	memset(big, 'b', WEFT_REPLY_MAX);
	if (!f->used)
		f->used = 64;
	rc[0] = route_config(f, true, "no\n");
	rc[1] = route_config(f, false, "no\n");
	rc[2] = route_config(f, false, big);
	free(big);
	ref[0] = (struct weft_img_cluster_ref){
		cluster(f, WEFT_CLUSTER_ENDPOINTS, FIX_CELL_WEB, 1024), endpoints(f)};
	ref[1] = (struct weft_img_cluster_ref){
		cluster(f, WEFT_CLUSTER_ENDPOINTS, FIX_CELL_TCP, FIX_L4_MAX), endpoints(f)};
	ref[2].cluster = cluster(f, WEFT_CLUSTER_BLACKHOLE, FIX_CELL_TCP, 1024);
	ref[3] = (struct weft_img_cluster_ref){
		cluster(f, WEFT_CLUSTER_ENDPOINTS, FIX_CELL_TCP6, 1024), endpoints(f)};
	ref[4] = (struct weft_img_cluster_ref){
		cluster(f, WEFT_CLUSTER_ENDPOINTS, FIX_CELL_MISSING, 1024), endpoints(f)};
	l[1] = listener(f, WEFT_CHAIN_HTTP, hcm(f, 0, 0), 0);
	l[2] = listener(f, WEFT_CHAIN_HTTP, hcm(f, 1, 0), 0);
	l[3] = listener(f, WEFT_CHAIN_TCP, targets(f, 1), 0);
	l[4] = listener(f, WEFT_CHAIN_TCP, targets(f, 2), 0);
	l[5] = listener(f, 0, 0, 0);
	l[6] = listener(f, WEFT_CHAIN_TCP, targets(f, 3), put(f, &conn, sizeof(conn)));
	l[7] = listener(f, WEFT_CHAIN_TCP, targets(f, 4), 0);
	l[8] = listener(f, WEFT_CHAIN_HTTP, hcm(f, 2, 0), 0);
	l[9] = listener(f, WEFT_CHAIN_HTTP, hcm(f, 1, 3), 0);
	view.listener = addr_table(f, l);
	view.n_route_config = 3;
	view.route_config = put(f, rc, sizeof(rc));
	view.n_cluster = 5;
	view.cluster = put(f, ref, sizeof(ref));
	root.view[0] = put(f, &view, sizeof(view));
	head->magic = WEFT_IMG_MAGIC;
	head->abi = WEFT_ABI_VERSION;
	__atomic_store_n(&head->root, (__u64)f->epoch << 32 | put(f, &root, sizeof(root)),
			 __ATOMIC_RELEASE);
}

__u32 fix_cell(__u32 pod, __u32 id)
{
	struct weft_state_head *head = weft_state_head();
	__u8 *state = (__u8 *)head;
	struct weft_dir_ent *dir = (void *)(state + head->dir);
	__u32 at = weft_hash_cell(pod, id) & (head->n_dir - 1);
	__u64 key = (__u64)pod << 32 | id;
	/* this fixture's cells: pod and id name the place */
	__u32 cell = head->cell + ((pod & 7) * FIX_CELL__MAX + id) * WEFT_CELL_SIZE;

	while (dir[at].key && dir[at].key != key)
		at = (at + 1) & (head->n_dir - 1);
	dir[at].cell = cell;
	__atomic_store_n(&dir[at].key, key, __ATOMIC_RELEASE);
	return cell;
}
