// SPDX-License-Identifier: Apache-2.0

// Command istiod-local serves the real Istio control plane's xDS (delta and state of the world) over plain
// TCP, from files and without a Kubernetes cluster: -k8s holds core Kubernetes objects (Service,
// EndpointSlice, Pod, Namespace, Node), -istio holds Istio resources (VirtualService, DestinationRule,
// ServiceEntry, EnvoyFilter, AuthorizationPolicy, ...). On SIGHUP the Istio directory is read again and the
// difference is pushed, as an edit with kubectl would be.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvr"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	"istio.io/istio/pkg/test"
)

func readDir(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return "", err
	}
	sort.Strings(names)
	var parts []string
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			return "", err
		}
		parts = append(parts, strings.TrimSpace(string(b)))
	}
	return strings.Join(parts, "\n---\n"), nil
}

func key(c config.Config) string {
	return fmt.Sprintf("%s/%s/%s", c.GroupVersionKind.Kind, c.Namespace, c.Name)
}

// failer stops the whole process on the first failure.
type failer struct{ cleanup []func() }

func (f *failer) Fail()                          { f.Fatal("failed") }
func (f *failer) FailNow()                       { f.Fatal("failed") }
func (f *failer) Fatal(a ...any)                 { fmt.Fprintln(os.Stderr, a...); os.Exit(1) }
func (f *failer) Fatalf(format string, a ...any) { f.Fatal(fmt.Sprintf(format, a...)) }
func (f *failer) Log(a ...any)                   { fmt.Fprintln(os.Stderr, a...) }
func (f *failer) Logf(format string, a ...any)   { fmt.Fprintf(os.Stderr, format+"\n", a...) }
func (f *failer) TempDir() string                { d, _ := os.MkdirTemp("", "istiod"); return d }
func (f *failer) Helper()                        {}
func (f *failer) Skip(a ...any)                  { f.Fatal(a...) }
func (f *failer) Cleanup(fn func())              { f.cleanup = append(f.cleanup, fn) }

var _ test.Failer = &failer{}

func main() {
	addr := flag.String("listen", "127.0.0.1:15010", "address of the ADS server (plaintext gRPC)")
	k8s := flag.String("k8s", "", "directory of Kubernetes objects")
	istio := flag.String("istio", "", "directory of Istio resources")
	meshFile := flag.String("mesh", "", "mesh configuration file")
	flag.Parse()
	f := &failer{}

	objects, err := readDir(*k8s)
	if err != nil {
		f.Fatal(err)
	}
	m := mesh.DefaultMeshConfig()
	if *meshFile != "" {
		b, err := os.ReadFile(*meshFile)
		if err != nil {
			f.Fatal(err)
		}
		if m, err = mesh.ApplyMeshConfigDefaults(string(b)); err != nil {
			f.Fatal(err)
		}
	}
	load := func() (map[string]config.Config, error) {
		text, err := readDir(*istio)
		if err != nil {
			return nil, err
		}
		cfgs, unknown, err := crd.ParseInputs(text)
		if err != nil {
			return nil, err
		}
		for _, u := range unknown {
			fmt.Fprintln(os.Stderr, "ignored: unknown kind", u.Kind, u.Name)
		}
		out := map[string]config.Config{}
		for _, c := range cfgs {
			c.Domain = "cluster.local" // what short names of hosts are completed by
			out[key(c)] = c
		}
		return out, nil
	}
	current, err := load()
	if err != nil {
		f.Fatal(err)
	}
	all := make([]config.Config, 0, len(current))
	for _, c := range current {
		all = append(all, c)
	}
	s := xds.NewFakeDiscoveryServer(f, xds.FakeOptions{
		KubernetesObjectString: objects,
		Configs:                all,
		MeshConfig:             m,
		ListenerBuilder:        func() (net.Listener, error) { return net.Listen("tcp", *addr) },
	})
	// The fake API server's definitions carry no version, without which these are not watched.
	for _, kind := range []schema.GroupVersionResource{gvr.GRPCRoute, gvr.TCPRoute, gvr.TLSRoute} {
		clienttest.MakeCRDWithAnnotations(f, s.KubeClient(), kind,
			map[string]string{"gateway.networking.k8s.io/bundle-version": "v1.6.0"})
	}
	fmt.Println("ready", s.Listener.Addr())

	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	for {
		if got := <-sig; got != syscall.SIGHUP {
			os.Exit(0)
		}
		next, err := load()
		if err != nil {
			fmt.Fprintln(os.Stderr, "kept the old configuration:", err)
			continue
		}
		store := s.Store()
		for k, c := range next {
			if _, ok := current[k]; ok {
				_, err = store.Update(c)
			} else {
				_, err = store.Create(c)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, k, err)
			}
		}
		for k, c := range current {
			if _, ok := next[k]; !ok {
				if err := store.Delete(c.GroupVersionKind, c.Name, c.Namespace, nil); err != nil {
					fmt.Fprintln(os.Stderr, k, err)
				}
			}
		}
		current = next
		fmt.Println("reloaded", len(next))
	}
}
