// SPDX-License-Identifier: Apache-2.0
#include "agent/xds/identity.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"
#include "agent/enroll/pod.h"

#define DOMAIN "cluster.local"
#define CLUSTER_ID "Kubernetes"

/* A node id has its parts between tildes, and a name between dots and them. */
static int part_check(const char *field, const char *text, struct weft_diag *diag)
{
	if (strchr(text, '~'))
		return weft_diag_add(diag, -EINVAL, "pod", field,
				     "has a '~', which the control plane takes for the end");
	return 0;
}

int weft_identity_key(const struct weft_identity *id, struct weft_diag *diag, char **ret)
{
	_auto_json_ json_t *j = NULL, *none = json_object();
	int r = part_check("namespace", id->ns, diag);

	if (r < 0)
		return r;
	j = json_pack("[s, s, O]", id->ns, id->service_account, id->labels ? id->labels : none);
	*ret = j ? json_dumps(j, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
	if (*ret)
		return 0;
	return weft_diag_add(diag, -EINVAL, "pod", "",
			     "the namespace or the service account is not UTF-8");
}

static const char *label_of(const struct weft_identity *id, const char *key)
{
	return json_string_value(json_object_get(id->labels, key));
}

/* As Istio names workloads without further words. */
static const char *app_of(const struct weft_identity *id, const struct weft_identity_pod *pod)
{
	static const char *const keys[] = {"service.istio.io/canonical-name",
					   "app.kubernetes.io/name", "app"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = label_of(id, keys[i]);

		if (value && *value)
			return value;
	}
	return pod->name;
}

static void set_default(json_t *j, const char *key, const char *value)
{
	if (!json_object_get(j, key))
		json_object_set_new(j, key, json_string(value));
}

/* What is known of the pod is said so; the rest only where the base does not say it. */
static int metadata_of(const struct weft_identity *id, const struct weft_identity_pod *pod,
		       const struct weft_identity_base *base, const char *ips, char **ret)
{
	_auto_json_ json_t *j =
		base->metadata_json ? json_loads(base->metadata_json, 0, NULL) : json_object();
	_auto_json_ json_t *labels = id->labels ? json_deep_copy(id->labels) : json_object();

	if (!json_is_object(j) || !labels)
		return j && !json_is_object(j) ? -EINVAL : -ENOMEM;
	json_object_set_new(j, "NAME", json_string(pod->name));
	json_object_set_new(j, "NAMESPACE", json_string(id->ns));
	json_object_set_new(j, "SERVICE_ACCOUNT", json_string(id->service_account));
	json_object_set(j, "LABELS", labels);
	json_object_set_new(j, "INSTANCE_IPS", json_string(ips));
	set_default(j, "CLUSTER_ID", base->cluster_id ? base->cluster_id : CLUSTER_ID);
	set_default(j, "ISTIO_VERSION", WEFT_ISTIO_VERSION);
	set_default(j, "INTERCEPTION_MODE", "REDIRECT");
	set_default(j, "WORKLOAD_NAME", app_of(id, pod));
	if (base->host)
		set_default(j, "NODE_NAME", base->host);
	*ret = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	return *ret ? 0 : -ENOMEM;
}

int weft_identity_node(const struct weft_identity *id, const struct weft_identity_pod *pod,
		       const struct weft_identity_base *base, struct weft_identity_node *ret)
{
	char text4[INET6_ADDRSTRLEN] = "", text6[INET6_ADDRSTRLEN] = "";
	char ips[2 * INET6_ADDRSTRLEN + 2];
	int r;

	*ret = (struct weft_identity_node){0};
	if (!weft_addr_is_zero(&pod->addr4))
		weft_addr_text(&pod->addr4, text4);
	if (!weft_addr_is_zero(&pod->addr6))
		weft_addr_text(&pod->addr6, text6);
	snprintf(ips, sizeof(ips), "%s%s%s", text4, *text4 && *text6 ? "," : "", text6);
	r = metadata_of(id, pod, base, ips, &ret->metadata_json);
	if (r == 0 &&
	    asprintf(&ret->id, "sidecar~%s~%s.%s~%s.svc.%s", *text4 ? text4 : text6, pod->name,
		     id->ns, id->ns, base->domain ? base->domain : DOMAIN) < 0) {
		ret->id = NULL;
		r = -ENOMEM;
	}
	if (r == 0 && base->cluster)
		ret->cluster = strdup(base->cluster);
	else if (r == 0 && asprintf(&ret->cluster, "%s.%s", app_of(id, pod), id->ns) < 0)
		ret->cluster = NULL;
	if (r == 0 && !ret->cluster)
		r = -ENOMEM;
	if (r < 0)
		weft_identity_node_clear(ret);
	return r;
}

void weft_identity_node_clear(struct weft_identity_node *node)
{
	free(node->id);
	free(node->cluster);
	free(node->metadata_json);
	*node = (struct weft_identity_node){0};
}
