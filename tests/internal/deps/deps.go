//go:build deps

// Package deps keeps modules in go.mod while the packages that use them are being written.
package deps

import (
	_ "github.com/container-storage-interface/spec/lib/go/csi"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/gophercloud/gophercloud/v2/openstack"
	_ "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	_ "github.com/miekg/dns"
	_ "github.com/prometheus/client_golang/prometheus/testutil"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "google.golang.org/grpc"
	_ "k8s.io/apiserver/pkg/server/options/encryptionconfig"
	_ "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	_ "k8s.io/kms/apis/v2"
	_ "sigs.k8s.io/external-dns/endpoint"
	_ "sigs.k8s.io/external-dns/plan"
	_ "sigs.k8s.io/external-dns/provider/webhook"
	_ "sigs.k8s.io/external-dns/registry/txt"
	_ "sigs.k8s.io/yaml"
	_ "mooring/internal/deps"
)
