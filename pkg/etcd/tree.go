package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Of a database's file (bbolt's internal/common: page.go, bucket.go), which has the byte order of the machine.
const (
	pageHeader    = 16 // number, flags, count, overflow: how many pages follow that belong to it
	pageElement   = 16 // of a branch: position, size of the key, page; of a leaf: flags, position, sizes of key and value
	branchPage    = 1
	leafPage      = 2
	bucketElement = 1
	bucketHeader  = 16 // the root's page, or 0 where one leaf page follows in the element, and a sequence
	// deepest is how many levels a tree may have: with two keys a page, the fewest that bbolt lets a page have, more than a file has room for.
	deepest = 32
)

// tree goes through the pages of a database before bbolt does, which follows them wherever they point: in a circle, until no stack or
// memory is left, which no recover can mend. Every page may be met once.
type tree struct {
	file     io.ReaderAt
	size     int64
	pageSize int64
	met      []uint64 // a bit for each page
}

type branch struct {
	page  uint64
	level int
}

func newTree(file io.ReaderAt, size int64, pageSize int) (*tree, error) {
	if pageSize < sector || pageSize%sector != 0 {
		return nil, fmt.Errorf("%w: pages of %d bytes", ErrSnapshot, pageSize)
	}
	t := &tree{file: file, size: size, pageSize: int64(pageSize)}
	t.met = make([]uint64, size/t.pageSize/64+1)
	return t, nil
}

// check goes through the tree below the page root, in any order. With buckets, the elements of its leaves may be buckets, of which
// one within its element has to be a leaf.
func (t *tree) check(ctx context.Context, root uint64, buckets bool) error {
	for open := []branch{{root, 1}}; len(open) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if at.level > deepest {
			return fmt.Errorf("%w: its tree has more than %d levels", ErrSnapshot, deepest)
		}
		flags, room, elements, err := t.page(at.page)
		if err != nil {
			return err
		}
		for i := 0; i < len(elements); i += pageElement {
			element := elements[i : i+pageElement]
			if int64(i)+extent(flags, element) > room {
				return fmt.Errorf("%w: an element of page %d goes beyond it", ErrSnapshot, at.page)
			}
			switch {
			case flags == branchPage:
				open = append(open, branch{binary.NativeEndian.Uint64(element[8:]), at.level + 1})
			case buckets && binary.NativeEndian.Uint32(element)&bucketElement != 0:
				within := int64(at.page)*t.pageSize + pageHeader + int64(i) //nolint:gosec // t.page has found it in the file
				if err := t.bucket(within, element); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// extent is where what belongs to an element ends, from the element's own begin.
func extent(flags uint16, element []byte) int64 {
	if flags == branchPage {
		return int64(binary.NativeEndian.Uint32(element)) + int64(binary.NativeEndian.Uint32(element[4:]))
	}
	return int64(binary.NativeEndian.Uint32(element[4:])) + int64(binary.NativeEndian.Uint32(element[8:])) + int64(binary.NativeEndian.Uint32(element[12:]))
}

// page returns the flags and the elements of a page that was not met before, and how many bytes there are from the first of them to its end.
func (t *tree) page(number uint64) (flags uint16, room int64, elements []byte, _ error) {
	var header [pageHeader]byte
	pages := uint64(t.size / t.pageSize) //nolint:gosec // it is positive
	if number >= pages {
		return 0, 0, nil, fmt.Errorf("%w: page %d is outside of it", ErrSnapshot, number)
	}
	start := int64(number) * t.pageSize //nolint:gosec // it is less than the file's size
	if err := t.read(header[:], start); err != nil {
		return 0, 0, nil, err
	}
	flags = binary.NativeEndian.Uint16(header[8:])
	count, overflow := int64(binary.NativeEndian.Uint16(header[10:])), uint64(binary.NativeEndian.Uint32(header[12:]))
	if flags != branchPage && flags != leafPage {
		return 0, 0, nil, fmt.Errorf("%w: page %d of its tree is neither a branch nor a leaf", ErrSnapshot, number)
	}
	room = int64(overflow+1)*t.pageSize - pageHeader //nolint:gosec // where it is not less than the number of pages, it is not used
	if overflow >= pages-number || count*pageElement > room {
		return 0, 0, nil, fmt.Errorf("%w: page %d is longer than it can be", ErrSnapshot, number)
	}
	for p := number; p <= number+overflow; p++ {
		if t.met[p/64]&(1<<(p%64)) != 0 {
			return 0, 0, nil, fmt.Errorf("%w: page %d is twice in its tree", ErrSnapshot, p)
		}
		t.met[p/64] |= 1 << (p % 64)
	}
	elements = make([]byte, count*pageElement)
	return flags, room, elements, t.read(elements, start+pageHeader)
}

// bucket checks the one that a leaf's element at an offset of the file has: bbolt copies what is within an element, and would read
// beyond the copy.
func (t *tree) bucket(at int64, element []byte) error {
	at += int64(binary.NativeEndian.Uint32(element[4:])) + int64(binary.NativeEndian.Uint32(element[8:]))
	value := make([]byte, min(int64(binary.NativeEndian.Uint32(element[12:])), t.size))
	if err := t.read(value, at); err != nil {
		return err
	}
	if len(value) < bucketHeader {
		return fmt.Errorf("%w: a bucket has %d bytes", ErrSnapshot, len(value))
	}
	if binary.NativeEndian.Uint64(value) != 0 {
		return nil
	}
	within := value[bucketHeader:]
	if len(within) < pageHeader || binary.NativeEndian.Uint16(within[8:]) != leafPage {
		return fmt.Errorf("%w: a bucket within its element is no leaf", ErrSnapshot)
	}
	elements, count := within[pageHeader:], int(binary.NativeEndian.Uint16(within[10:]))
	for i := range count {
		first := i * pageElement
		if first+pageElement > len(elements) || int64(first)+extent(leafPage, elements[first:]) > int64(len(elements)) {
			return fmt.Errorf("%w: a bucket within its element goes beyond it", ErrSnapshot)
		}
	}
	return nil
}

func (t *tree) read(p []byte, at int64) error {
	if _, err := t.file.ReadAt(p, at); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: its tree goes beyond its end", ErrSnapshot)
	} else if err != nil {
		return err
	}
	return nil
}
