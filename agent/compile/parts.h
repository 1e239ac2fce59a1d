/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One function per resource or part of one; each gives the offset of its object, 0 after an error.
 */

#include <string.h>

#include "agent/compile/build.h"
#include "agent/compile/changes.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/config/route/v3/route_components.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"

/* True when the listener belongs to the server side (kept, not used for outbound connections). */
bool weft_listener_inbound(const Envoy__Config__Listener__V3__Listener *l);
/* weft_img_listener. */
uint32_t weft_build_listener(struct weft_build *b, const Envoy__Config__Listener__V3__Listener *l);

/* weft_img_hcm. */
void weft_build_h2(struct weft_build *b, const Envoy__Config__Core__V3__Http2ProtocolOptions *o,
		   const char *field, bool upstream, struct weft_img_h2 *ret);
/* codec_type and http2_protocol_options. */
/* header_key_format is there and says so; other formats are refused. */
bool weft_build_proper_case(struct weft_build *b,
			    const Envoy__Config__Core__V3__Http1ProtocolOptions *o,
			    const char *field);
void weft_build_codec(
	struct weft_build *b,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
		*m,
	const char *field, struct weft_img_hcm *ret);
uint32_t weft_build_hcm(
	struct weft_build *b,
	const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager
		*m,
	const char *field);

/* weft_img_route_config; field "" for a resource of its own. */
uint32_t weft_build_route_config(struct weft_build *b,
				 const Envoy__Config__Route__V3__RouteConfiguration *rc,
				 const char *field);

/* What a route needs of its surroundings. */
struct weft_route_scope {
	struct weft_names_local *headers; /* interned header names of the route configuration */
	const Envoy__Config__Route__V3__VirtualHost *vhost;
	const char *field; /* path of the virtual host */
	struct weft_change_scope changes; /* route: of the route at hand */
	struct weft_mirrors mirrors;	  /* of the virtual host, else of the table */
};
/* weft_img_route with this index. Path: *ret_kind and *ret_path say where it goes in the trie. */
struct weft_regex;
enum weft_path_kind {
	WEFT_PATH_PREFIX,
	WEFT_PATH_EXACT,
	WEFT_PATH_SEPARATED,
	WEFT_PATH_REGEX, /* path: what every path that fits begins with */
	WEFT_PATH_CONNECT,
};
struct weft_route_built {
	uint32_t off;
	enum weft_path_kind kind;
	char *path; /* freed by the caller */
	bool any_case; /* case_sensitive: false */
	bool conditional;
	struct weft_regex *re; /* of kind REGEX; freed by the caller */
	const char *pattern; /* its text, the resource's */
};
/* Bytes of the request's path that a prefix_rewrite replaces. */
static inline uint32_t weft_matched_len(const struct weft_route_built *r)
{
	if (r->kind == WEFT_PATH_EXACT || r->kind == WEFT_PATH_REGEX || !r->path)
		return WEFT_MATCHED_WHOLE;
	return (uint32_t)strlen(r->path);
}
void weft_build_route(struct weft_build *b, const Envoy__Config__Route__V3__Route *r,
		      uint32_t index, struct weft_route_scope *scope, const char *field,
		      struct weft_route_built *ret);
/* weft_img_redirect of a route whose path specifier matched matched_len bytes (weft_matched_len()). */
uint32_t weft_build_redirect(struct weft_build *b,
			     const Envoy__Config__Route__V3__RedirectAction *r,
			     uint32_t matched_len, const char *field);
/* weft_img_forward; matched_len as for redirects. */
uint32_t weft_build_forward(struct weft_build *b, const Envoy__Config__Route__V3__RouteAction *a,
			    const struct weft_route_scope *scope, uint32_t matched_len,
			    const char *field);
/* n_hash and hash of the route's hash_policy. */
void weft_build_hash_policy(struct weft_build *b, const Envoy__Config__Route__V3__RouteAction *a,
			    const char *field, struct weft_img_forward *ret);
/* request_mirror_policies of the message at `field`. */
struct weft_mirrors weft_build_mirrors(
	struct weft_build *b, size_t n,
	Envoy__Config__Route__V3__RouteAction__RequestMirrorPolicy *const *list, const char *field);
/* weft_img_follow. */
uint32_t weft_build_follow(struct weft_build *b,
			   const Envoy__Config__Route__V3__InternalRedirectPolicy *p,
			   const char *field);
/* weft_img_forward of non_forwarding_action: Envoy's connection manager finds no cluster for it. */
uint32_t weft_build_no_forward(struct weft_build *b, const struct weft_route_scope *scope);

/* The slot of one name. */
uint8_t weft_build_slot(struct weft_build *b, const char *name, struct weft_names_local *names,
			const char *field);
/* One condition: on a header, or on the path without its query. *c is zero before. */
void weft_build_header_cond(struct weft_build *b, const Envoy__Config__Route__V3__HeaderMatcher *m,
			    struct weft_names_local *names, const char *field,
			    struct weft_img_cond *c);
