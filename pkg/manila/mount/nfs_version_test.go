package mount_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/mount/mounttest"
)

// tried is what mount(2) was asked for, without the addresses of ours.
func tried(calls []mounttest.Call) (out []string) {
	for _, c := range calls {
		if c.Name == "mount" {
			data, _, _ := strings.Cut(c.Data, ",clientaddr=")
			data = strings.Replace(data, ",nosharecache", "", 1) // as every mount has
			out = append(out, c.FSType+" "+c.Source+" "+data)
		}
	}
	return out
}

// TestNFSVersions: which versions are tried, by what the server and the kernel say, and what becomes of it.
func TestNFSVersions(t *testing.T) {
	t.Parallel()
	const v4 = "nfs4 127.0.0.1:/a "
	old := []string{v4 + "vers=4.2,addr=127.0.0.1", v4 + "vers=4.1,addr=127.0.0.1", v4 + "vers=4.0,addr=127.0.0.1", "nfs 127.0.0.1:/a vers=3,addr=127.0.0.1"}
	for name, c := range map[string]struct {
		options []string
		fail    map[string]error // by version
		tried   []string
		want    error
	}{
		"the newest":                   {nil, nil, old[:1], nil},
		"a kernel without 4.2":         {nil, map[string]error{"4.2": unix.EINVAL}, old[:2], nil},
		"a server with 3 alone":        {nil, map[string]error{"4.2": unix.EPROTONOSUPPORT, "4.1": unix.EPROTONOSUPPORT, "4.0": unix.EPROTONOSUPPORT}, old, nil},
		"a kernel without 4":           {nil, map[string]error{"4.2": unix.ENODEV, "4.1": unix.ENODEV, "4.0": unix.ENODEV}, old, nil},
		"a kernel without NFS":         {nil, map[string]error{"4.2": unix.ENODEV, "4.1": unix.ENODEV, "4.0": unix.ENODEV, "3": unix.ENODEV}, old, mount.ErrUnsupported},
		"no version at all":            {nil, map[string]error{"4.2": unix.EPROTONOSUPPORT, "4.1": unix.EPROTO, "4.0": unix.EPROTONOSUPPORT, "3": unix.EPROTONOSUPPORT}, old, unix.EPROTONOSUPPORT},
		"a bad option":                 {nil, map[string]error{"4.2": unix.EINVAL, "4.1": unix.EINVAL, "4.0": unix.EINVAL}, old[:3], unix.EINVAL},
		"denied":                       {nil, map[string]error{"4.2": unix.EACCES}, old[:1], mount.ErrDenied},
		"denied as nfs-ganesha does":   {nil, map[string]error{"4.2": unix.ENOENT}, old[:1], mount.ErrDenied},
		"away":                         {nil, map[string]error{"4.2": unix.ECONNREFUSED}, old[:1], mount.ErrHung},
		"a version of 4 is wanted":     {[]string{"nfsvers=4.1", "hard"}, map[string]error{"": unix.EPROTONOSUPPORT}, []string{v4 + "nfsvers=4.1,hard,addr=127.0.0.1"}, unix.EPROTONOSUPPORT},
		"a minor version is wanted":    {[]string{"vers=4", "minorversion=1"}, nil, []string{v4 + "vers=4,minorversion=1,addr=127.0.0.1"}, nil},
		"3 is wanted":                  {[]string{"hard", "vers=3", "nolock"}, nil, []string{"nfs 127.0.0.1:/a vers=3,hard,nolock,addr=127.0.0.1"}, nil},
		"3 is wanted, in another word": {[]string{"nfsvers=3", "mountport=20048"}, nil, []string{"nfs 127.0.0.1:/a vers=3,mountport=20048,addr=127.0.0.1"}, nil},
	} {
		if _, err := mount.Vet(mount.KindNFS, c.options...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		system := &mounttest.System{Fail: func(call mounttest.Call) error {
			version := ""
			if rest, ok := strings.CutPrefix(call.Data, "vers="); ok {
				version, _, _ = strings.Cut(rest, ",")
			}
			return c.fail[version]
		}}
		v := mount.NFS{Exports: []mount.NFSExport{{Host: "127.0.0.1", Path: "/a"}}, Options: c.options}
		err := mount.New(mount.Options{System: system}).MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
		if diff := cmp.Diff(c.tried, tried(system.Calls())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, wrong := range []string{"vers=2", "vers=4.3", "nfsvers=4.10", "minorversion=3", "vers=three"} {
		if _, err := mount.Vet(mount.KindNFS, wrong); !errors.Is(err, mount.ErrOption) || !strings.Contains(err.Error(), "has to be one of") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// nameServer answers on loopback for one name, and returns a resolver that asks it.
func nameServer(t *testing.T, a, aaaa []string) *net.Resolver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := answerName(buf[:n], a, aaaa); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func answerName(query []byte, a, aaaa []string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	known := strings.HasPrefix(q.Name.String(), "nas.example.com.")
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		for _, s := range a {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte(net.ParseIP(s).To4())}})
		}
	case q.Type == dnsmessage.TypeAAAA:
		for _, s := range aaaa {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(net.ParseIP(s).To16())}})
		}
	}
	return reply.Pack()
}

