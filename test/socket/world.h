/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A pod of one process: a network namespace and a cgroup of its own, the kernel part attached to them, a fixture image, and
 * a small agent that accepts, judges what the kernel did not, answers, and gives connections back.
 *
 *   lo: 10.88.0.1, fd88::1 the pod; 10.99.0.N, fd99::N the VIPs of image.h (also local, so that without weft a server can stand there)
 */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/kernel/kernel.h"
#include "image.h"

#define WORLD_POD 1u
#define WORLD_LISTENERS (2 * (int)WEFT_LISTEN_PORTS)

struct world {
	char cgroup[256];
	struct weft_kernel *kernel;
	struct fix_image image;
	struct weft_state_head *head;
	uint64_t netns;
	struct weft_pod pod;
	int listener[WORLD_LISTENERS];
	int server; /* 10.88.0.1: where the TCP clusters lead; accepts and echoes */
	/* of the agent, atomics */
	uint32_t accepted, not_captured, served, honoured, decided, given_back, open;
	uint32_t pause_ms; /* before each answer */
	uint32_t body;	   /* bytes of its answers' bodies; 0: the path */
	uint32_t stray;	   /* bytes of each answer that reach the app before it is sent (stray.h) */
	bool hold_accept;  /* the agent does not accept */
	bool stop;
	struct weft_sockaddr last_dst; /* of the exchange that came last */
	uint32_t last_slot;
};
extern struct world world;
#define WORLD_BODY_MAX 7000
/* The body that world.body asks for: every four bytes are a number of their own. */
void world_body(char *ret, uint32_t len);

/* Exits with 77 (skipped, said) when not root. For main(). */
void world_need_root(void);
int world_setup(void **state);
int world_teardown(void **state);
/* Waits up to 3 s until every slot is free and every connection of the agent has ended. */
void world_drained(void);
uint64_t world_outcome(enum weft_outcome o); /* in the kernel */
uint64_t world_handed(enum weft_handed h);
uint64_t world_class(enum weft_class c);

/* ---- client side ---- */

struct answer {
	int status;
	bool by_agent;
	size_t len; /* of the whole answer */
	char text[8192];
	const char *body;
};

struct sockaddr_in vip4(int n);
struct sockaddr_in6 vip6(int n);
/* "::ffff:10.99.0.N" */
struct sockaddr_in6 vip_mapped(int n);
/* A blocking connection to VIP n over IPv4, with a receive timeout of 3 s; fails the test. */
int vip_connect(int n);
void send_text(int fd, const char *text);
/* "GET path" with Host; extra: header lines with CRLF, or "". */
void send_get(int fd, const char *path, const char *extra);
/* One whole answer; head_only: of a HEAD request. Fails the test when none comes. */
void recv_answer(int fd, bool head_only, struct answer *ret);
void expect(int fd, const char *path, int status, bool by_agent);
/* Closes, after everything was read, in an orderly way. */
void finish(int fd);
