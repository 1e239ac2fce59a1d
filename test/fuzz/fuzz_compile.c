// SPDX-License-Identifier: Apache-2.0
/*
 * Arbitrary resources, compiled, then arbitrary heads, decided. First byte even: the rest is bytes
 * that a configuration and heads are drawn from (resources.h); odd: the text of a file of
 * resources, then, behind a NUL, heads with NULs between them. Held to: what is refused has a
 * cause; no part of a decision depends on who makes it. Each head is judged as a program may judge
 * it and as the agent does, natively, and, where programs may be loaded, in the kernel.
 */

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/cleanup.h"
#include "agent/compile/build.h"
#include "agent/compile/compile.h"
#include "bpf/engine/engine.h"
#include "test/fuzz/resources.h"
#include "test/lib/twin.h"
#include "twin.skel.h"
#include "xds/any.h"
#include "xds/json.h"
#include "xds/lines.h"
#include "xds/yaml.h"

enum {
	IMG = 1 << 22,
	STATE = 1 << 19,
	POD = 1,
	CELLS = 256,
	ROOM = WEFT_NATIVE_HEAD_MAX + 4 * 65536
};

static struct twin_bpf *twin; /* NULL: natively only */
static struct weft_store_mem mem = {.img_size = IMG, .state_size = STATE};
static uint8_t saved[STATE];

static void need(int ok)
{
	if (!ok)
		abort();
}

/* ---- memory ---- */

static void twin_load(void)
{
	libbpf_set_print(NULL);
	twin = twin_bpf__open();
	need(twin != NULL);
	bpf_map__set_value_size(twin->maps.image, IMG + WEFT_IMAGE_SLACK);
	bpf_map__set_value_size(twin->maps.state, STATE + WEFT_STATE_SLACK);
	twin->rodata->img_mask = IMG - 1;
	twin->rodata->state_mask = STATE - 1;
	if (twin_bpf__load(twin)) {
		twin_bpf__destroy(twin);
		twin = NULL;
	}
}

static void *shared(struct bpf_map *map, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	need(p != MAP_FAILED);
	return p;
}

static void memory_begin(void)
{
	if (!mem.img) {
		twin_load();
		mem.img = twin ? shared(twin->maps.image, IMG + WEFT_IMAGE_SLACK)
			       : malloc(IMG + WEFT_IMAGE_SLACK);
		mem.state = twin ? shared(twin->maps.state, STATE + WEFT_STATE_SLACK)
				 : malloc(STATE + WEFT_STATE_SLACK);
	}
	need(mem.img && mem.state);
	memset(mem.img, 0, IMG + WEFT_IMAGE_SLACK);
	memset(mem.state, 0, STATE + WEFT_STATE_SLACK);
	need(!weft_state_layout(mem.state, STATE, 16, CELLS, 16));
	for (int i = 0; i < 2; i++)
		memcpy(((struct weft_state_head *)mem.state)->date[i],
		       "Sun, 06 Nov 1994 08:49:37 GMT", WEFT_DATE_LEN);
}

/* ---- resources ---- */

static void resource_add(const json_t *j, struct weft_snapshot *s, struct weft_diag *diag)
{
	const char *url = json_string_value(json_object_get(j, "@type"));
	enum weft_xds_type type = url ? weft_xds_type_from_url(url) : WEFT_XDS__MAX;
	struct weft_json_source source = {.resource = "fuzz"};
	ProtobufCMessage *msg = NULL;
	struct weft_resource *res = NULL;

	if (type == WEFT_XDS__MAX)
		return;
	json_t *bare = json_copy((json_t *)j);

	need(bare != NULL);
	json_object_del(bare, "@type");
	if (!weft_json_to_msg(weft_any_descriptor(strrchr(url, '/') + 1), bare, &source, diag,
			      &msg) &&
	    !weft_resource_from_msg(type, msg, "1", 0, diag, &res))
		need(!weft_snapshot_put(s, res));
	else
		need(diag->n > 0); /* refused without a cause */
	weft_resource_unref(res);
	json_decref(bare);
}

/* Every object of a tree of lists. */
static void resources_add(const json_t *j, struct weft_snapshot *s, struct weft_diag *diag)
{
	const json_t *e;
	size_t i;

	if (json_is_object(j))
		resource_add(j, s, diag);
	json_array_foreach(j, i, e) resources_add(e, s, diag);
}

