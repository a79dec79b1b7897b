package designate

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"strings"
)

// sets are the recordsets of one zone, packed: all their text in one string, so that a hundred thousand of them are two objects to the
// garbage collector and not a million. What it hands out shares that string. It is never changed; the zero value is empty.
//
// A recordset is a row of fields, each with its length before it: name, type, id, TTL, and the targets with their number before them.
type sets struct {
	text string
	rows []int // where each begins in text, sorted by name and type
}

// len is the number of recordsets.
func (s *sets) len() int { return len(s.rows) }

// find returns the recordset of a name and type.
func (s *sets) find(zoneID, name string, t Type) (Recordset, bool) {
	i := sort.Search(len(s.rows), func(i int) bool { return s.compare(s.rows[i], name, string(t)) >= 0 })
	if i == len(s.rows) || s.compare(s.rows[i], name, string(t)) != 0 {
		return Recordset{}, false
	}
	set, _ := s.recordset(zoneID, s.rows[i])
	return set, true
}

// all returns every recordset, sorted by name and type.
func (s *sets) all(zoneID string) iter.Seq[Recordset] {
	return func(yield func(Recordset) bool) {
		for _, at := range s.rows {
			if set, _ := s.recordset(zoneID, at); !yield(set) {
				return
			}
		}
	}
}

func (s *sets) compare(at int, name, t string) int {
	rowName, at := s.field(at)
	if c := strings.Compare(rowName, name); c != 0 {
		return c
	}
	rowType, _ := s.field(at)
	return strings.Compare(rowType, t)
}

// key is the name and type of a row.
func (s *sets) key(at int) nameType {
	name, at := s.field(at)
	t, _ := s.field(at)
	return nameType{name, Type(t)}
}

// recordset reads a row, and returns where it ends.
func (s *sets) recordset(zoneID string, at int) (Recordset, int) {
	set := Recordset{ZoneID: zoneID}
	var t string
	set.Name, at = s.field(at)
	t, at = s.field(at)
	set.Type = Type(t)
	set.ID, at = s.field(at)
	set.TTL, at = s.number(at)
	n, at := s.number(at)
	set.Targets = make([]string, n)
	for i := range set.Targets {
		set.Targets[i], at = s.field(at)
	}
	return set, at
}

func (s *sets) field(at int) (string, int) {
	n, at := s.number(at)
	return s.text[at : at+n], at + n
}

// number reads a number: seven bits a byte, the lowest first, the highest bit set but for the last.
func (s *sets) number(at int) (int, int) {
	n := 0
	for shift := 0; ; shift += 7 {
		b := s.text[at]
		at++
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, at
		}
	}
}

// with returns the recordsets after changes: the recordset that a key has now, or nil when there is none.
func (s *sets) with(changes map[nameType]*Recordset) *sets {
	var p packer
	p.text.Grow(len(s.text))
	p.rows = make([]int, 0, len(s.rows)+len(changes))
	for _, at := range s.rows {
		if _, changed := changes[s.key(at)]; changed {
			continue
		}
		_, end := s.recordset("", at)
		p.rows = append(p.rows, p.text.Len())
		p.text.WriteString(s.text[at:end])
	}
	for _, set := range changes {
		if set != nil {
			p.add(*set)
		}
	}
	return p.sets()
}

// packer makes sets. The zero value is ready for use.
type packer struct {
	text strings.Builder
	rows []int
}

// reset forgets what was added.
func (p *packer) reset() { *p = packer{} }

// add takes a recordset. Of two with one name and type the later one counts.
func (p *packer) add(r Recordset) {
	p.rows = append(p.rows, p.text.Len())
	for _, field := range []string{r.Name, string(r.Type), r.ID} {
		p.field(field)
	}
	p.number(max(r.TTL, 0))
	p.number(len(r.Targets))
	for _, target := range r.Targets {
		p.field(target)
	}
}

func (p *packer) field(s string) {
	p.number(len(s))
	p.text.WriteString(s)
}

func (p *packer) number(n int) {
	for ; n >= 0x80; n >>= 7 {
		p.text.WriteByte(byte(n) | 0x80)
	}
	p.text.WriteByte(byte(n & 0x7f))
}

// sets returns what was added. The packer is used up.
func (p *packer) sets() *sets {
	s := &sets{text: p.text.String(), rows: p.rows}
	slices.SortFunc(s.rows, func(a, b int) int {
		key := s.key(a)
		return cmp.Or(-s.compare(b, key.name, string(key.typ)), b-a) // the later one of a key first
	})
	s.rows = slices.CompactFunc(s.rows, func(a, b int) bool { return s.key(a) == s.key(b) })
	return s
}
