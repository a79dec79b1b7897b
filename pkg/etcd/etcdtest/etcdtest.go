// Package etcdtest makes snapshots of etcd for tests that need one of a given content; tests/peer/etcd makes them with a real etcd.
package etcdtest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// Revision is one of a key; an empty value deletes it.
type Revision struct {
	Main, Sub  int64 // from 1, and within the transaction from 0
	Key, Value string
}

// Snapshot writes a file as "etcdctl snapshot save" does and returns its path.
func Snapshot(tb testing.TB, revisions ...Revision) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "snapshot.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("key"))
		for _, r := range revisions {
			at := binary.BigEndian.AppendUint64(append(binary.BigEndian.AppendUint64(nil, uint64(r.Main)), '_'), uint64(r.Sub)) //nolint:gosec // a test has no negative ones
			kv := &mvccpb.KeyValue{Key: []byte(r.Key)}
			if r.Value == "" {
				at = append(at, 't')
			} else {
				kv.Value, kv.ModRevision = []byte(r.Value), r.Main
			}
			value, marshalErr := proto.Marshal(kv)
			err = errors.Join(err, marshalErr, bucket.Put(at, value))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		tb.Fatal(err)
	}
	Seal(tb, path)
	return path
}

// Seal puts the hash at the end of a database.
func Seal(tb testing.TB, path string) {
	tb.Helper()
	data, err := os.ReadFile(path) //nolint:gosec // the test's own file
	if err != nil {
		tb.Fatal(err)
	}
	hash := sha256.Sum256(data)
	if err := os.WriteFile(path, append(data, hash[:]...), 0o600); err != nil { //nolint:gosec // see above
		tb.Fatal(err)
	}
}
