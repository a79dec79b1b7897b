package etcd

import "errors"

// Object is a key and the newest of its values (mvccpb.KeyValue of etcd's API).
type Object struct {
	Key, Value  []byte
	ModRevision int64 // when it was last written
}

// ErrCompacted says that etcd has dropped the revision that was being read: the objects that were visited are half of a picture.
var ErrCompacted = errors.New("etcd has dropped the revision that was being read (it was compacted)")

// prefixEnd is the first key after all that begin with prefix, as a range of etcd wants it.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0} // to the end of the keyspace
}
