// SPDX-License-Identifier: Apache-2.0
/* Clusters, endpoints, load balancing. See fields_table.h. */

#include "agent/compile/fields_table.h"

const struct weft_field_row weft_fields_cluster[] = {
	MESSAGE("envoy.config.cluster.v3.CircuitBreakers"),
	KERNEL("thresholds"),
	AGENT("per_host_thresholds"),
	MESSAGE("envoy.config.cluster.v3.CircuitBreakers.Thresholds"),
	KERNEL("priority max_connections max_requests"),
	AGENT("max_pending_requests max_retries retry_budget track_remaining max_connection_pools"),
	MESSAGE("envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget"),
	AGENT("budget_percent min_retry_concurrency"),
	MESSAGE("envoy.config.cluster.v3.Cluster"),
	KERNEL("lb_subset_config transport_socket_matches name type eds_cluster_config lb_policy "
	       "load_assignment circuit_breakers original_dst_lb_config "
	       "least_request_lb_config round_robin_lb_config common_lb_config "
	       "transport_socket load_balancing_policy"),
	AGENT("cluster_type dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl "
	      "dns_lookup_family dns_resolvers use_tcp_for_dns_lookups dns_resolution_config "
	      "typed_dns_resolver_config wait_for_warm_on_init connect_timeout "
	      "per_connection_buffer_limit_bytes max_requests_per_connection "
	      "common_http_protocol_options "
	      "http_protocol_options http2_protocol_options protocol_selection "
	      "typed_extension_protocol_options ring_hash_lb_config "
	      "maglev_lb_config filters upstream_connection_options "
	      "ignore_health_on_host_removal"),
	QUIET("upstream_http_protocol_options", "of TLS"),
	QUIET("alt_stat_name metadata", "a name or data that nothing here reads"),
	QUIET("per_connection_buffer_high_watermark_timeout cleanup_interval "
	      "preconnect_policy",
	      "tunes connections, changes no answer"),
	AGENT("outlier_detection health_checks"),
	QUIET("close_connections_on_host_health_failure",
	      "health comes from EDS alone; with health_checks or outlier_detection refused"),
	QUIET("upstream_bind_config", "refused where requests go to the cluster"),
	QUIET("lrs_server lrs_report_endpoint_metrics track_timeout_budgets "
	      "track_cluster_stats",
	      "observes, changes no traffic"),
	MESSAGE("envoy.config.cluster.v3.Cluster.CommonLbConfig"),
	KERNEL("healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config"),
	AGENT("update_merge_window ignore_new_hosts_until_first_hc"),
	QUIET("override_host_status", "of a policy that is refused"),
	QUIET("close_connections_on_host_set_change",
	      "connections to an endpoint that left end by themselves"),
	QUIET("consistent_hashing_lb_config", "of another lb_policy"),
	MESSAGE("envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig"),
	AGENT("use_hostname_for_hashing hash_balance_factor"),
	MESSAGE("envoy.config.cluster.v3.Cluster.EdsClusterConfig"),
	KERNEL("eds_config service_name"),
	MESSAGE("envoy.config.cluster.v3.Cluster.LbSubsetConfig"),
	KERNEL("fallback_policy default_subset subset_selectors locality_weight_aware "
	       "scale_locality_weight panic_mode_any list_as_any metadata_fallback_policy"),
	MESSAGE("envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector"),
	KERNEL("keys single_host_per_subset fallback_policy fallback_keys_subset"),
	MESSAGE("envoy.config.cluster.v3.Cluster.LeastRequestLbConfig"),
	KERNEL("choice_count"),
	AGENT("active_request_bias slow_start_config"),
	MESSAGE("envoy.config.cluster.v3.Cluster.MaglevLbConfig"),
	AGENT("table_size"),
	MESSAGE("envoy.config.cluster.v3.Cluster.OriginalDstLbConfig"),
	AGENT("upstream_port_override"),
	MESSAGE("envoy.config.cluster.v3.Cluster.RingHashLbConfig"),
	AGENT("minimum_ring_size hash_function maximum_ring_size"),
	MESSAGE("envoy.config.cluster.v3.Cluster.RoundRobinLbConfig"),
	AGENT("slow_start_config"),
	MESSAGE("envoy.config.cluster.v3.Cluster.SlowStartConfig"),
	AGENT("slow_start_window aggression min_weight_percent"),
	MESSAGE("envoy.config.cluster.v3.Cluster.TransportSocketMatch"),
	KERNEL("name match"),
	QUIET("transport_socket", "TLS is refused where an endpoint selects it"),
	MESSAGE("envoy.config.cluster.v3.UpstreamConnectionOptions"),
	AGENT("happy_eyeballs_config"),
	QUIET("tcp_keepalive set_local_interface_name_on_upstream_connections",
	      "tunes connections, changes no answer"),
	MESSAGE("envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig"),
	AGENT("first_address_family_version first_address_family_count"),
	MESSAGE("envoy.config.cluster.v3.Filter"),
	AGENT("name typed_config"),
	MESSAGE("envoy.config.cluster.v3.OutlierDetection"),
	AGENT("consecutive_5xx interval base_ejection_time max_ejection_percent "
	      "enforcing_consecutive_5xx enforcing_success_rate success_rate_minimum_hosts "
	      "success_rate_request_volume success_rate_stdev_factor consecutive_gateway_failure "
	      "enforcing_consecutive_gateway_failure split_external_local_origin_errors "
	      "consecutive_local_origin_failure enforcing_consecutive_local_origin_failure "
	      "enforcing_local_origin_success_rate failure_percentage_threshold "
	      "enforcing_failure_percentage enforcing_failure_percentage_local_origin "
	      "failure_percentage_minimum_hosts failure_percentage_request_volume "
	      "max_ejection_time max_ejection_time_jitter always_eject_one_host"),
	AGENT("successful_active_health_check_uneject_host"),
	QUIET("detect_degraded_hosts", "refused when it is true"),
	MESSAGE("envoy.config.cluster.v3.LoadBalancingPolicy"),
	KERNEL("policies"),
	MESSAGE("envoy.config.cluster.v3.LoadBalancingPolicy.Policy"),
	KERNEL("typed_extension_config"),
	MESSAGE("envoy.config.core.v3.HealthCheck"),
	AGENT("timeout interval initial_jitter interval_jitter interval_jitter_percent "
	      "unhealthy_threshold healthy_threshold reuse_connection http_health_check "
	      "tcp_health_check grpc_health_check no_traffic_interval no_traffic_healthy_interval "
	      "unhealthy_interval unhealthy_edge_interval healthy_edge_interval "
	      "always_log_health_check_failures always_log_health_check_success "
	      "transport_socket_match_criteria"),
	QUIET("alt_port", "Envoy 1.40 has no use for it either"),
	QUIET("event_log_path event_logger event_service", "observes, changes no traffic"),
	QUIET("tls_options", "of TLS, which is refused where an endpoint selects it"),
	MESSAGE("envoy.config.core.v3.HealthCheck.HttpHealthCheck"),
	AGENT("host path send receive response_buffer_size request_headers_to_add "
	      "request_headers_to_remove expected_statuses retriable_statuses codec_client_type "
	      "service_name_matcher method"),
	MESSAGE("envoy.config.core.v3.HealthCheck.TcpHealthCheck"),
	AGENT("send receive"),
	MESSAGE("envoy.config.core.v3.HealthCheck.GrpcHealthCheck"),
	AGENT("service_name authority initial_metadata"),
	MESSAGE("envoy.config.core.v3.HealthCheck.Payload"),
	AGENT("text binary"),
	MESSAGE("envoy.config.endpoint.v3.ClusterLoadAssignment"),
	KERNEL("cluster_name endpoints policy"),
	MESSAGE("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy"),
	KERNEL("drop_overloads overprovisioning_factor weighted_priority_health"),
	MESSAGE("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload"),
	KERNEL("category drop_percentage"),
	MESSAGE("envoy.config.endpoint.v3.Endpoint"),
	KERNEL("address hostname"),
	QUIET("observability_name", "a name or data that nothing here reads"),
	AGENT("health_check_config additional_addresses"),
	MESSAGE("envoy.config.endpoint.v3.Endpoint.HealthCheckConfig"),
	AGENT("port_value hostname address disable_active_health_check"),
	MESSAGE("envoy.config.endpoint.v3.Endpoint.AdditionalAddress"),
	AGENT("address"),
	MESSAGE("envoy.config.endpoint.v3.LbEndpoint"),
	KERNEL("endpoint health_status metadata load_balancing_weight"),
	MESSAGE("envoy.config.endpoint.v3.LocalityLbEndpoints"),
	KERNEL("locality lb_endpoints load_balancing_weight priority"),
	QUIET("metadata proximity", "a name or data that nothing here reads"),
	MESSAGE("envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig"),
	AGENT("use_hostname_for_hashing hash_balance_factor"),
	MESSAGE("envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig"),
	KERNEL("locality_weighted_lb_config zone_aware_lb_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"),
	KERNEL("choice_count locality_lb_config"),
	AGENT("active_request_bias slow_start_config enable_full_scan selection_method"),
	MESSAGE("envoy.extensions.load_balancing_policies.maglev.v3.Maglev"),
	AGENT("locality_weighted_lb_config table_size consistent_hashing_lb_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.random.v3.Random"),
	KERNEL("locality_lb_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash"),
	AGENT("locality_weighted_lb_config hash_function minimum_ring_size maximum_ring_size "
	      "use_hostname_for_hashing hash_balance_factor "
	      "consistent_hashing_lb_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin"),
	KERNEL("locality_lb_config"),
	AGENT("slow_start_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3."
		"ClientSideWeightedRoundRobin"),
	AGENT("slow_start_config"),
	QUIET("enable_oob_load_report oob_reporting_period blackout_period "
	      "weight_expiration_period weight_update_period error_utilization_penalty "
	      "metric_names_for_computing_utilization",
	      "no load reports are read: all hosts weigh the same, as in Envoy without any"),
	MESSAGE("envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality"),
	KERNEL("endpoint_picking_policy"),
	MESSAGE("envoy.extensions.load_balancing_policies.subset.v3.Subset"),
	KERNEL("fallback_policy default_subset subset_selectors locality_weight_aware "
	       "scale_locality_weight panic_mode_any list_as_any metadata_fallback_policy "
	       "subset_lb_policy"),
	MESSAGE("envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector"),
	KERNEL("keys single_host_per_subset fallback_policy fallback_keys_subset"),
	MESSAGE("envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig"),
	AGENT("slow_start_window aggression min_weight_percent"),
	MESSAGE("envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
	AGENT("common_http_protocol_options explicit_http_config "
	      "use_downstream_protocol_config"),
	QUIET("upstream_http_protocol_options", "of TLS"),
	MESSAGE("envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig"),
	AGENT("http_protocol_options http2_protocol_options"),
	MESSAGE("envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig"),
	AGENT("http_protocol_options http2_protocol_options"),
	QUIET("http3_protocol_options", "apps connect by TCP"),
	MESSAGE("envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig"),
	KERNEL("fail_traffic_on_panic"),
	QUIET("routing_enabled min_cluster_size", "the node has no zone of its own"),
	MESSAGE("envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig"),
	MESSAGE("envoy.config.cluster.v3.Cluster.RefreshRate"),
	AGENT("base_interval max_interval"),
	MESSAGE("envoy.config.cluster.v3.Cluster.CustomClusterType"),
	AGENT("name typed_config"),
	MESSAGE("envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig."
		"LocalityWeightedLbConfig"),
	MESSAGE("envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig."
		"ZoneAwareLbConfig"),
	KERNEL("fail_traffic_on_panic"),
	QUIET("routing_enabled min_cluster_size force_locality_direct_routing force_local_zone "
	      "locality_basis",
	      "the node has no zone of its own"),
	MESSAGE("envoy.extensions.clusters.dns.v3.DnsCluster"),
	AGENT("dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter "
	      "typed_dns_resolver_config dns_lookup_family all_addresses_in_single_endpoint "
	      "dns_min_refresh_rate"),
	MESSAGE("envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate"),
	AGENT("base_interval max_interval"),
	MESSAGE("envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"),
	AGENT("resolvers dns_resolver_options use_resolvers_as_fallback query_timeout_seconds "
	      "query_tries rotate_nameservers edns0_max_payload_size reinit_channel_on_timeout"),
	QUIET("udp_max_queries", "no port outlives the questions that are open on it"),
	MESSAGE("envoy.config.core.v3.DnsResolutionConfig"),
	AGENT("resolvers dns_resolver_options"),
	MESSAGE("envoy.config.core.v3.DnsResolverOptions"),
	AGENT("use_tcp_for_dns_lookups no_default_search_domain"),
	END,
};
