/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who a pod is for the control plane: the node its sidecar would be. Pure. */

#include <jansson.h>

#include "bpf/abi/state.h"
#include "xds/delta.h"
#include "xds/diag.h"

struct weft_identity {
	const char *ns, *service_account;
	const json_t *labels; /* object of strings, NULL: none */
};

/*
 * Text that two identities share only when they are the same. -EINVAL with a cause: a name that
 * cannot be part of a node id; -ENOMEM. Caller frees.
 */
int weft_identity_key(const struct weft_identity *id, struct weft_diag *diag, char **ret);

/* A pod that stands for an identity. */
struct weft_identity_pod {
	const char *name;
	struct weft_addr addr4, addr6; /* zero: none */
};

/* What is the same for all pods of this node; NULL: the default. */
struct weft_identity_base {
	const char *metadata_json; /* an object: goes before what is said of the pod */
	const char *cluster;	   /* node.cluster; else APP.NAMESPACE */
	const char *domain;	   /* "cluster.local" */
	const char *host;	   /* NODE_NAME */
	const char *cluster_id;	   /* CLUSTER_ID; "Kubernetes" */
};

/* ISTIO_VERSION unless the base's metadata says another: the release whose sidecar's behaviour was
 * taken over. */
#define WEFT_ISTIO_VERSION "1.29.0"

struct weft_identity_node {
	char *id, *cluster, *metadata_json;
};

/* As Istio's sidecar says who it is. -EINVAL: the base's metadata is no object; -ENOMEM. */
int weft_identity_node(const struct weft_identity *id, const struct weft_identity_pod *pod,
		       const struct weft_identity_base *base, struct weft_identity_node *ret);
void weft_identity_node_clear(struct weft_identity_node *node);
