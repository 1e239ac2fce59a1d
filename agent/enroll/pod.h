/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Registry of enrolled pods: network namespaces with a name. Main thread. The proxy and the kernel
 * are reached through functions, so that tests need neither.
 */

#include <jansson.h>
#include <stdint.h>

#include "agent/proxy/proxy.h"
#include "bpf/abi/state.h"
#include "xds/diag.h"

/* Longest name of a pod, namespace, service account or label (Kubernetes: 253). */
#define WEFT_POD_NAME_MAX 253
/* Labels of one pod: Kubernetes has no limit; this keeps one request from holding memory without
 * end. */
#define WEFT_POD_LABELS_MAX 256

struct weft_pods_ops {
	/* As weft_proxy_pod_add() and weft_proxy_pod_remove(). */
	int (*proxy_add)(void *ctx, const struct weft_proxy_pod *pod,
			 uint16_t port4[WEFT_LISTEN_PORTS], uint16_t port6[WEFT_LISTEN_PORTS]);
	int (*proxy_remove)(void *ctx, uint32_t id, uint32_t drain_ms);
	/* As weft_kernel_pod_set() and weft_kernel_pod_del(). */
	int (*kernel_set)(void *ctx, uint64_t cookie, const struct weft_pod *pod);
	int (*kernel_del)(void *ctx, uint64_t cookie);
	/* The pod's connections are gone: its state may go, its id may be used again. */
	void (*gone)(void *ctx, uint32_t id);
	void *ctx;
};

/* Strings and labels are copied. */
struct weft_pod_spec {
	const char *name, *ns, *service_account;
	const json_t *labels; /* object of strings, NULL: none */
	const char *netns;    /* path by which it was named, NULL: by process */
	int64_t pid;	      /* 0: by path */
	uint32_t view;
	bool held;		       /* until weft_pods_release() */
	int netns_fd;		       /* taken over on success */
	int pid_fd;		       /* taken over on success; -1: named by path */
	struct weft_addr addr4, addr6; /* zero: discover; both zero and none found: loopback */
};

enum weft_pod_phase { WEFT_POD_ACTIVE, WEFT_POD_DRAINING };

struct weft_pod_info {
	uint32_t id, view;
	bool held; /* its connections are refused: the view is not complete yet, or its hosts not
		      checked */
	enum weft_pod_phase phase;
	uint64_t cookie;
	const char *name, *ns, *service_account, *netns;
	int64_t pid;
	const json_t *labels;
	struct weft_addr addr4, addr6;
	uint16_t port4[WEFT_LISTEN_PORTS], port6[WEFT_LISTEN_PORTS];
};

struct weft_pods;

int weft_pods_new(const struct weft_pods_ops *ops, struct weft_pods **ret);
/* Removes every pod, without drain. */
void weft_pods_free(struct weft_pods *p);

/*
 * Enrols: the agent's listeners first, then the kernel's entry, so that nothing is captured that
 * nobody would accept. -EEXIST: name or namespace is enrolled already; -EINVAL, -ENOSPC, and what
 * the system says, with a cause in diag.
 */
int weft_pods_add(struct weft_pods *p, const struct weft_pod_spec *spec, struct weft_diag *diag,
		  uint32_t *ret_id);
/* The kernel's entry first, then the listeners; open connections get drain_ms. -ENOENT. */
int weft_pods_remove(struct weft_pods *p, const char *ns, const char *name, uint32_t drain_ms,
		     int64_t now_ms);
/*
 * Removes pods whose namespace or process has gone, and frees those that have drained. now_ms:
 * CLOCK_MONOTONIC. Called each second. gone_fn (may be NULL) is told of each pod found gone.
 */
void weft_pods_check(struct weft_pods *p, int64_t now_ms,
		     void (*gone_fn)(void *ctx, const struct weft_pod_info *pod), void *ctx);

/* Pods that were held until their view is complete are governed from now on, where it is for them.
 * A kernel's entry that cannot be written is tried again with the next call. */
void weft_pods_release(struct weft_pods *p,
		       bool (*complete)(void *ctx, const struct weft_pod_info *pod), void *ctx);

/* By "NAME" or "NAMESPACE/NAME"; -ENOENT; -ENOTUNIQ: several namespaces have this name. Active pods
 * only. */
int weft_pods_find(const struct weft_pods *p, const char *name, struct weft_pod_info *ret);
void weft_pods_each(const struct weft_pods *p,
		    void (*fn)(void *ctx, const struct weft_pod_info *pod), void *ctx);

/* {id, name, namespace, ..., phase, view, configured, ipv4, ipv6, ports: {ipv4: [...], ipv6:
 * [...]}}; a family without address is left out. */
json_t *weft_pod_json(const struct weft_pod_info *pod);

/* ---- addresses ---- */

/* "10.0.0.1" (as v4-mapped), "fd00::1". -EINVAL. */
int weft_addr_parse(const char *text, struct weft_addr *ret);
bool weft_addr_is_v4(const struct weft_addr *addr);
bool weft_addr_is_zero(const struct weft_addr *addr);
/* Into buf of INET6_ADDRSTRLEN bytes; returns it. */
const char *weft_addr_text(const struct weft_addr *addr, char *buf);

/* ---- the inside of a network namespace (netns.c) ---- */

struct weft_netns_info {
	uint64_t cookie;
	struct weft_addr addr4, addr6; /* first global ones, else of loopback, zero: none */
};
/* Looks from a thread of its own, so that the caller never leaves its namespace. -errno of setns()
 * and so on. */
int weft_netns_look(int netns_fd, struct weft_netns_info *ret);
