// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>

#include "agent/options.h"
#include "bpf/abi/limits.h"

#define STRING(n, a, h, f)                                                                         \
	{                                                                                          \
		.name = n, .arg = a, .help = h, .kind = WEFT_OPTION_STRING, .fallback = f          \
	}
#define REQUIRED(n, a, h)                                                                          \
	{                                                                                          \
		.name = n, .arg = a, .help = h, .kind = WEFT_OPTION_STRING, .required = true       \
	}
#define LIST(n, a, h)                                                                              \
	{                                                                                          \
		.name = n, .arg = a, .help = h, .kind = WEFT_OPTION_LIST                           \
	}
#define FLAG(n, h)                                                                                 \
	{                                                                                          \
		.name = n, .help = h, .kind = WEFT_OPTION_FLAG                                     \
	}
#define NUMBER(n, a, h, f, lo, hi)                                                                 \
	{                                                                                          \
		.name = n, .arg = a, .help = h, .kind = WEFT_OPTION_NUMBER, .fallback = f,         \
		.min = lo, .max = hi                                                               \
	}
#define ADMIN STRING("admin", "PATH", "unix socket of the daemon", "/run/weft/admin.sock")
#define IMAGE_SIZE                                                                                 \
	NUMBER("image-size", "BYTES", "memory for the compiled configuration, a power of two",     \
	       "32M", 1u << 20, WEFT_IMAGE_SIZE_MAX)
#define OPTIONS(t) .options = (t), .n_options = sizeof(t) / sizeof((t)[0])

static const struct weft_option run_options[] = {
	STRING("config", "PATH", "file or folder of resources, reloaded when it changes", NULL),
	LIST("xds", "ADDRESS",
	     "xDS server (ADS), host:port or unix:///PATH; further ones take its place in order"),
	FLAG("xds-sotw", "ask it for state of the world instead of delta"),
	FLAG("xds-separate", "ask it with a stream for each type instead of one for all (ADS)"),
	STRING("xds-views", "auto|node|pod",
	       "one stream for the node, or one for each kind of pod (namespace, service account, "
	       "labels) with the node of its sidecar; auto: by pod for Istio's ports 15010 and "
	       "15012",
	       "auto"),
	STRING("xds-ca", "FILE|system",
	       "TLS to the xDS server: authorities its certificate may come from (PEM), or the "
	       "system's",
	       NULL),
	STRING("xds-crl", "FILE", "what those authorities have revoked (PEM), and their own", NULL),
	STRING("xds-sni", "NAME", "server name for TLS; else the host of --xds", NULL),
	LIST("xds-san", "NAME",
	     "name that the server's certificate may carry, DNS, IP or URI; else --xds-sni; may be "
	     "repeated"),
	STRING("xds-cert", "FILE", "client certificate and chain (PEM) for the xDS server", NULL),
	STRING("xds-key", "FILE", "its key (PEM)", NULL),
	STRING("xds-token-file", "FILE", "bearer token for the xDS server, read for each stream",
	       NULL),
	FLAG("xds-token-plaintext", "send the token without TLS too"),
	STRING("xds-cluster-id", "ID", "header ClusterID for the xDS server (Istio)", NULL),
	NUMBER("xds-interval", "MS",
	       "at least so long between two publishes of its updates, those that come meanwhile "
	       "are "
	       "published together; 0: one by one",
	       "20", 0, 1000),
	STRING("xds-cache", "FILE",
	       "keep the last good configuration there; it serves while no server does", NULL),
	STRING("cgroup", "PATH",
	       "cgroup v2 folder whose sockets are governed; else the whole hierarchy", NULL),
	ADMIN,
	STRING("admin-http", "ADDRESS",
	       "HTTP for probes, scrapers and tools (/ready, /stats, /config_dump ...): "
	       "ADDRESS:PORT of the loopback, or the path of a unix socket",
	       NULL),
	STRING("csds", "ADDRESS",
	       "client status discovery (gRPC): ADDRESS:PORT of the loopback, or the path of a "
	       "unix socket",
	       NULL),
	STRING("node-id", "ID",
	       "node.id: for the xDS server, else the host's name; before that of a bootstrap",
	       NULL),
	STRING("node-cluster", "NAME", "node.cluster, before that of a bootstrap", NULL),
	STRING("node-metadata", "JSON", "node.metadata for the xDS server, a JSON object", NULL),
	STRING("node-domain", "NAME", "domain of the cluster's services, in the node.id of pods",
	       "cluster.local"),
	NUMBER("workers", "N", "threads that carry connections, 0: one per CPU", "0", 0, 256),
	IMAGE_SIZE,
	NUMBER("pod-connections", "N",
	       "captured connections of one pod with kernel help; the agent alone judges more",
	       "16384", 1, WEFT_SLOTS_DEFAULT),
	NUMBER("pod-files", "N",
	       "descriptors of one pod's connections, to apps and endpoints; 0: a quarter of the "
	       "agent's",
	       "0", 0, 1u << 20),
	STRING("access-log-dir", "DIR",
	       "folder below which access logs may be written; else only /dev/stdout and "
	       "/dev/stderr",
	       NULL),
	STRING("log-level", "LEVEL", "error, warn, info or debug", "info"),
	FLAG("no-kernel",
	     "accept and show configuration only: no program is loaded, no pod enrolled"),
};

