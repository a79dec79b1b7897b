// Package scan counts which keys the objects in a cluster's etcd need: per key id and resource. kube-apiserver stores the key id of a
// KMS v2 plugin in clear with every object that it encrypts, so nothing is decrypted, and no key is asked for.
//
// A Report is a proof that a key is no longer needed only if it is Complete; ask Report.Unused, which knows the exceptions. It tells of
// one etcd at one revision: where kube-apiserver keeps some resources in another etcd (--etcd-servers-overrides), that one has to be
// scanned, too; a backup needs the keys of its own time.
package scan