static json_t *text_tree(const char *text, size_t len, struct weft_diag *diag)
{
	struct weft_lines *lines = NULL;
	json_t *tree = NULL;

	if (weft_yaml_parse(text, len, "fuzz", diag, &tree, &lines))
		need(diag->n > 0);
	weft_lines_free(lines);
	return tree;
}

/* ---- heads ---- */

struct judged {
	struct weft_ctx ctx;
	struct weft_req req;
	int parse, decide;
	uint8_t head[ROOM];
};

static void ctx_init(struct weft_ctx *ctx, uint32_t flags)
{
	*ctx = (struct weft_ctx){
		.pod = POD, .now_ns = 1000000000, .random = 0x9e3779b97f4a7c15ull, .flags = flags};
	need(weft_ip_parse("10.0.0.1", 80, &ctx->dst) &&
	     weft_ip_parse("10.1.0.1", 4000, &ctx->src));
}

/* false: no listener, or one that has no requests. */
static bool judge(struct judged *j, uint32_t flags, const uint8_t *head, size_t len,
		  struct weft_store *store)
{
	int r;

	ctx_init(&j->ctx, flags);
	memset(&j->req, 0, sizeof(j->req));
	j->req.head = j->head;
	j->decide = 0;
	if (weft_ctx_begin(&j->ctx) || weft_listener_find(&j->ctx) ||
	    weft_req_begin(&j->req, &j->ctx, weft_chain_find(&j->ctx, WEFT_PROTO_RAW)))
		return false;
	memcpy(j->head, head, len);
	memset(j->head + len, 0, 64);
	j->req.len = (uint32_t)len;
	j->parse = weft_http1_parse(&j->req);
	if (j->parse)
		return true;
	if (!(flags & WEFT_CTX_KERNEL)) {
		uint8_t *form = j->head + j->req.max_head + 1024;

		if (weft_req_form_path(
			    &j->req, form,
			    (uint32_t)(ROOM - WEFT_PREPARE_ROOM - (size_t)(form - j->head)))) {
			j->decide = 1;
			return true;
		}
		weft_req_prepare(&j->req, &j->ctx, "00000000-0000-4000-8000-000000000000",
				 j->head + ROOM - WEFT_PREPARE_ROOM, WEFT_PREPARE_ROOM);
	}
	for (int i = 0; (r = weft_decide(&j->req, &j->ctx)) == -ENOENT && i < 64; i++)
		if (!weft_store_cell(store, POD, j->req.dec.need_cell))
			break;
	j->decide = r;
	return true;
}

/* The reply's bytes, where there is one: all that it is made of lies in the image and the request.
 */
static void reply_write(const struct judged *j)
{
	static uint8_t out[1 << 20];
	struct weft_reply_plan plan;

	if (j->decide || !j->req.dec.reply || weft_reply_plan(&j->req, &j->ctx, &plan))
		return;
	need(plan.total <= sizeof(out));
	weft_reply_write(&j->req, &plan, out);
}

/* What counts of a decision: words behind the last are what a head before left. */
static struct weft_decision counts(struct weft_decision d)
{
	for (uint32_t i = d.n_paid; i < WEFT_PAID_MAX; i++)
		d.paid[i] = 0;
	return d;
}

/* What a program decides is the agent's decision too, which has more done to the request first. */
static void compare_agent(const struct weft_decision *k, const struct judged *agent)
{
	const struct weft_decision *a = &agent->req.dec;

	need(!agent->parse && !agent->decide);
	need(k->outcome == a->outcome && k->vhost == a->vhost && k->route == a->route &&
	     k->target == a->target && k->cluster == a->cluster && k->reply == a->reply &&
	     k->redirect == a->redirect);
}

