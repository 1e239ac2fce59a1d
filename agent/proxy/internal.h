/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The parts of the proxy: worker.c (loop), listener.c (pods' listeners, accept), down.c and
 * classify.c (the app's connections), h2_session.c, h2_stream.c and h2_head.c (those that speak
 * HTTP/2), exchange.c, attempt.c and retry.c (one request and its response), request.c and
 * response.c (heads), body.c (framing), upstream.c, race.c and pool.c (connections to endpoints),
 * up_session.c, up_stream.c and up_head.c (those that speak HTTP/2), tcp.c (relays), slot.c
 * (hand-over from and to the kernel), local.c (replies made here). Everything of one connection
 * happens on its worker; nothing is locked on the request path.
 */

#include "agent/proxy/bytes.h"
#include "agent/proxy/down.h"
#include "agent/proxy/events.h"
#include "agent/proxy/exchange.h"
#include "agent/proxy/heads.h"
#include "agent/proxy/limits.h"
#include "agent/proxy/upstream.h"
#include "agent/proxy/worker.h"
