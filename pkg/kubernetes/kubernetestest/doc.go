// Package kubernetestest is a Kubernetes API server in memory behind real HTTPS on a loopback address, for tests: the few kinds that
// package kubernetes asks for, with pages that expire, resource versions, patches, label selectors, rights per verb and resource, and
// faults on demand. It refuses what the real one refuses, with its status and its shape of an error.
package kubernetestest
