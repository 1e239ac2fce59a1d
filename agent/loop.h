/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The main thread's event loop: epoll with a function per file descriptor. One thread. */

#include <stdint.h>

struct weft_loop;

/* events: EPOLL*. The function may remove any descriptor, its own too. */
typedef void (*weft_loop_fn)(void *ctx, uint32_t events);

int weft_loop_new(struct weft_loop **ret);
/* Descriptors stay open: they belong to whoever added them. */
void weft_loop_free(struct weft_loop *l);
int weft_loop_add(struct weft_loop *l, int fd, uint32_t events, weft_loop_fn fn, void *ctx);
int weft_loop_change(struct weft_loop *l, int fd, uint32_t events);
/* Nothing is called for it any more, not even for events already read. -1 is fine. */
void weft_loop_remove(struct weft_loop *l, int fd);
/* Waits once, at most timeout_ms (-1: without limit), and calls what is due. 0 or -errno. */
int weft_loop_step(struct weft_loop *l, int timeout_ms);

/* A one-shot (period_ms 0) or periodic timer as a descriptor; timer_set with first_ms 0 stops it.
 */
int weft_timer_new(int *ret_fd);
int weft_timer_set(int fd, uint32_t first_ms, uint32_t period_ms);
/* To be called by the timer's function: its readiness is taken away. */
void weft_timer_ack(int fd);
