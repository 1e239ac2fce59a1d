// SPDX-License-Identifier: Apache-2.0

// Command control-plane is an xDS server made of go-control-plane's: its snapshot cache and its delta and
// state-of-the-world servers, aggregated and not. It reads commands from standard input, a JSON object a line:
//
//	{"node": "id", "version": "1", "resources": [{"@type": ...}, ...]}
//	{"node": "id", "version": "1", "generate": {"Xds": "ads", "NumClusters": 3, ...}}
//
// The second form has go-control-plane's own test resources (the fields of its TestSnapshot). It writes what happens to standard output, in
// the same form: ready, set, open, request, response, closed. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resources "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/envoyproxy/go-control-plane/pkg/test/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/test/v3"
)

type event map[string]any

var output sync.Mutex

func tell(e event) {
	output.Lock()
	defer output.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

type command struct {
	Node, Version string
	Resources     []json.RawMessage
	Generate      *resource.TestSnapshot
}

func (c *command) snapshot() (*cache.Snapshot, error) {
	if c.Generate != nil {
		c.Generate.Version = c.Version
		return c.Generate.Generate(), nil
	}
	// Of a type that is not named here the snapshot would have no version.
	byType := map[resources.Type][]types.Resource{
		resources.ClusterType: {}, resources.EndpointType: {}, resources.ListenerType: {}, resources.RouteType: {},
	}
	for _, text := range c.Resources {
		var wrapped anypb.Any
		if err := protojson.Unmarshal(text, &wrapped); err != nil {
			return nil, err
		}
		message, err := wrapped.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		byType[wrapped.GetTypeUrl()] = append(byType[wrapped.GetTypeUrl()], message)
	}
	return cache.NewSnapshot(c.Version, byType)
}

// plane is the caches behind the servers.
type plane struct {
	snapshots cache.SnapshotCache
	endpoints *cache.LinearCache // nil: endpoints are in the snapshots, too
}

func (p *plane) set(c *command) error {
	snapshot, err := c.snapshot()
	if err != nil {
		return err
	}
	if err := snapshot.Consistent(); err != nil {
		return err
	}
	if p.endpoints != nil {
		p.endpoints.SetResources(snapshot.GetResources(resources.EndpointType))
	}
	return p.snapshots.SetSnapshot(context.Background(), c.Node, snapshot)
}

func (p *plane) cache() cache.Cache {
	if p.endpoints == nil {
		return p.snapshots
	}
	return &cache.MuxCache{
		Classify:      func(r *cache.Request) string { return r.GetTypeUrl() },
		ClassifyDelta: func(r *cache.DeltaRequest) string { return r.GetTypeUrl() },
		Caches: map[string]cache.Cache{
			resources.EndpointType: p.endpoints,
			resources.ClusterType:  p.snapshots,
			resources.ListenerType: p.snapshots,
			resources.RouteType:    p.snapshots,
		},
	}
}

func opened(variant string) func(context.Context, int64, string) error {
	return func(_ context.Context, stream int64, typeURL string) error {
		tell(event{"event": "open", "variant": variant, "stream": stream, "type": typeURL})
		return nil
	}
}

func closed(variant string) func(int64, *core.Node) {
	return func(stream int64, _ *core.Node) {
		tell(event{"event": "closed", "variant": variant, "stream": stream})
	}
}

func callbacks() server.Callbacks {
	return server.CallbackFuncs{
		StreamOpenFunc:        opened("sotw"),
		StreamClosedFunc:      closed("sotw"),
		DeltaStreamOpenFunc:   opened("delta"),
		DeltaStreamClosedFunc: closed("delta"),
		StreamRequestFunc: func(stream int64, r *discovery.DiscoveryRequest) error {
			tell(event{"event": "request", "variant": "sotw", "stream": stream, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetResponseNonce(), "names": r.GetResourceNames(), "error": r.GetErrorDetail().GetMessage()})
			return nil
		},
		StreamResponseFunc: func(_ context.Context, stream int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			tell(event{"event": "response", "variant": "sotw", "stream": stream, "type": r.GetTypeUrl(), "version": r.GetVersionInfo(),
				"nonce": r.GetNonce(), "resources": len(r.GetResources())})
		},
		StreamDeltaRequestFunc: func(stream int64, r *discovery.DeltaDiscoveryRequest) error {
			tell(event{"event": "request", "variant": "delta", "stream": stream, "type": r.GetTypeUrl(),
				"nonce": r.GetResponseNonce(), "subscribe": r.GetResourceNamesSubscribe(), "unsubscribe": r.GetResourceNamesUnsubscribe(),
				"versions": r.GetInitialResourceVersions(), "error": r.GetErrorDetail().GetMessage()})
			return nil
		},
		StreamDeltaResponseFunc: func(stream int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			tell(event{"event": "response", "variant": "delta", "stream": stream, "type": r.GetTypeUrl(), "version": r.GetSystemVersionInfo(),
				"nonce": r.GetNonce(), "resources": len(r.GetResources()), "removed": r.GetRemovedResources()})
		},
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "control-plane:", err)
	os.Exit(1)
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address of the xDS server (gRPC in clear text)")
	ads := flag.Bool("ads", false, "the cache answers for names only when it knows all of them, and the aggregated server keeps the order of types")
	linear := flag.Bool("linear", false, "endpoints come from a linear cache beside the snapshots")
	flag.Parse()
	listen, err := net.Listen("tcp", *address)
	if err != nil {
		fatal(err)
	}
	p := &plane{snapshots: cache.NewSnapshotCache(*ads, cache.IDHash{}, nil)}
	if *linear {
		p.endpoints = cache.NewLinearCache(resources.EndpointType)
	}
	options := []config.XDSOption{}
	if *ads {
		options = append(options, sotw.WithOrderedADS())
	}
	grpcServer := grpc.NewServer()
	test.RegisterServer(grpcServer, server.NewServer(context.Background(), p.cache(), callbacks(), options...))
	go func() { fatal(grpcServer.Serve(listen)) }()
	tell(event{"event": "ready", "address": listen.Addr().String()})

	input := bufio.NewReader(os.Stdin)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err = json.Unmarshal(line, &c); err == nil {
			err = p.set(&c)
		}
		e := event{"event": "set", "version": c.Version, "error": ""}
		if err != nil {
			e["error"] = err.Error()
		}
		tell(e)
	}
}