/* weft_img_matchers, 0: none are given. */
uint32_t weft_build_matchers(struct weft_build *b, size_t n,
			     Envoy__Config__Route__V3__HeaderMatcher *const *list,
			     const char *field);
void weft_build_path_cond(struct weft_build *b, const Envoy__Type__Matcher__V3__StringMatcher *m,
			  const char *field, struct weft_img_cond *c);
void weft_build_query_cond(struct weft_build *b,
			   const Envoy__Config__Route__V3__QueryParameterMatcher *m,
			   const char *field, struct weft_img_cond *c);
/* The text of a condition whose place is set: kind, value and case. */
void weft_build_string_cond(struct weft_build *b, const Envoy__Type__Matcher__V3__StringMatcher *m,
			    const char *field, struct weft_img_cond *c);
/*
 * What an outbound connection in clear text never has: dynamic metadata that no filter writes,
 * filter state that nothing sets, a server name. Whether such a matcher fits, as Envoy takes a
 * value that is not there: any value matcher fails, then invert. What Envoy refuses is refused.
 */
bool weft_build_unset_metadata(struct weft_build *b,
			       const Envoy__Type__Matcher__V3__MetadataMatcher *m,
			       const char *field);
bool weft_build_unset_state(struct weft_build *b,
			    const Envoy__Type__Matcher__V3__FilterStateMatcher *m,
			    const char *field);
/* A condition on an empty text. */
void weft_build_empty_cond(struct weft_build *b, const Envoy__Type__Matcher__V3__StringMatcher *m,
			   struct weft_names_local *names, const char *field,
			   struct weft_img_cond *c);
/* Is a name among these that the connection manager at hand sets or changes? */
bool weft_build_prepared(const struct weft_build *b, const struct weft_names_local *names);
/* The table of a list of names (weft_img_tab), and its bloom word. */
uint32_t weft_build_names(struct weft_build *b, const struct weft_names_local *names,
			  __u64 *ret_bloom);
/* The expression, to be freed by the caller; NULL when it was refused. */
struct weft_regex *weft_build_regex(struct weft_build *b,
				    const Envoy__Type__Matcher__V3__RegexMatcher *m,
				    const char *field);
/* Kind and object of a condition that a whole text fits it. */
void weft_build_regex_cond(struct weft_build *b, const struct weft_regex *re,
			   struct weft_img_cond *ret);

/* weft_img_rewrite, 0: none. path: what it makes goes into a path. */
uint32_t weft_build_rewrite(struct weft_build *b,
			    const Envoy__Type__Matcher__V3__RegexMatchAndSubstitute *m, bool path,
			    const char *field);

/*
 * weft_img_cond[*ret_n] of everything in the match but the path's place in the trie; 0 when there is none. path: the
 * expression that the path has to fit, NULL none.
 */
uint32_t weft_build_conds(struct weft_build *b, const Envoy__Config__Route__V3__RouteMatch *m,
			  const struct weft_regex *path,
			  struct weft_names_local *names, const char *field, uint32_t *ret_n);

/*
 * weft_img_accept of head with the conditional routes of these indexes (ascending) as its candidates, those that wait
 * for values of one header or for expressions behind selections.
 */
uint32_t weft_build_accept(struct weft_build *b, const struct weft_route_built *routes, const uint32_t *index,
			   size_t n, const struct weft_img_accept *head);

/* Tries and lists of a virtual host, for its routes in configured order. */
void weft_build_paths(struct weft_build *b, const struct weft_route_built *routes, size_t n,
		      struct weft_img_vhost *ret);

/* The version of HTTP that the cluster's endpoints are spoken to by. */
void weft_build_upstream_codec(struct weft_build *b,
			       const Envoy__Extensions__Upstreams__Http__V3__HttpProtocolOptions *o,
			       const char *field, struct weft_img_cluster *ret);
/* The same from a cluster's own fields, which count where it has no such options. */
void weft_build_legacy_codec(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			     struct weft_img_cluster *ret);
/* weft_img_outlier, 0: none. */
uint32_t weft_build_outlier(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c);
/* Refuses what health_checks says and cannot be done for this cluster. */
void weft_health_check_cluster(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			       const struct weft_img_cluster *img);
/*
 * Metadata like this selects the first of the cluster's transport_socket_matches that fits; one that is not clear text
 * cannot be used, and is refused.
 */
void weft_build_transport_match(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
				const Google__Protobuf__Struct *have, const char *field);
/* weft_img_cluster. */
uint32_t weft_build_cluster(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c);
/*
 * A copy of a cluster whose load_balancing_policy is the subset policy, with lb_subset_config and
 * the policy inside instead; NULL: it is another one. The caller frees it.
 */
Envoy__Config__Cluster__V3__Cluster *
weft_cluster_unfold(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c);
/* weft_img_endpoints of a cluster's assignment; cluster gives balancing and transport. */
uint32_t weft_build_endpoints(struct weft_build *b, const Envoy__Config__Cluster__V3__Cluster *c,
			      const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *a);
