package etcd

import "bytes"

const (
	// fewPages is how many pages the end of the keys may be away for it to be asked for.
	fewPages = 8
	// widen is how much wider a span gets that was less than half a page.
	widen = 4
)

// span is what the next page is asked of: the keys from key to before end. For every page etcd goes through all keys of the request, since it
// tells their number (server/storage/mvcc/index.go, Revisions): pages that all ask up to the last key take a time that is quadratic in the number
// of objects. So a span is to have a page or a few. How dense keys are, the pages before it tell.
type span struct {
	key, end []byte
	last     []byte // where the last span ends
	limit    int64
	width    int   // how many values of its last byte end is past the key
	left     int64 // objects from key to last, if the number in the first answer is right; less is asked at once if it is not
	counted  bool
}

func newSpan(prefix string) *span {
	last := prefixEnd(prefix)
	return &span{key: []byte(prefix), end: last, last: last, limit: firstPage, width: 1}
}

// answer is what counts of a page.
type answer struct {
	first, last   []byte // its keys, nil: there is none
	objects, size int
	count         int64 // objects in the span
	more          bool  // than are in the page
}

// next goes to what follows the page. It is false when there is nothing.
func (s *span) next(a answer) bool {
	if !s.counted {
		s.left, s.counted = a.count, true
	}
	if !a.more && bytes.Equal(s.end, s.last) {
		return false
	}
	asked := s.limit
	s.left -= int64(a.objects)
	if a.objects > 0 {
		s.limit = nextLimit(asked, a.objects, a.size)
	}
	at := s.end
	switch {
	case !a.more:
		s.key = s.end
		if 2*int64(a.objects) <= asked {
			s.width *= widen
		}
	case a.objects > 1: // the distance of its keys, in the first byte that differs, is what a page has
		differ := common(a.first, a.last)
		s.width = int(a.last[differ]) + 1
		if differ < len(a.first) {
			s.width -= int(a.first[differ])
		}
		at = a.last[:differ+1]
		fallthrough
	default:
		s.key = append(bytes.Clone(a.last), 0) // the key after it
	}
	switch {
	case s.left <= fewPages*s.limit:
		s.end = s.last
	case !a.more || a.objects > 1:
		s.reach(at)
	}
	return true
}

// reach puts the end width values of the last byte past at; beyond the last value, at the end of the keys that begin as at does without
// its last byte, where spans are one wide again.
func (s *span) reach(at []byte) {
	tail := len(at) - 1
	if to := int(at[tail]) + s.width; to <= 0xff {
		s.end = append(bytes.Clone(at[:tail]), byte(to)) //nolint:gosec // it is at most 0xff
	} else {
		s.end, s.width = prefixEnd(string(at[:tail])), 1
	}
	if endless := string(prefixEnd("")); string(s.last) != endless && (string(s.end) == endless || bytes.Compare(s.end, s.last) > 0) {
		s.end = s.last
	}
}

// common is how many bytes a and b, which are not the same, have in common.
func common(a, b []byte) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// nextLimit is how many objects to ask for after a page that had some: as many as make a page of pageBytes, at most twice as many as before.
func nextLimit(asked int64, objects, size int) int64 {
	return max(1, min(largestPage, 2*asked, int64(objects)*pageBytes/int64(max(size, 1))))
}
