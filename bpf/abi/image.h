/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/*
 * The image: compiled configuration as immutable objects at 32-bit offsets in one block of memory.
 * Offset 0 is weft_img_head; 0 as a reference means "none". Every object is 8-byte aligned. Objects are
 * content addressed: they refer to other objects of the same resource by offset, and to other
 * resources (clusters, route configurations) by an id that the view's tables resolve, so that a changed
 * resource changes one object and the tables.
 *
 * Written by the agent only; published by one 64-bit store of weft_img_head.root.
 */

#include "bpf/abi/cluster.h"
#include "bpf/abi/filter.h"
#include "bpf/abi/hcm.h"
#include "bpf/abi/header.h"
#include "bpf/abi/limits.h"
#include "bpf/abi/listener.h"
#include "bpf/abi/log.h"
#include "bpf/abi/match.h"
#include "bpf/abi/route.h"
#include "bpf/abi/table.h"
#include "bpf/abi/types.h"

#define WEFT_IMG_MAGIC 0x31676d6974666577ull /* "weftimg1" */
#define WEFT_ABI_VERSION 1u

struct weft_img_head {
	__u64 magic;
	__u32 abi;
	__u32 pad;
	__u64 root; /* epoch << 32 | offset of weft_img_root; 0: nothing published */
};

struct weft_img_root {
	__u32 epoch; /* counts publishes; the same as in weft_img_head.root */
	__u32 n_view;
	__u32 n_own;
	__u32 own; /* __u32[n_own]: by pod id, weft_img_view of a pod that sees other hosts than its
		      view; 0: its view's */
		   /* __u32 view[n_view]: offsets of weft_img_view, 0 for an unused id */
};

/* What one kind of pod sees. Ids of clusters and route configurations are indexes of these tables. */
struct weft_img_view {
	__u32 listener;	      /* weft_img_addr_tab: exact address and port */
	__u32 wildcard;	      /* weft_img_addr_tab: address zero (family's), port */
	__u32 fallback;	      /* weft_img_listener with use_original_dst, 0: none (then bypass) */
	__u32 n_route_config;
	__u32 route_config;   /* __u32[n]: weft_img_route_config or 0 (not there: 404) */
	__u32 n_cluster;
	__u32 cluster;	      /* struct weft_img_cluster_ref[n] */
	__u32 names;	      /* weft_img_tab of kind WEFT_KIND_LISTENER_NAME: name -> weft_img_listener */
	__u32 cluster_names;  /* weft_img_tab of kind WEFT_KIND_CLUSTER_NAME: for clusters that a request names */
	__u32 pad;
};

struct weft_img_cluster_ref {
	__u32 cluster;	 /* weft_img_cluster, 0: unknown or warming (503 cluster_not_found) */
	__u32 endpoints; /* weft_img_endpoints, 0: none */
};
