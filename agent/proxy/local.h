/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Replies made here, as bytes (local_write.c); which one is made: local.c. */

#include "agent/proxy/mutate.h"

/* The connection manager of the request at hand, NULL: its listener is gone. Under image_enter()
 * where there is no exchange. */
const struct weft_img_hcm *local_manager(struct down *d);
/*
 * The mutations of replies made here, 0: none. Direct responses and redirects have their route's;
 * what is said of a request on its way has those of the way (bpf/engine/reply.h:
 * weft_reply_response()).
 */
uint32_t local_changes(const struct exchange *x);
/* The rules' changes to l, which has what the reply had before them; and what no reply has.
 * -ENOMEM. */
int local_rules(struct down *d, struct lines *l, uint32_t status);
/* The reply with these lines of rules and filters (each with its end); its body is as it is sent.
 * -ENOMEM. */
int local_made_write(struct down *d, struct reply *a, const void *lines, size_t len);
/* The same before its body is put into its form, and local_reply_config has changed it. -ENOMEM. */
int local_reply_write(struct down *d, const struct reply *a, const void *lines, size_t len);
