package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// A snapshot is etcd's database, a file of bbolt, with its SHA-256 after it (etcdctl snapshot save; etcd's
// server/etcdserver/api/v3rpc/maintenance.go). In the bucket "key" there is every revision of every key that is not compacted
// (server/storage/mvcc/revision.go): the main revision, "_", the number within its transaction, and "t" where the key was deleted.
const (
	bucketName    = "key"
	sector        = 512 // of which a database without its hash is a multiple
	revisionBytes = 8 + 1 + 8
	tombstone     = 't'
	// forgetAfter is how many bytes of the file may be in memory.
	forgetAfter = 8 << 20
	lockTimeout = 5 * time.Second
)

// ErrSnapshot says that a file is no snapshot, or one that is damaged.
var ErrSnapshot = errors.New("not a whole snapshot of etcd")

// Snapshot is a file that "etcdctl snapshot save" wrote.
type Snapshot struct{ path string }

// NewSnapshot takes the path of the file, which Objects opens.
func NewSnapshot(path string) *Snapshot { return &Snapshot{path: path} }

// Objects visits the newest value of every key that begins with prefix and is not deleted, the last written first. An object is valid
// until visit returns. The revision is the newest in the file. The error is ErrSnapshot if the file is not what its hash says, or
// can't be read as etcd's database.
func (s *Snapshot) Objects(ctx context.Context, prefix string, visit func(Object) error) (revision int64, err error) {
	file, err := os.Open(s.path)
	if err != nil {
		return 0, err
	}
	size, err := verify(ctx, file)
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	open := func(string, int, os.FileMode) (*os.File, error) { return file, nil } // what is read is what was verified
	db, err := bbolt.Open(s.path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout, OpenFile: open})
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrSnapshot, s.path, errors.Join(err, file.Close()))
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	pages, err := newTree(io.NewSectionReader(file, 0, size), size, db.Info().PageSize)
	if err != nil {
		return 0, err
	}
	w := &walk{pages: pages, prefix: []byte(prefix), visit: visit, met: map[digest]struct{}{}, file: mapping{start: db.Info().Data, size: size}}
	err = db.View(func(tx *bbolt.Tx) error { return w.bucket(ctx, tx) })
	return w.revision, err
}

// verify compares the hash at the end of the file with what is before it, and returns the size of the database.
func verify(ctx context.Context, file *os.File) (size int64, _ error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size() - sha256.Size
	if size <= 0 || size%sector != 0 {
		return 0, fmt.Errorf("%w: %s has no hash at its end; save it with \"etcdctl snapshot save\", a copy of the database will not do", ErrSnapshot, file.Name())
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(reader{ctx, file}, 0, size)); err != nil {
		return 0, err
	}
	var want [sha256.Size]byte
	if _, err := file.ReadAt(want[:], size); err != nil {
		return 0, err
	}
	if !bytes.Equal(hash.Sum(nil), want[:]) {
		return 0, fmt.Errorf("%w: %s is damaged: its SHA-256 is not the one at its end", ErrSnapshot, file.Name())
	}
	return size, nil
}

// reader is a file that can't be read any more when ctx has ended.
type reader struct {
	ctx  context.Context //nolint:containedctx // it lives for one call of verify
	file *os.File
}

func (r reader) ReadAt(p []byte, at int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.file.ReadAt(p, at)
}

// digest stands for a key that was met: 16 bytes of its SHA-256, whatever its length.
type digest [16]byte

// walk goes through the revisions from the newest to the oldest: of each key the first that it meets counts.
type walk struct {
	pages    *tree
	prefix   []byte
	visit    func(Object) error
	met      map[digest]struct{}
	revision int64
	file     mapping
}

func (w *walk) bucket(ctx context.Context, tx *bbolt.Tx) (err error) {
	// a hash is no signature: a file that only looks like a database makes bbolt panic, or read outside of the file
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the database is damaged: %v", ErrSnapshot, p)
		}
	}()
	if err := w.pages.check(ctx, uint64(tx.Cursor().Bucket().Root()), true); err != nil {
		return err
	}
	bucket := tx.Bucket([]byte(bucketName))
	if bucket == nil {
		return fmt.Errorf("%w: it has no bucket %q", ErrSnapshot, bucketName)
	}
	if root := bucket.Root(); root != 0 {
		if err := w.pages.check(ctx, uint64(root), false); err != nil {
			return err
		}
	}
	cursor := bucket.Cursor()
	for at, value := cursor.Last(); at != nil; at, value = cursor.Prev() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.one(at, value); err != nil {
			return err
		}
		w.file.touched(value)
	}
	return nil
}

// one takes the value of a revision.
func (w *walk) one(at, value []byte) error {
	if len(at) < revisionBytes {
		return fmt.Errorf("%w: a revision has %d bytes", ErrSnapshot, len(at))
	}
	main := int64(binary.BigEndian.Uint64(at)) //nolint:gosec // etcd counts from 1 in an int64
	w.revision = max(w.revision, main)
	kv := &mvccpb.KeyValue{}
	if err := proto.Unmarshal(value, kv); err != nil {
		return fmt.Errorf("%w: revision %d: %w", ErrSnapshot, main, err)
	}
	if !bytes.HasPrefix(kv.GetKey(), w.prefix) {
		return nil
	}
	hash := sha256.Sum256(kv.GetKey())
	short := digest(hash[:])
	if _, met := w.met[short]; met {
		return nil
	}
	w.met[short] = struct{}{}
	if len(at) > revisionBytes && at[revisionBytes] == tombstone {
		return nil
	}
	return w.visit(Object{Key: kv.GetKey(), Value: kv.GetValue(), ModRevision: main})
}

// mapping is the file in memory, as bbolt has mapped it. What was read stays there, and counts as this process's memory, until the
// kernel needs the room; mapping gives it back before.
type mapping struct {
	start uintptr
	size  int64
	read  int
}

// touched takes a value that was read, which is in the mapping.
func (m *mapping) touched(value []byte) {
	m.read += len(value)
	if m.read < forgetAfter || len(value) == 0 {
		return
	}
	m.read = 0
	here := unsafe.Pointer(unsafe.SliceData(value))                                          //nolint:gosec // bbolt tells the mapping's address, as a number: a pointer into it makes a slice of it
	all := unsafe.Slice((*byte)(unsafe.Add(here, -int(uintptr(here)-m.start))), int(m.size)) //nolint:gosec // see above
	_ = unix.Madvise(all, unix.MADV_DONTNEED)                                                // it is a hint: pages come again from the file
}
