/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this kernel can do, found by loading the smallest program that needs it. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* X(NAME, "name", "programs that show it", required, "what weft does without it") */
#define WEFT_FEATURES(X)                                                                           \
	X(CONNECT4, "connect4", "p_connect4", true, "cannot run")                                  \
	X(CONNECT6, "connect6", "p_connect6", false, "IPv6 connections are left alone")            \
	X(SOCKOPS, "sockops", "p_sockops", true, "cannot run")                                     \
	X(SET_RETVAL, "set_retval", "p_retval", true, "cannot run")                                \
	X(SOCK_RELEASE, "sock_release", "p_release", true, "cannot run")                           \
	X(MPTCP, "mptcp_detection", "p_mptcp", false,                                              \
	  "this kernel has no MPTCP: there is nothing to detect")                                  \
	X(PEERNAME4, "getpeername4", "p_peername4", false,                                         \
	  "getpeername() on IPv4 shows the agent's listener")                                      \
	X(PEERNAME6, "getpeername6", "p_peername6", false,                                         \
	  "getpeername() on IPv6 shows the agent's listener")                                      \
	X(REDIRECT, "msg_redirect", "p_redirect", false, "the agent carries every exchange")       \
	X(STORAGE, "msg_storage", "p_storage", false, "the agent carries every exchange")          \
	X(TCP_SOCK, "msg_tcp_sock", "p_tcp_sock", false, "the agent carries every exchange")       \
	X(PSOCK, "msg_psock", "p_psock", false, "the agent carries every exchange")                \
	X(LOOP, "msg_loop", "p_loop", false, "the agent carries every exchange")                   \
	X(NETNS_MSG, "msg_netns_cookie", "p_netns_msg", false, "the agent carries every exchange") \
	X(VERDICT, "skb_verdict", "p_verdict", false,                                              \
	  "where FIONREAD needs it, the agent carries every exchange")                             \
	X(FIONREAD, "fionread", NULL, false,                                                       \
	  "a verdict program that passes is attached, 10 % of requests/s")                         \
	X(FIONREAD_OWN, "fionread_in_place", NULL, false,                                          \
	  "FIONREAD does not count answers made in place (poll, recv and MSG_PEEK do)")            \
	X(FIXES, "sockmap_fixes", NULL, false,                                                     \
	  "known kernel defects of sockmap are open: update the kernel")

#define WEFT_ENUM_FEATURE(n, name, prog, required, without) WEFT_FEATURE_##n,
enum weft_feature { WEFT_FEATURES(WEFT_ENUM_FEATURE) WEFT_FEATURE__MAX };
#undef WEFT_ENUM_FEATURE

struct weft_feature_row {
	const char *name;
	const char *program; /* in probe.bpf.c; NULL: tested otherwise */
	bool required;
	const char *without;
};
extern const struct weft_feature_row weft_feature_rows[WEFT_FEATURE__MAX];

struct weft_feature_result {
	bool available;
	int err; /* of the trial load, negative */
	char reason[160]; /* why, or why not */
};
/* Tests every feature; traffic (FIONREAD) on loopback of a network namespace of its own. */
void weft_features_probe(struct weft_feature_result results[WEFT_FEATURE__MAX]);

/*
 * Does a release ("6.12.101+deb13") carry every known TCP-relevant fix of sockmap? Always writes a
 * reason.
 */
bool weft_sockmap_fixed(const char *release, char *reason, size_t size);
