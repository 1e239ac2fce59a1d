# SPDX-License-Identifier: Apache-2.0
"""Subscribes to an xDS server as one proxy would and writes what it serves as JSON.

    python3 -m venv venv && venv/bin/pip install grpcio xds-protos
    venv/bin/python ads_dump.py 127.0.0.1:15010 out/ [--node ID] [--namespace NS] [--labels k=v,k=v] [--wire]

Writes out/{cds,eds,lds,rds}.json (proto3 JSON, original field names) and, with --wire, the raw
DiscoveryResponse of each type as out/*.pb. State-of-the-world ADS, first complete answer of each type.
"""
import argparse
import importlib
import json
import os
import pkgutil
import queue
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format


def import_all(package):
    root = importlib.import_module(package)
    for m in pkgutil.walk_packages(root.__path__, package + "."):
        if m.name.endswith("_pb2"):
            try:
                importlib.import_module(m.name)
            except Exception:  # a proto whose own imports are not packaged
                pass


def to_json(msg):
    """JSON of msg; the content of an Any whose type is not packaged is left out (its @type stays)."""
    while True:
        try:
            return json.loads(json_format.MessageToJson(msg, preserving_proto_field_name=True))
        except TypeError as e:
            name = str(e).rsplit("/", 1)[-1]
            package, _, short = name.rpartition(".")
            descriptor_pool.Default().Add(descriptor_pb2.FileDescriptorProto(
                name=name + ".placeholder", package=package, syntax="proto3",
                message_type=[descriptor_pb2.DescriptorProto(name=short)]))
            print("content not shown:", name, file=sys.stderr)


TYPES = {
    "cds": "envoy.config.cluster.v3.Cluster",
    "eds": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "lds": "envoy.config.listener.v3.Listener",
    "rds": "envoy.config.route.v3.RouteConfiguration",
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("server")
    ap.add_argument("out")
    ap.add_argument("--node", default="sidecar~10.1.0.5~web.shop~shop.svc.cluster.local")
    ap.add_argument("--namespace", default="shop")
    ap.add_argument("--service-account", default="web")
    ap.add_argument("--labels", default="app=web")
    ap.add_argument("--wire", action="store_true")
    a = ap.parse_args()
    for p in ("envoy", "udpa", "xds"):
        import_all(p)
    from envoy.config.cluster.v3 import cluster_pb2
    from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

    node = {
        "id": a.node,
        "metadata": {
            "NAMESPACE": a.namespace,
            "SERVICE_ACCOUNT": a.service_account,
            "INSTANCE_IPS": a.node.split("~")[1],
            "CLUSTER_ID": "Kubernetes",
            "LABELS": dict(kv.split("=") for kv in a.labels.split(",") if kv),
        },
    }
    os.makedirs(a.out, exist_ok=True)
    q = queue.Queue()

    def ask(t, names=(), ver="", nonce="", first=False):
        r = discovery_pb2.DiscoveryRequest(
            type_url="type.googleapis.com/" + TYPES[t], resource_names=names, version_info=ver, response_nonce=nonce)
        if first:
            json_format.ParseDict(node, r.node)
        q.put(r)

    stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(
        grpc.insecure_channel(a.server, options=[("grpc.max_receive_message_length", -1)]))
    ask("cds", first=True)
    want, done = {"cds", "lds"}, set()

    def route_names(obj):
        if isinstance(obj, dict):
            if "route_config_name" in obj:
                yield obj["route_config_name"]
            for v in obj.values():
                yield from route_names(v)
        elif isinstance(obj, list):
            for v in obj:
                yield from route_names(v)

    for r in stub.StreamAggregatedResources(iter(q.get, None)):
        t = next(k for k, v in TYPES.items() if r.type_url.endswith(v))
        docs = [to_json(x) for x in r.resources]
        with open(os.path.join(a.out, t + ".json"), "w") as f:
            json.dump(docs, f, indent=1, sort_keys=True)
        if a.wire:
            with open(os.path.join(a.out, t + ".pb"), "wb") as f:
                f.write(r.SerializeToString())
        print(t, "version", r.version_info, len(r.resources), "resources", r.ByteSize(), "bytes", file=sys.stderr)
        if t == "cds":
            names = []
            for x in r.resources:
                c = cluster_pb2.Cluster()
                x.Unpack(c)
                if c.type == cluster_pb2.Cluster.EDS:
                    names.append(c.eds_cluster_config.service_name or c.name)
            ask("cds", ver=r.version_info, nonce=r.nonce)
            if names:
                want.add("eds")
                ask("eds", names)
            ask("lds")
        elif t == "lds":
            names = sorted(set(route_names(docs)))
            ask("lds", ver=r.version_info, nonce=r.nonce)
            if names:
                want.add("rds")
                ask("rds", names)
        done.add(t)
        if want <= done:
            break
    q.put(None)


if __name__ == "__main__":
    main()
