// SPDX-License-Identifier: Apache-2.0
/* Route configurations. See fields_table.h. */

#include "agent/compile/fields_table.h"

const struct weft_field_row weft_fields_route[] = {
	MESSAGE("envoy.config.route.v3.CookieMatcher"),
	KERNEL("name string_match invert_match"),
	MESSAGE("envoy.config.route.v3.CorsPolicy"),
	AGENT("allow_origin_string_match allow_methods allow_headers expose_headers max_age "
	      "allow_credentials filter_enabled shadow_enabled allow_private_network_access "
	      "forward_not_matching_preflights"),
	MESSAGE("envoy.config.route.v3.DirectResponseAction"),
	KERNEL("status body body_format"),
	MESSAGE("envoy.config.route.v3.FilterConfig"),
	KERNEL("config is_optional disabled"),
	MESSAGE("envoy.config.route.v3.HeaderMatcher"),
	KERNEL("name exact_match safe_regex_match range_match present_match prefix_match "
	       "suffix_match contains_match string_match invert_match "
	       "treat_missing_header_as_empty"),
	MESSAGE("envoy.config.route.v3.InternalRedirectPolicy"),
	AGENT("max_internal_redirects redirect_response_codes predicates "
	      "allow_cross_scheme_redirect response_headers_to_copy"),
	MESSAGE("envoy.config.route.v3.NonForwardingAction"),
	MESSAGE("envoy.config.route.v3.QueryParameterMatcher"),
	KERNEL("name string_match present_match"),
	MESSAGE("envoy.config.route.v3.RateLimit"),
	KERNEL("stage disable_key actions hits_addend"),
	AGENT("x_ratelimit_option limit apply_on_stream_done"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action"),
	KERNEL("destination_cluster request_headers query_parameters remote_address generic_key "
	       "header_value_match dynamic_metadata metadata masked_remote_address "
	       "query_parameter_value_match remote_address_match source_cluster"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.SourceCluster"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.DestinationCluster"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.DynamicMetaData"),
	KERNEL("descriptor_key metadata_key default_value"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.GenericKey"),
	KERNEL("descriptor_value descriptor_key"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.HeaderValueMatch"),
	KERNEL("descriptor_value descriptor_key expect_match headers"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress"),
	KERNEL("v4_prefix_mask_len v6_prefix_mask_len"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.MetaData"),
	KERNEL("descriptor_key metadata_key default_value source skip_if_absent"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch"),
	KERNEL("descriptor_value descriptor_key expect_match query_parameters"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.QueryParameters"),
	KERNEL("query_parameter_name descriptor_key skip_if_absent"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.RemoteAddress"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.RemoteAddressMatch"),
	KERNEL("descriptor_value descriptor_key address_matcher"),
	MESSAGE("envoy.config.route.v3.RateLimit.Action.RequestHeaders"),
	KERNEL("header_name descriptor_key skip_if_absent"),
	MESSAGE("envoy.config.route.v3.RateLimit.HitsAddend"),
	KERNEL("number"),
	AGENT("format"),
	MESSAGE("envoy.config.route.v3.RateLimit.Override"),
	AGENT("dynamic_metadata rate_limit"),
	MESSAGE("envoy.config.route.v3.RateLimit.Override.DynamicMetadata"),
	AGENT("metadata_key"),
	MESSAGE("envoy.config.route.v3.RateLimit.Override.RateLimitOverride"),
	AGENT("requests_per_unit unit"),
	MESSAGE("envoy.config.route.v3.RedirectAction"),
	KERNEL("https_redirect scheme_redirect host_redirect port_redirect path_redirect "
	       "prefix_rewrite regex_rewrite response_code strip_query"),
	AGENT("path_rewrite"),
	MESSAGE("envoy.config.route.v3.RetryPolicy"),
	AGENT("retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate "
	      "retriable_headers retriable_request_headers host_selection_retry_max_attempts "
	      "retriable_status_codes retry_back_off rate_limited_retry_back_off"),
	MESSAGE("envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff"),
	AGENT("reset_headers max_interval"),
	MESSAGE("envoy.config.route.v3.RetryPolicy.ResetHeader"),
	AGENT("name format"),
	MESSAGE("envoy.config.route.v3.RetryPolicy.RetryBackOff"),
	AGENT("base_interval max_interval"),
	MESSAGE("envoy.config.route.v3.RetryPolicy.RetryHostPredicate"),
	AGENT("name typed_config"),
	MESSAGE("envoy.config.route.v3.Route"),
	KERNEL("name match route redirect direct_response non_forwarding_action "
	       "typed_per_filter_config response_headers_to_add response_headers_to_remove"),
	AGENT("request_headers_to_add request_headers_to_remove metadata"),
	QUIET("stat_prefix", "a name or data that nothing here reads"),
	QUIET("decorator tracing", "observes, changes no traffic"),
	QUIET("per_request_buffer_limit_bytes request_body_buffer_limit",
	      "bodies of retried requests have weft's own limit"),
	MESSAGE("envoy.config.route.v3.RouteAction"),
	KERNEL("metadata_match cluster weighted_clusters cluster_not_found_response_code priority "
	       "rate_limits include_vh_rate_limits"),
	AGENT("cors internal_redirect_policy request_mirror_policies cluster_header prefix_rewrite "
	      "regex_rewrite "
	      "host_rewrite_path_regex "
	      "path_rewrite host_rewrite_literal "
	      "auto_host_rewrite host_rewrite_header host_rewrite append_x_forwarded_host "
	      "timeout idle_timeout retry_policy hash_policy max_grpc_timeout upgrade_configs "
	      "max_stream_duration"),
	QUIET("flush_timeout", "how long a connection that ends may take"),
	QUIET("early_data_policy", "no early data without TLS"),
	QUIET("grpc_timeout_offset", "of max_grpc_timeout, noted itself"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy"),
	AGENT("header cookie connection_properties query_parameter terminal"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties"),
	AGENT("source_ip"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy.Cookie"),
	AGENT("name ttl path attributes"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute"),
	AGENT("name value"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy.Header"),
	AGENT("header_name regex_rewrite"),
	MESSAGE("envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter"),
	AGENT("name"),
	MESSAGE("envoy.config.route.v3.RouteAction.MaxStreamDuration"),
	AGENT("max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset"),
	MESSAGE("envoy.config.route.v3.RouteAction.RequestMirrorPolicy"),
	AGENT("cluster cluster_header runtime_fraction disable_shadow_host_suffix_append "
	      "host_rewrite_literal request_headers_mutations"),
	QUIET("trace_sampled", "observes, changes no traffic"),
	MESSAGE("envoy.config.route.v3.RouteAction.UpgradeConfig"),
	AGENT("upgrade_type enabled"),
	MESSAGE("envoy.config.route.v3.RouteConfiguration"),
	KERNEL("name virtual_hosts response_headers_to_add response_headers_to_remove "
	       "most_specific_header_mutations_wins validate_clusters "
	       "max_direct_response_body_size_bytes ignore_port_in_host_matching "
	       "ignore_path_parameters_in_path_matching typed_per_filter_config vhost_header"),
	AGENT("request_mirror_policies request_headers_to_add request_headers_to_remove "
	      "internal_only_headers"),
	QUIET("metadata", "a name or data that nothing here reads"),
	MESSAGE("envoy.config.route.v3.RouteMatch"),
	KERNEL("prefix path safe_regex connect_matcher path_separated_prefix case_sensitive "
	       "runtime_fraction headers query_parameters cookies grpc tls_context "
	       "dynamic_metadata "
	       "filter_state"),
	MESSAGE("envoy.config.route.v3.RouteMatch.ConnectMatcher"),
	MESSAGE("envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions"),
	MESSAGE("envoy.config.route.v3.RouteMatch.TlsContextMatchOptions"),
	KERNEL("presented validated"),
	MESSAGE("envoy.config.route.v3.VirtualHost"),
	KERNEL("require_tls name domains routes response_headers_to_add response_headers_to_remove "
	       "typed_per_filter_config rate_limits"),
	AGENT("cors request_mirror_policies request_headers_to_add request_headers_to_remove "
	      "include_request_attempt_count include_is_timeout_retry_header "
	      "include_attempt_count_in_response retry_policy"),
	QUIET("metadata", "a name or data that nothing here reads"),
	QUIET("virtual_clusters", "observes, changes no traffic"),
	QUIET("per_request_buffer_limit_bytes request_body_buffer_limit",
	      "bodies of retried requests have weft's own limit"),
	MESSAGE("envoy.config.route.v3.WeightedCluster"),
	KERNEL("clusters"),
	AGENT("header_name use_hash_policy"),
	QUIET("total_weight", "the sum of the weights, as in Envoy"),
	QUIET("runtime_key_prefix",
	      "no runtime: the configured weights hold, as in Envoy without one"),
	MESSAGE("envoy.config.route.v3.WeightedCluster.ClusterWeight"),
	KERNEL("metadata_match name weight typed_per_filter_config"),
	AGENT("cluster_header request_headers_to_add request_headers_to_remove "
	      "response_headers_to_add response_headers_to_remove host_rewrite_literal"),
	MESSAGE("envoy.extensions.internal_redirect.allow_listed_routes.v3."
		"AllowListedRoutesConfig"),
	AGENT("allowed_route_names"),
	END,
};
