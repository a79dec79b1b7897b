package etcd

import (
	"encoding/binary"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// FuzzRange has a member answer anything: what is visited is in order, under the prefix, and the reader gets on with each page that it takes. Each
// answer is its flags, its count, and up to fifteen keys of a byte after what was asked for or of three anywhere.
func FuzzRange(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x13, 9, 'a', 'b', 'c', 0x03, 9, 'a', 0xff, 'b'})
	f.Add([]byte{0x05, 0xff, '/', 'r', '/', 0, 0x11, 2, 0xff, 0x01, 0, 0xff})
	f.Add([]byte{0x91, 0xff, 0xff, 0x91, 0xff, 0xff, 0x91, 0xff, 0xff, 0x01, 0, 0})
	for _, prefix := range []string{"", "/r/", "\xff", "a\xff"} {
		f.Add(append([]byte{0x12, 3, 1, 2, 0x32, 1, 7, 8, 9}, prefix...))
	}
	prefixes := []string{"/r/", "", "\xff", "a\xff"}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Client{members: []member{{endpoint: "fuzz"}}}
		prefix := prefixes[len(data)%len(prefixes)]
		keys, last, visited := newSpan(prefix), "", 0
		for len(data) >= 2 {
			asked := &etcdserverpb.RangeRequest{Key: keys.key, RangeEnd: keys.end, Limit: keys.limit}
			page := &etcdserverpb.RangeResponse{More: data[0]&0x10 != 0, Count: int64(int8(data[1]))}
			number, anywhere := int(data[0]&0x0f), data[0]&0x20 != 0
			if data[0]&0x80 != 0 {
				page.Count = int64(binary.BigEndian.Uint16(data)) << 48
			}
			for data = data[2:]; number > 0 && len(data) > 0; number-- {
				key := append(append([]byte{}, asked.GetKey()...), data[0])
				if width := min(3, len(data)); anywhere {
					key = data[:width]
				}
				data = data[1:]
				page.Kvs = append(page.GetKvs(), &mvccpb.KeyValue{Key: key, Value: data})
			}
			got, err := c.visit(asked, page, func(o Object) error {
				if key := string(o.Key); visited > 0 && key <= last || len(key) < len(prefix) || key[:len(prefix)] != prefix {
					t.Fatalf("%q after %q", key, last)
				}
				last = string(o.Key)
				visited++
				return nil
			})
			if err != nil || !keys.next(got) {
				return
			}
			if string(keys.key) < string(asked.GetKey()) || string(keys.key) == string(asked.GetKey()) && got.more || keys.limit < 1 {
				t.Fatalf("after %q it asks from %q, for %d", asked.GetKey(), keys.key, keys.limit)
			}
		}
	})
}
