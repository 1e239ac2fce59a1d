/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A small image made by hand, so that the kernel's part is tested without the compiler. One view:
 *
 *   VIP 1:80  HTTP  /deny 403  /limit 200 (bucket LIMIT)  /redir 302  / -> cluster "web"
 *   VIP 2:80  HTTP  /deny 403, nothing else (404)
 *   VIP 3:80  TCP -> cluster "tcp" (max_connections L4_MAX)
 *   VIP 4:80  TCP -> a cluster without endpoints by design
 *   VIP 5:80  no filter chain
 *   VIP 6:80  TCP -> "tcp6" (one endpoint, no breaker in reach), two connections by rate limit
 *   VIP 7:80  TCP -> "tcp", with cells that nobody has made
 *   VIP 8:80  HTTP  /deny, whose reply is longer than a program sends
 *   VIP 9:80  HTTP  /deny 403, three requests a connection
 */

#include "bpf/engine/engine.h"

#define FIX_LISTENERS 9
#define FIX_L4_MAX 3
#define FIX_CONN_TOKENS 2
enum { FIX_CELL_LIMIT = 1, FIX_CELL_WEB, FIX_CELL_TCP, FIX_CELL_TCP_EP, FIX_CELL_CONN, FIX_CELL_TCP6,
       FIX_CELL_MISSING, FIX_CELL__MAX };

struct fix_image {
	__u8 *img;
	__u32 used;
	__u32 epoch;
	__u32 limit_tokens; /* of LIMIT; no refill within a test */
	struct weft_sockaddr vip4[FIX_LISTENERS + 1], vip6[FIX_LISTENERS + 1]; /* by number, from 1 */
	struct weft_sockaddr endpoint; /* of the TCP clusters */
	__u32 limit_bucket;
};

struct weft_addr fix_addr4(const char *text);
struct weft_addr fix_addr6(const char *text);
/* Writes everything behind what is there and publishes it as view 0. */
void fix_image_publish(struct fix_image *f);
/* Makes the cell of (pod, id) in a state of one writer; its offset. */
__u32 fix_cell(__u32 pod, __u32 id);