/* What the program says of the same head, on the same state. */
static void compare_twin(const struct judged *want, const struct judged *agent, const uint8_t *head,
			 size_t len)
{
	static struct weft_req_bpf got;
	struct twin_io io = {.parse = 0};
	__u32 zero = 0;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = head, .data_size_in = (__u32)len, .repeat = 1);

	io.chain = weft_chain_find((struct weft_ctx *)&want->ctx, WEFT_PROTO_RAW);
	io.ctx.pod = POD;
	io.ctx.dst = want->ctx.dst;
	io.ctx.src = want->ctx.src;
	io.ctx.now_ns = want->ctx.now_ns;
	io.ctx.random = 0x9e3779b97f4a7c15ull;
	io.ctx.flags = WEFT_CTX_KERNEL;
	need(!bpf_map__update_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0));
	need(!bpf_prog_test_run_opts(bpf_program__fd(twin->progs.twin_decide), &o) &&
	     (int)o.retval >= 0);
	need(!bpf_map__lookup_elem(twin->maps.twin_io, &zero, 4, &io, sizeof(io), 0));
	need(!bpf_map__lookup_elem(twin->maps.twin_req, &zero, 4, &got, sizeof(got), 0));
	if (io.parse) {
		/* the program's parser takes less, never more */
		need(want->parse != WEFT_PARSE_OK || io.parse == WEFT_PARSE_UNSURE ||
		     io.parse == WEFT_PARSE_TOO_MANY || io.parse == WEFT_PARSE_TOO_LONG);
		return;
	}
	need(want->parse == WEFT_PARSE_OK && got.hash == want->req.hash &&
	     got.flags == want->req.flags && got.n_field == want->req.n_field &&
	     got.present == want->req.present);
	if (got.dec.handed)
		return;
	need(io.decide == want->decide);
	struct weft_decision program = counts(got.dec), native = counts(want->req.dec);

	need(!memcmp(&program, &native, offsetof(struct weft_decision, add)));
	if (!io.decide)
		compare_agent(&got.dec, agent);
}

static void head_try(const uint8_t *head, size_t len, struct weft_store *store)
{
	static struct judged kernel, agent;

	if (!len || len > 4000)
		return;
	/* once for the cells it needs; then everybody starts from the same state */
	if (!judge(&kernel, WEFT_CTX_KERNEL, head, len, store) ||
	    !judge(&agent, 0, head, len, store))
		return;
	memcpy(saved, mem.state, STATE);
	judge(&agent, 0, head, len, store);
	reply_write(&agent);
	memcpy(mem.state, saved, STATE);
	judge(&kernel, WEFT_CTX_KERNEL, head, len, store);
	reply_write(&kernel);
	memcpy(mem.state, saved, STATE);
	if (twin && len >= 14) /* the kernel wants an Ethernet header's worth */
		compare_twin(&kernel, &agent, head, len);
}

/* ---- both ---- */

struct heads {
	const uint8_t *at, *end;
	struct bytes *drawn; /* instead */
};

static void heads_try(struct heads h, struct weft_store *store)
{
	char text[2048];

	if (h.drawn) {
		for (int i = 0; i < 6; i++)
			head_try((const uint8_t *)text, head_draw(h.drawn, text, sizeof(text)),
				 store);
		return;
	}
	for (int i = 0; i < 8 && h.at < h.end; i++) {
		const uint8_t *z = memchr(h.at, 0, (size_t)(h.end - h.at));

		head_try(h.at, (size_t)((z ? z : h.end) - h.at), store);
		h.at = z ? z + 1 : h.end;
	}
}

static void snapshot_try(const struct weft_snapshot *s, struct heads h)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_view_input in = {.snapshot = s};
	struct weft_compiler *c = NULL;
	struct weft_store *store = NULL;

	memory_begin();
	need(!weft_store_new(&mem, &store) && !weft_compiler_new(store, &c));
	if (weft_compiler_publish(c, &in, 1, &diag))
		need(diag.n > 0);
	else
		heads_try(h, store);
	weft_compiler_free(c);
	weft_store_free(store);
	weft_diag_clear(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weft_diag diag = WEFT_DIAG_INIT;
	struct weft_snapshot *s = NULL;
	struct bytes drawn;
	struct heads h = {NULL, NULL, NULL};
	json_t *tree;

	if (size < 2 || size > 16384)
		return 0;
	if (data[0] & 1) {
		const uint8_t *z = memchr(data + 1, 0, size - 1);

		h = (struct heads){z ? z + 1 : data + size, data + size, NULL};
		tree = text_tree((const char *)data + 1, (size_t)((z ? z : data + size) - data) - 1,
				 &diag);
	} else {
		char *text;

		drawn = (struct bytes){data + 1, data + size};
		text = resources_draw(&drawn);
		need(text != NULL);
		tree = json_loads(text, 0, NULL);
		need(tree != NULL); /* resources.h writes JSON */
		free(text);
		h.drawn = &drawn;
	}
	need(!weft_snapshot_new(&s));
	if (tree)
		resources_add(tree, s, &diag);
	weft_diag_clear(&diag);
	snapshot_try(s, h);
	weft_snapshot_free(s);
	json_decref(tree);
	return 0;
}
