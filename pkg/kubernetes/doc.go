// Package kubernetes asks the Kubernetes API for the little that the modes need: a few kinds, each read into a small struct of its
// own, patched or created. It has no typed clientset, no scheme, no cache and no watch.
//
// From client-go it takes what is hard to get right and must behave as kubectl does: kubeconfig files, TLS, tokens that are renewed and
// credential plugins (client-go/tools/clientcmd, client-go/rest). Paths, lists and errors follow the Kubernetes API conventions
// (contributors/devel/sig-architecture/api-conventions.md).
package kubernetes
