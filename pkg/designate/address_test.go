package designate_test

import (
	"errors"
	"testing"

	"mooring/pkg/designate"
)

func TestParseAddressRef(t *testing.T) {
	t.Parallel()
	const id = "0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b"
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "10.0.0.1\n": "10.0.0.1", "2001:DB8:0::1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "fd00::1": "fd00::1",
		"0B7E6A3C-5E2F-4A53-9D5B-7D5F6A1F2A3B": id, "lb:" + id: "lb:" + id,
	} {
		ref, err := designate.ParseAddressRef(in)
		if err != nil || ref.String() != want {
			t.Errorf("%q: %s, %v; want %s", in, ref, err, want)
		}
	}
	for _, in := range []string{"", "lb:", "lb:192.0.2.1", "lb: " + id, "192.0.2.0/24", "192.0.2", "example.org", "0.0.0.0", "::", "127.0.0.1", "::1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:127.0.0.1"} {
		if ref, err := designate.ParseAddressRef(in); !errors.Is(err, designate.ErrAddress) {
			t.Errorf("%q: %s, %v; want an error", in, ref, err)
		}
	}
}

// What is read is read again from its own form.
func FuzzParseAddressRef(f *testing.F) {
	for _, seed := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%eth0", "lb:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b", "0B7E6A3C-5E2F-4A53-9D5B-7D5F6A1F2A3B", "lb:lb:", "::ffff:192.0.2.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := designate.ParseAddressRef(text)
		if err != nil {
			return
		}
		again, err := designate.ParseAddressRef(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %v, and %q %v (%v)", text, ref, ref.String(), again, err)
		}
	})
}
