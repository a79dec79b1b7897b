// Package etcd reads all objects of an etcd at one revision: over the network from its members (Client), or from a file that
// "etcdctl snapshot save" wrote (Snapshot). It never writes, and holds no more than a page of objects.
package etcd
