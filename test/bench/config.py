# SPDX-License-Identifier: Apache-2.0
"""One configuration for every side: 50 virtual hosts of 4 routes, a rate limit on every request, a circuit breaker.

As Envoy resources (weft and Envoy read the same file but for the listeners' addresses) and as HAProxy's equivalent.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import asking  # noqa: E402  (the path is set above)
import resources as r  # noqa: E402

HOSTS = 50
HOST, PATH, LIMITED = "svc-25.test", "/api/v1/items/42", "/limited/x"
H2_HOST, GRPC_PATH, BIG_PATH = "h2.test", "/bench.Echo/Unary", "/big"
ASKED = 100  # so far above the first listener's port is that of the one whose requests a rate limit service is asked about
RLS_PATH = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
RLS_MESSAGE = b"\0\0\0\0\2\x08\1"  # overall_code: OK
GRPC_MESSAGE = b"\0\0\0\0\x10" + 16 * b"x"  # one message, not compressed
FEW, MANY, VERY_MANY = 10, 1000, 10000
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {"typed_extension_protocol_options": {_OPTIONS: {"@type": "type.googleapis.com/" + _OPTIONS,
                                                         "explicit_http_config": {"http2_protocol_options": {}}}}}
BREAKER = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}


def _host(i):
    return r.host(f"svc-{i}", [f"svc-{i}.test"], r.route("/health", "web", r.with_header("x-canary", "yes")),
                  r.limited(r.route("/limited", "web"), 1), r.route("/api/v1/items", "web"), r.route("/", "web"))


def _long_host(n):
    """n routes, the last of which refuses: what finding the last of many costs."""
    routes = [r.route(f"/path-{i:04}/", "web") for i in range(n - 1)]
    return r.host(f"routes-{n}", [f"routes-{n}.test"], *routes, r.limited(r.route("/last", "web"), 1))


def _flat_host(n, tables):
    """A table of `tables` (bench_flat), expressions and header conditions in it; its last route refuses."""
    table = json.loads(subprocess.check_output([tables, "routes", str(n)]))
    host = next(x for x in table if "virtual_hosts" in x)["virtual_hosts"][0]
    routes = [dict(x, route={"cluster": "web"}) for x in host["routes"][:-1]]
    return r.host(f"flat-{n}", [f"flat-{n}.test"], *routes, r.limited(r.route("/last", "web"), 1))


def envoy(address, port, backend, backend_port, h2_port, tcp_address=None, tables=None):
    hosts = [_host(i) for i in range(HOSTS)] + [_long_host(FEW), _long_host(MANY), r.host("h2", [H2_HOST], r.route("/", "web-h2"))]
    if tables:
        hosts += [_flat_host(n, tables) for n in (FEW, VERY_MANY)]
    listeners = [r.http("main", address, port, hosts, r.rate_limit(1000000000, "1s"))]
    rules = [{"actions": [{"generic_key": {"descriptor_value": "bench"}}]}]
    listeners.append(asking.asks(r.http("asked", address, port + ASKED, hosts[:HOSTS]), domain="bench", failure_mode_deny=True, rate_limits=rules))
    if tcp_address:
        listeners.append(r.tcp("tcp", tcp_address, port, "web"))
    boot = r.bootstrap(listeners, [r.cluster("web", (backend, backend_port), **r.breaker(**BREAKER)),
                                   r.cluster("web-h2", (backend, h2_port), **r.breaker(**BREAKER), **HTTP2),
                                   r.cluster("rls", (backend, h2_port), **r.breaker(**BREAKER), **HTTP2)])
    return dict({"node": {"id": "bench", "cluster": "bench"}}, **boot)


def haproxy(port, backend, backend_port, map_file, threads):
    """(configuration, map): a tree of host + path prefix, one counter that every request pays, a limit per server."""
    routes = "".join(f"svc-{i}.test{p} web\n" for i in range(HOSTS) for p in ("/health", "/limited", "/api/v1/items", "/"))
    text = f"""global
    maxconn 8000
    nbthread {threads}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
frontend main
    bind 127.0.0.1:{port}
    stick-table type string len 8 size 16 store http_req_rate(1s)
    http-request track-sc0 str(all)
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000000 }}
    use_backend %[base,map_beg({map_file})]
backend web
    server web {backend}:{backend_port} maxconn {BREAKER["max_connections"]}
"""
    return text, routes


def nginx(port, h2_port, folder):
    """HTTP/1.1 on port, HTTP/2 on h2_port; GRPC_PATH and RLS_PATH answer any call with the file of that name in the folder, BIG_PATH with the one named
    `big`."""
    return f"""daemon off;
worker_processes 2;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        location / {{
            default_type text/plain;
            return 200 "{'x' * 99}\\n";
        }}
        location {BIG_PATH} {{
            root {folder};
            sendfile on;
        }}
    }}
    server {{
        listen {h2_port} http2 backlog=4096;
        http2_max_concurrent_streams 1024;
        location / {{
            default_type text/plain;
            return 200 "{'x' * 99}\\n";
        }}
        location ~ ^({GRPC_PATH}|{RLS_PATH})$ {{
            root {folder};
            default_type application/grpc;
            error_page 405 =200 $uri;
            add_trailer grpc-status 0 always;
        }}
    }}
}}
"""