static const struct weft_option pod_add_options[] = {
	STRING("netns", "PATH", "network namespace of the pod", NULL),
	NUMBER("pid", "N", "a process in the pod, instead of --netns", NULL, 1, 1u << 30),
	REQUIRED("name", "NAME", "name of the pod"),
	STRING("namespace", "NAME", "namespace of the pod", "default"),
	STRING("service-account", "NAME", "service account of the pod", "default"),
	LIST("label", "KEY=VALUE", "label of the pod; may be repeated"),
	LIST("address", "IP",
	     "address for the listeners inside the pod, one per family; else discovered"),
	NUMBER("wait", "SECONDS",
	       "how long to wait for the pod's configuration; without one the pod stays enrolled, "
	       "its "
	       "connections are refused, and the exit status is 1",
	       "0", 0, 3600),
	ADMIN,
};

static const struct weft_option pod_remove_options[] = {
	REQUIRED("name", "NAME", "name of the pod"),
	STRING("namespace", "NAME", "namespace of the pod", "default"),
	NUMBER("drain", "MILLISECONDS", "time for open connections to end", "1000", 0, 600000),
	ADMIN,
};

static const struct weft_option admin_options[] = {ADMIN};
static const struct weft_option check_options[] = {
	FLAG("fields", "each field with what becomes of it, by message, and how often it is set"),
	IMAGE_SIZE};
static const struct weft_option explain_options[] = {
	STRING("config", "PATH", "file or folder of resources to decide with", NULL),
	STRING("pod", "NAME",
	       "ask the running agent as this pod ([NAMESPACE/]NAME), instead of --config", NULL),
	STRING("listener", "NAME|ADDR:PORT",
	       "listener, or destination of the connection; else the only listener", NULL),
	STRING("method", "METHOD", "request method", "GET"),
	STRING("host", "HOST", "Host of the request; else the listener's name", NULL),
	STRING("path", "PATH", "request target", "/"),
	LIST("header", "NAME: VALUE", "header of the request; may be repeated"),
	STRING("source", "IP", "address of the client (the pod's; with --config 127.0.0.1)", NULL),
	STRING("server-name", "NAME", "the connection is TLS, whose ClientHello asks for this name",
	       NULL),
	ADMIN,
	IMAGE_SIZE,
};

const struct weft_command weft_commands[] = {
	{.name = "run",
	 .help = "Runs the agent in the foreground.",
	 OPTIONS(run_options),
	 .run = weft_cmd_run},
	{.name = "pod add",
	 .help = "Enrols a network namespace.",
	 OPTIONS(pod_add_options),
	 .run = weft_cmd_pod_add},
	{.name = "pod remove",
	 .help = "Takes a pod out.",
	 OPTIONS(pod_remove_options),
	 .run = weft_cmd_pod_remove},
	{.name = "pod list",
	 .help = "Lists the enrolled pods.",
	 OPTIONS(admin_options),
	 .run = weft_cmd_pod_list},
	{.name = "check",
	 .operands = "PATH",
	 .min_operands = 1,
	 .max_operands = 1,
	 .help = "Validates a configuration without a kernel: prints resource: field: reason and "
		 "exits 1 if it is refused; else how many fields the kernel applies, the agent "
		 "applies, and are without effect.",
	 OPTIONS(check_options),
	 .run = weft_cmd_check},
	{.name = "explain",
	 .help = "Decides one request and shows the steps and what would be sent; takes no token, "
		 "needs "
		 "no kernel.",
	 OPTIONS(explain_options),
	 .run = weft_cmd_explain},
	{.name = "dump",
	 .operands = "[WHAT]",
	 .max_operands = 1,
	 .help = "Shows listeners, routes, clusters, endpoints, pods, connections, stats or image; "
		 "without WHAT, a summary.",
	 OPTIONS(admin_options),
	 .run = weft_cmd_dump},
	{.name = "probe",
	 .help = "Tries what this kernel can do, feature by feature.",
	 .run = weft_cmd_probe},
	{.name = "version", .help = "Prints the version.", .run = weft_cmd_version},
	{.name = NULL},
};
