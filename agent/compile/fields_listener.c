// SPDX-License-Identifier: Apache-2.0
/* Listeners, their filters, RBAC. See fields_table.h. */

#include "agent/compile/fields_table.h"

const struct weft_field_row weft_fields_listener[] = {
	MESSAGE("envoy.config.listener.v3.AdditionalAddress"),
	KERNEL("address"),
	QUIET("socket_options tcp_keepalive",
	      "of a socket that weft does not open: connections are taken in connect()"),
	MESSAGE("envoy.config.listener.v3.Filter"),
	KERNEL("name typed_config"),
	MESSAGE("envoy.config.listener.v3.FilterChain"),
	KERNEL("filter_chain_match filters transport_socket name"),
	QUIET("metadata", "a name or data that nothing here reads"),
	QUIET("transport_socket_connect_timeout", "no handshake"),
	MESSAGE("envoy.config.listener.v3.FilterChainMatch"),
	KERNEL("destination_port prefix_ranges transport_protocol application_protocols"),
	AGENT("server_names direct_source_prefix_ranges source_type source_prefix_ranges "
	      "source_ports"),
	MESSAGE("envoy.config.listener.v3.Listener"),
	KERNEL("name address additional_addresses filter_chains use_original_dst "
	       "default_filter_chain listener_filters traffic_direction"),
	AGENT("per_connection_buffer_limit_bytes listener_filters_timeout "
	      "continue_on_listener_filters_timeout"),
	QUIET("stat_prefix metadata", "a name or data that nothing here reads"),
	QUIET("deprecated_v1 drain_type transparent freebind socket_options "
	      "tcp_fast_open_queue_length connection_balance_config reuse_port "
	      "enable_reuse_port tcp_backlog_size max_connections_to_accept_per_socket_event "
	      "bind_to_port enable_mptcp ignore_global_conn_limit bypass_overload_manager "
	      "tcp_keepalive",
	      "of a socket that weft does not open: connections are taken in connect()"),
	QUIET("access_log", "observes, changes no traffic"),
	MESSAGE("envoy.config.listener.v3.ListenerFilter"),
	KERNEL("name typed_config"),
	MESSAGE("envoy.config.rbac.v3.Permission"),
	KERNEL("and_rules or_rules any header url_path destination_ip destination_port "
	       "destination_port_range not_rule metadata requested_server_name sourced_metadata "
	       "matcher uri_template"),
	MESSAGE("envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"),
	KERNEL("path_template"),
	MESSAGE("envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"),
	KERNEL("upstream_ip upstream_port_range"),
	MESSAGE("envoy.config.rbac.v3.Permission.Set"),
	KERNEL("rules"),
	MESSAGE("envoy.config.rbac.v3.Policy"),
	KERNEL("permissions principals"),
	MESSAGE("envoy.config.rbac.v3.Principal"),
	KERNEL("and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip header "
	       "url_path not_id metadata filter_state sourced_metadata"),
	MESSAGE("envoy.config.rbac.v3.Principal.Authenticated"),
	KERNEL("principal_name"),
	MESSAGE("envoy.config.rbac.v3.Principal.Set"),
	KERNEL("ids"),
	MESSAGE("envoy.config.rbac.v3.RBAC"),
	KERNEL("action policies"),
	QUIET("audit_logging_options", "observes, changes no traffic"),
	MESSAGE("envoy.config.rbac.v3.SourcedMetadata"),
	KERNEL("metadata_matcher metadata_source"),
	MESSAGE("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
	AGENT("path format typed_json_format log_format"),
	MESSAGE("envoy.extensions.access_loggers.stream.v3.StderrAccessLog"),
	AGENT("log_format"),
	MESSAGE("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
	AGENT("log_format"),
	MESSAGE("envoy.extensions.filters.common.fault.v3.FaultDelay"),
	AGENT("fixed_delay header_delay percentage"),
	MESSAGE("envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay"),
	MESSAGE("envoy.extensions.filters.common.fault.v3.FaultRateLimit"),
	AGENT("fixed_limit header_limit percentage"),
	MESSAGE("envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit"),
	AGENT("limit_kbps"),
	MESSAGE("envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit"),
	MESSAGE("envoy.extensions.filters.http.cors.v3.Cors"),
	MESSAGE("envoy.extensions.filters.http.cors.v3.CorsPolicy"),
	AGENT("allow_origin_string_match allow_methods allow_headers expose_headers max_age "
	      "allow_credentials filter_enabled shadow_enabled allow_private_network_access "
	      "forward_not_matching_preflights"),
	MESSAGE("envoy.extensions.filters.http.fault.v3.FaultAbort"),
	KERNEL("http_status grpc_status percentage"),
	AGENT("header_abort"),
	MESSAGE("envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort"),
	MESSAGE("envoy.extensions.filters.http.fault.v3.HTTPFault"),
	KERNEL("abort upstream_cluster headers max_active_faults"),
	AGENT("delay downstream_nodes response_rate_limit"),
	QUIET("abort_percent_runtime delay_percent_runtime delay_duration_runtime "
	      "abort_http_status_runtime abort_grpc_status_runtime max_active_faults_runtime "
	      "response_rate_limit_percent_runtime",
	      "no runtime: the configured values hold, as in Envoy without one"),
	QUIET("disable_downstream_cluster_stats filter_metadata", "observes, changes no traffic"),
	MESSAGE("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"),
	QUIET("emit_filter_state individual_method_stats_allowlist stats_for_all_methods "
	      "enable_upstream_stats replace_dots_in_grpc_service_name",
	      "observes, changes no traffic"),
	MESSAGE("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"),
	KERNEL("stat_prefix status token_bucket filter_enabled filter_enforced "
	       "response_headers_to_add always_consume_default_token_bucket "
	       "rate_limited_as_resource_exhausted descriptors stage vh_rate_limits rate_limits"),
	AGENT("request_headers_to_add_when_not_enforced "
	      "local_rate_limit_per_downstream_connection max_dynamic_descriptors "
	      "enable_x_ratelimit_headers"),
	MESSAGE("envoy.extensions.filters.http.ratelimit.v3.RateLimit"),
	AGENT("domain stage request_type timeout failure_mode_deny "
	      "rate_limited_as_resource_exhausted rate_limit_service enable_x_ratelimit_headers "
	      "disable_x_envoy_ratelimited_header rate_limited_status response_headers_to_add "
	      "status_on_error stat_prefix filter_enabled filter_enforced "
	      "failure_mode_deny_percent rate_limits"),
	MESSAGE("envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute"),
	AGENT("vh_rate_limits rate_limits domain"),
	QUIET("override_option", "Envoy does not look at it either (1.40)"),
	MESSAGE("envoy.extensions.filters.http.rbac.v3.RBAC"),
	KERNEL("rules rules_stat_prefix shadow_rules shadow_rules_stat_prefix"),
	QUIET("track_per_rule_stats", "observes, changes no traffic"),
	MESSAGE("envoy.extensions.filters.http.rbac.v3.RBACPerRoute"),
	KERNEL("rbac"),
	MESSAGE("envoy.extensions.filters.http.router.v3.Router"),
	AGENT("suppress_envoy_headers strict_check_headers respect_expected_rq_timeout"),
	QUIET("dynamic_stats start_child_span upstream_log upstream_log_options "
	      "suppress_grpc_request_failure_code_stats",
	      "observes, changes no traffic"),
	QUIET("reject_connect_request_early_data", "no early data without TLS"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3."
		"HttpConnectionManager"),
	KERNEL("stat_prefix rds route_config http_filters http_protocol_options server_name "
	       "via upgrade_configs normalize_path merge_slashes "
	       "path_with_escaped_slashes_action strip_matching_host_port strip_any_host_port "
	       "strip_trailing_host_dot"),
	AGENT("drain_timeout codec_type add_user_agent common_http_protocol_options "
	      "server_header_transformation max_request_headers_kb stream_idle_timeout "
	      "request_timeout request_headers_timeout delayed_close_timeout "
	      "use_remote_address internal_address_config xff_num_trusted_hops skip_xff_append "
	      "append_x_forwarded_port generate_request_id preserve_external_request_id "
	      "always_set_request_id_in_response proxy_100_continue "
	      "stream_error_on_invalid_http_message forward_client_cert_details "
	      "scheme_header_transformation"),
	AGENT("access_log access_log_flush_interval flush_access_log_on_new_request "
	      "access_log_options"),
	QUIET("tracing request_id_extension", "observes, changes no traffic"),
	QUIET("http1_safe_max_connection_duration stream_flush_timeout "
	      "drain_timeout_jitter",
	      "how long a connection that ends may take"),
	AGENT("http2_protocol_options local_reply_config"),
	QUIET("http3_protocol_options", "apps connect by TCP"),
	QUIET("set_current_client_cert_details", "no client has a certificate"),
	QUIET("append_local_overload add_proxy_protocol_connection_state",
	      "of headers that are not sent"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
		"HcmAccessLogOptions"),
	AGENT("access_log_flush_interval flush_access_log_on_new_request "
	      "flush_log_on_tunnel_successfully_established"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
		"InternalAddressConfig"),
	AGENT("cidr_ranges"),
	QUIET("unix_sockets", "apps connect by TCP"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager."
		"UpgradeConfig"),
	AGENT("upgrade_type enabled"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"),
	KERNEL("name typed_config is_optional disabled"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig"),
	AGENT("mappers body_format"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.Rds"),
	KERNEL("config_source route_config_name"),
	MESSAGE("envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper"),
	AGENT("filter status_code body body_format_override headers_to_add"),
	MESSAGE("envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"),
	KERNEL("stat_prefix token_bucket runtime_enabled share_key"),
	MESSAGE("envoy.extensions.filters.network.ratelimit.v3.RateLimit"),
	AGENT("stat_prefix domain descriptors timeout failure_mode_deny rate_limit_service"),
	MESSAGE("envoy.extensions.filters.network.rbac.v3.RBAC"),
	KERNEL("rules shadow_rules stat_prefix enforcement_type"),
	QUIET("shadow_rules_stat_prefix", "a name or data that nothing here reads"),
	MESSAGE("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
	AGENT("max_client_hello_size close_connection_on_client_hello_parsing_errors"),
	QUIET("enable_ja3_fingerprinting enable_ja4_fingerprinting",
	      "observes, changes no traffic"),
	QUIET("initial_read_buffer_size", "how much is read at once"),
	MESSAGE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
	KERNEL("stat_prefix cluster weighted_clusters metadata_match"),
	AGENT("idle_timeout max_connect_attempts max_downstream_connection_duration "
	      "max_downstream_connection_duration_jitter_percentage"),
	QUIET("access_log access_log_flush_interval flush_access_log_on_connected "
	      "access_log_options",
	      "observes, changes no traffic"),
	QUIET("check_drain_close", "how long a connection that ends may take"),
	MESSAGE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster"),
	KERNEL("clusters"),
	MESSAGE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster."
		"ClusterWeight"),
	KERNEL("name weight metadata_match"),
	END,
};
