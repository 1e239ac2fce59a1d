# SPDX-License-Identifier: Apache-2.0
"""An xDS server (delta, state of the world; ADS, or a service for each type) that does what a test tells it, message by message.

Messages are read and written as raw protobuf with the few lines below, so that broken ones can be sent
and nothing of the client's own schema is shared. Needs only grpcio.
"""
import os
import queue
import threading
from concurrent import futures

# Whoever forks here (subprocess with preexec_fn) executes something else: gRPC need not follow, and aborts when a fork
# meets a server that stops.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
import grpc  # noqa: E402

METHOD = "envoy.service.discovery.v3.AggregatedDiscoveryService"
PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
HCM = (PREFIX + "envoy.extensions.filters.network.http_connection_manager.v3."
       "HttpConnectionManager")
ROUTER = PREFIX + "envoy.extensions.filters.http.router.v3.Router"
TIMEOUT = 15
# The services of one type: (name, method of delta, of state of the world).
SERVICES = {
    CDS: ("envoy.service.cluster.v3.ClusterDiscoveryService", "DeltaClusters", "StreamClusters"),
    EDS: ("envoy.service.endpoint.v3.EndpointDiscoveryService", "DeltaEndpoints", "StreamEndpoints"),
    LDS: ("envoy.service.listener.v3.ListenerDiscoveryService", "DeltaListeners", "StreamListeners"),
    RDS: ("envoy.service.route.v3.RouteDiscoveryService", "DeltaRoutes", "StreamRoutes"),
}


# ---- protobuf ----

def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """A field of wire type 0 (int) or 2 (str, bytes)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """{number: [values]} of one message."""
    fields, at = {}, 0

    def read_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = read_varint()
        if key & 7 == 0:
            value = read_varint()
        elif key & 7 == 2:
            n = read_varint()
            value = data[at:at + n]
            at += n
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            value, at = data[at:at + 4], at + 4
        fields.setdefault(key >> 3, []).append(value)
    return fields


class Request:
    """A DeltaDiscoveryRequest."""

    def __init__(self, data):
        f = parse(data)
        self.node = parse(f[1][0]) if 1 in f else None
        self.type_url = f.get(2, [b""])[0].decode()
        self.subscribe = sorted(x.decode() for x in f.get(3, []))
        self.unsubscribe = sorted(x.decode() for x in f.get(4, []))
        self.versions = {}
        for entry in f.get(5, []):
            e = parse(entry)
            self.versions[e[1][0].decode()] = e[2][0].decode()
        self.nonce = f.get(6, [b""])[0].decode()
        self.error = parse(f[7][0]).get(2, [b""])[0].decode() if 7 in f else None

    def __repr__(self):
        return str(vars(self))


class SotwRequest:
    """A DiscoveryRequest."""

    def __init__(self, data):
        f = parse(data)
        self.version = f.get(1, [b""])[0].decode()
        self.node = parse(f[2][0]) if 2 in f else None
        self.names = sorted(x.decode() for x in f.get(3, []))
        self.type_url = f.get(4, [b""])[0].decode()
        self.nonce = f.get(5, [b""])[0].decode()
        self.error = parse(f[6][0]).get(2, [b""])[0].decode() if 6 in f else None

    def __repr__(self):
        return str(vars(self))


# ---- resources ----

def ads_source():
    return field(3, b"")


def address(port, ip="10.0.0.1"):
    return field(1, field(2, ip) + field(3, port))


def eds_cluster(name, seconds=1, padding=""):
    alt = field(28, padding) if padding else b""
    return (field(1, name) + field(2, 3) + field(3, field(1, ads_source())) +
            field(4, field(1, seconds)) + alt)


def static_cluster(name, padding=""):
    return field(1, name) + field(33, cla(name, 80)) + (field(28, padding) if padding else b"")


def cla(name, port):
    return field(1, name) + field(2, field(2, field(1, field(1, address(port)))))


def manager(route_name):
    """A connection manager, packed."""
    router = field(1, "envoy.filters.http.router") + field(4, field(1, ROUTER))
    hcm = field(2, "in") + field(3, field(1, ads_source()) + field(2, route_name)) + field(5, router)
    return field(1, HCM) + field(2, hcm)


def listener(name, port, route_name, ip="10.0.0.1"):
    network_filter = field(1, "hcm") + field(4, manager(route_name))
    return field(1, name) + field(2, address(port, ip)) + field(3, field(3, network_filter))


def api_listener(name, route_name):
    """What gRPC takes its routes from."""
    return field(1, name) + field(19, field(1, manager(route_name)))


def route(name, cluster):
    entry = field(1, field(1, "/")) + field(2, field(1, cluster))
    return field(1, name) + field(2, field(1, "all") + field(2, "*") + field(3, entry))


# ---- server ----

class Session:
    """One stream, from the server's side."""
    REQUEST = Request

    def __init__(self, context, service=None):
        self.context = context
        self.service = service  # the type of a service of one type
        self.metadata = dict(context.invocation_metadata())
        self.peer = context.auth_context()
        self.requests = queue.Queue()
        self.responses = queue.Queue()

    def next(self, type_url=None):
        r = self.requests.get(timeout=TIMEOUT)
        assert r is not None, "the client ended the stream"
        assert type_url in (None, r.type_url), "expected %s, got %r" % (type_url, r)
        return r

    def expect_nothing(self, seconds=0.3):
        try:
            r = self.requests.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError("unexpected: %r" % r)

    def send(self, type_url, nonce, resources=(), removed=()):
        """resources: (name, version, body)"""
        out = [field(4, type_url), field(5, nonce)]
        for name, version, body in resources:
            any_ = field(1, type_url) + field(2, body)
            out.append(field(2, field(3, name) + field(1, version) + field(2, any_)))
        out += [field(6, name) for name in removed]
        self.responses.put(b"".join(out))

    def ack(self, type_url, nonce):
        r = self.next(type_url)
        assert r.nonce == nonce and r.error is None, repr(r)

    def nack(self, type_url, nonce, text):
        r = self.next(type_url)
        assert r.nonce == nonce and r.error is not None and text in r.error, repr(r)

    def close(self):
        self.responses.put(None)


