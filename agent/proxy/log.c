// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/log.h"

#include "agent/access/writer.h"
#include "agent/proxy/mutate.h"

static const struct weft_img_hcm *manager_of(struct down *d)
{
	const struct weft_img_chain *chain = down_chain(d);

	return chain && chain->kind == WEFT_CHAIN_HTTP ? weft_img_at(chain->target) : NULL;
}

bool log_wanted(struct down *d)
{
	const struct weft_img_hcm *h = d->worker->proxy->access ? manager_of(d) : NULL;

	return h && h->logs;
}

static void line_write(struct worker *w, const struct format *f, const struct weft_img_log *log)
{
	struct weft_access *a = w->proxy->access;
	struct buf line = {0};

	if (log->n_test && !tests_hold(f, log->test))
		return;
	if (reply_body_write(w, f, weft_img_at(log->body), &line) == 0)
		weft_access_put(a, (unsigned int)(w - w->proxy->worker), weft_img_at(log->path.off),
				log->path.len, buf_at(&line), buf_len(&line));
	buf_free(w, &line);
}

static void lines_write(struct worker *w, const struct format *f, uint32_t logs)
{
	const struct weft_img_logs *all = weft_img_at(logs);
	const struct weft_img_log *log = weft_img_at(all->log);

	for (uint32_t i = 0; i < all->n; i++)
		line_write(w, f, &log[i]);
}

void log_exchange(struct exchange *x, uint32_t type)
{
	struct down *d = x->down;
	struct outcome *o = &x->outcome;
	struct lines resp = {.w = d->worker, .b = &o->head};
	struct format f = {.d = d,
			   .x = x,
			   .o = o,
			   .req = buf_len(&x->head) ? buf_at(&x->head) : NULL,
			   .req_len = buf_len(&x->head),
			   .resp = &resp,
			   .status = o->code,
			   .code = o->code,
			   .log_type = type,
			   .flags = o->flags | x->flags};
	bool held = x->pinned || x->keeps;

	if (!d->worker->proxy->access)
		return;
	if (held && x->hcm->logs) {
		lines_write(d->worker, &f, x->hcm->logs);
	} else if (!held) {
		/* an upgraded connection holds nothing of the image: its listener's logs are those
		 * of now */
		image_enter(d);
		if (log_wanted(d))
			lines_write(d->worker, &f, manager_of(d)->logs);
		image_leave(d);
	}
}

void log_early(struct down *d, const struct buf *head, const struct outcome *o)
{
	struct buf lines = o->head;
	struct lines resp = {.w = d->worker, .b = &lines};
	struct format f = {.d = d,
			   .o = o,
			   .req = buf_len(head) ? buf_at(head) : NULL,
			   .req_len = buf_len(head),
			   .resp = &resp,
			   .status = o->code,
			   .code = o->code,
			   .log_type = WEFT_LOG_DOWNSTREAM_END,
			   .flags = o->flags};

	lines_write(d->worker, &f, manager_of(d)->logs);
}