// TestNFSHostNames: the kernel gets an address for a name, and another one when a server does not answer at the first.
func TestNFSHostNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host     string
		a, aaaa  []string
		options  []string
		tried    []string // fs type, source, and data of each
		wantText string
	}{
		"a name":               {host: "nas.example.com", a: []string{"127.0.0.7"}, tried: []string{"nfs4 nas.example.com:/a vers=4.2,addr=127.0.0.7"}},
		"the second address":   {host: "nas.example.com", a: []string{"127.0.0.8", "127.0.0.8", "127.0.0.9"}, tried: []string{"nfs4 nas.example.com:/a vers=4.2,addr=127.0.0.8", "nfs4 nas.example.com:/a vers=4.2,addr=127.0.0.8", "nfs4 nas.example.com:/a vers=4.2,addr=127.0.0.9"}},
		"IPv6 alone":           {host: "nas.example.com", aaaa: []string{"::1"}, options: []string{"proto=tcp"}, tried: []string{"nfs4 nas.example.com:/a vers=4.2,proto=tcp6,addr=::1"}},
		"an IPv6 address":      {host: "fd00::5", options: []string{"proto=rdma"}, tried: []string{"nfs4 [fd00::5]:/a vers=4.2,proto=rdma6,addr=fd00::5"}},
		"an IPv6 address of 3": {host: "fd00::5", options: []string{"vers=3"}, tried: []string{"nfs [fd00::5]:/a vers=3,addr=fd00::5"}},
		"IPv4 in IPv6":         {host: "::ffff:127.0.0.7", options: []string{"proto=tcp"}, tried: []string{"nfs4 [::ffff:127.0.0.7]:/a vers=4.2,proto=tcp,addr=127.0.0.7"}},
		"an unknown name":      {host: "other.example.com", wantText: "the NFS server other.example.com"},
	} {
		system := &mounttest.System{Fail: func(call mounttest.Call) error {
			if strings.Contains(call.Data, "addr=127.0.0.8") {
				return unix.EHOSTUNREACH
			}
			return nil
		}}
		m := mount.New(mount.Options{System: system, Resolver: nameServer(t, c.a, c.aaaa)})
		v := mount.NFS{Exports: []mount.NFSExport{{Host: c.host, Path: "/a"}}, Options: c.options}
		err := m.MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), v)
		if c.wantText == "" && err != nil || c.wantText != "" && (err == nil || !strings.Contains(err.Error(), c.wantText)) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.tried, tried(system.Calls())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestZoneIsNoOption: the interface of a link-local address stands in the same string as the options.
func TestZoneIsNoOption(t *testing.T) {
	t.Parallel()
	if e, err := mount.ParseNFS("[fe80::1%eth0.7]:/a"); err != nil || e.Host != "fe80::1%eth0.7" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, wrong := range []string{"[fe80::1%eth0,sec=none]:/a", "[fe80::1%a b]:/a", "fe80::1%x\\:/a"} {
		if e, err := mount.ParseNFS(wrong); !errors.Is(err, mount.ErrExport) {
			t.Errorf("%s: %+v, %v", wrong, e, err)
		}
	}
}

// TestServersThatAnswerComeFirst: a server that is away does not keep a share from being mounted from another one.
func TestServersThatAnswerComeFirst(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		exports []mount.NFSExport
		a       []string
	}{
		"of a name":      {[]mount.NFSExport{{Host: "nas.example.com", Path: "/a"}}, []string{"127.0.0.8", "127.0.0.9"}},
		"of the exports": {[]mount.NFSExport{{Host: "127.0.0.8", Path: "/a"}, {Host: "other.example.com", Path: "/a"}, {Host: "127.0.0.9", Path: "/a"}}, nil},
	} {
		system := &mounttest.System{}
		m := mount.New(mount.Options{System: system, Resolver: nameServer(t, c.a, nil)})
		if err := m.MountNFS(t.Context(), filepath.Join(t.TempDir(), "stage"), mount.NFS{Exports: c.exports, Options: []string{"port=" + port}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := tried(system.Calls()); len(got) != 1 || !strings.HasSuffix(got[0], "addr=127.0.0.9") {
			t.Errorf("%s: tried %q", name, got)
		}
	}
}