class SotwSession(Session):
    """The same, for state of the world."""
    REQUEST = SotwRequest

    def send(self, type_url, nonce, version, bodies=(), wrapped=()):
        """wrapped: (name, ttl in seconds, body or None), as envoy.service.discovery.v3.Resource"""
        out = [field(1, version), field(4, type_url), field(5, nonce)]
        out += [field(2, field(1, type_url) + field(2, body)) for body in bodies]
        for name, ttl, body in wrapped:
            r = field(3, name) + field(6, field(1, ttl))
            if body is not None:
                r += field(2, field(1, type_url) + field(2, body))
            out.append(field(2, field(1, PREFIX + "envoy.service.discovery.v3.Resource") + field(2, r)))
        self.responses.put(b"".join(out))

    def ack(self, type_url, nonce, version):
        r = self.next(type_url)
        assert (r.nonce, r.version, r.error) == (nonce, version, None), repr(r)
        return r

    def nack(self, type_url, nonce, version, text):
        r = self.next(type_url)
        assert (r.nonce, r.version) == (nonce, version) and r.error and text in r.error, repr(r)


class Streams:
    """The streams of one client, one for each type, as if they were one session; each is taken when it is first needed."""

    def __init__(self, server):
        self.server = server
        self.by_type = {}

    def of(self, type_url):
        while type_url not in self.by_type:
            s = self.server.session()
            assert s.service and s.service not in self.by_type, "a second stream of " + str(s.service)
            self.by_type[s.service] = s
        return self.by_type[type_url]

    def close(self, type_url):
        """The server ends one."""
        self.by_type.pop(type_url).close()

    def next(self, type_url):
        return self.of(type_url).next(type_url)

    def send(self, type_url, *args, **kwargs):
        self.of(type_url).send(type_url, *args, **kwargs)

    def ack(self, type_url, *args):
        return self.of(type_url).ack(type_url, *args)

    def nack(self, type_url, *args):
        return self.of(type_url).nack(type_url, *args)

    def expect_nothing(self, seconds=0.3):
        for s in self.by_type.values():
            s.expect_nothing(seconds / len(self.by_type))
        assert self.server.sessions.empty(), "a stream more"


class Server:
    """types: of which there are services, of one type each; ADS is always there."""

    def __init__(self, target="127.0.0.1:0", credentials=None, streams=8, types=tuple(SERVICES)):
        self.sessions = queue.Queue()
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=streams), options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_send_message_length", -1),
        ])
        self._add(METHOD, "DeltaAggregatedResources", "StreamAggregatedResources")
        for type_url in types:
            self._add(*SERVICES[type_url], type_url)
        if credentials:
            self.port = self.server.add_secure_port(target, credentials)
        else:
            self.port = self.server.add_insecure_port(target)
        assert self.port, "cannot listen on " + target  # of a unix socket: 1
        self.server.start()

    def _add(self, service, delta, sotw, type_url=None):
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {
            delta: grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._serve(requests, Session(context, type_url))),
            sotw: grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._serve(requests, SotwSession(context, type_url))),
        }),))

    def _serve(self, requests, session):
        def read():
            try:
                for data in requests:
                    session.requests.put(session.REQUEST(data))
            except Exception:  # the stream was cut
                pass
            session.requests.put(None)
            session.responses.put(None)

        threading.Thread(target=read, daemon=True).start()
        self.sessions.put(session)
        while True:
            data = session.responses.get()
            if data is None:
                return
            yield data

    def session(self):
        return self.sessions.get(timeout=TIMEOUT)

    def stop(self):
        self.server.stop(0).wait()
