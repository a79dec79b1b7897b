package mount_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/manila/mount"
)

func TestVet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind    mount.Kind
		options []string
		want    []string
	}{
		"none":          {mount.KindNFS, nil, nil},
		"empty list":    {mount.KindNFS, []string{"", " , "}, nil},
		"lists and one": {mount.KindNFS, []string{"vers=4.1,hard", " noatime "}, []string{"vers=4.1", "hard", "noatime"}},
		"ceph kernel":   {mount.KindCephKernel, []string{"recover_session=clean,wsync"}, []string{"recover_session=clean", "wsync"}},
		"ceph fuse":     {mount.KindCephFuse, []string{"default_permissions,client_cache_size=1"}, []string{"default_permissions", "client_cache_size=1"}},
		"a context of kubelet": {
			mount.KindNFS, []string{"hard", `context="system_u:object_r:container_file_t:s0:c15,c900"`}, []string{"hard", `context="system_u:object_r:container_file_t:s0:c15,c900"`},
		},
		"a context in a list": {mount.KindCephKernel, []string{`wsync,context=u:r:t,noatime`}, []string{"wsync", `context="u:r:t"`, "noatime"}},
	} {
		got, err := mount.Vet(c.kind, c.options...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestVetRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind   mount.Kind
		option string
		reason string
	}{
		{mount.KindNFS, "addr=10.0.0.9", "the driver sets it"},
		{mount.KindNFS, "clientaddr=10.0.0.9", "the driver sets it"},
		{mount.KindNFS, "bg", "background"},
		{mount.KindNFS, "secret=x", "known are"},
		{mount.KindNFS, "vers", "needs a value"},
		{mount.KindNFS, "hard=1", "takes no value"},
		{mount.KindNFS, "ro=1", "known are"},
		{mount.KindNFS, "vers=4.1\\,addr=1.2.3.4", "backslashes"},
		{mount.KindCephKernel, "secret=x", "the driver sets it"},
		{mount.KindCephKernel, "name=admin", "the driver sets it"},
		{mount.KindCephFuse, "client_mountpoint=/", "the driver sets it"},
		{mount.KindCephFuse, "client_mount_uid=0", "another user"},
		{mount.KindNFS, "proto=udp", "tcp tcp6 rdma rdma6"},
		{mount.KindCephFuse, "client_trace=/etc/passwd", "any file"},
		{mount.KindCephFuse, "client_mount-uid=0", "no name has a hyphen"},
		{mount.KindNFS, `context="u:r:t:s0,addr=1.2.3.4`, "do not match"},
		{mount.KindNFS, `context=u:r:t:s0,addr=1.2.3.4`, "the driver sets it"},
		{mount.KindNFS, `context="u:r:t:s0",addr="1.2.3.4"`, "quotes"},
		{mount.KindNFS, `context="u:r:t:s0\",addr=1.2.3.4"`, "SELinux context"},
		{mount.KindNFS, "context=u:r", "SELinux context"},
		{mount.KindNFS, "context=u:r,x:t", "SELinux context"},
		{mount.KindNFS, "fscontext=u:r:t", "known are"},
		{mount.KindCephFuse, "context=u:r:t", "ceph-fuse can't mount with an SELinux context"},
		{mount.KindCephFuse, "keyring=/etc/ceph/ceph.client.admin.keyring", "known are"},
	} {
		_, err := mount.Vet(c.kind, c.option)
		if !errors.Is(err, mount.ErrOption) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("Vet(%s, %q) = %v; want ErrOption with %q", c.kind, c.option, err, c.reason)
		}
	}
	_, err := mount.Vet(mount.KindNFS, "foo,hard,bar=1")
	if err == nil || !strings.Contains(err.Error(), `"foo"`) || !strings.Contains(err.Error(), `"bar"`) {
		t.Errorf("every mistake has to be named: %v", err)
	}
}

// FuzzVet: what passes can't smuggle in another option, and passes again unchanged.
func FuzzVet(f *testing.F) {
	for _, seed := range []string{"vers=4.1,hard", "secret=x", "ro,,rw", "client_x=a=b", "name=a\x00b", "vers=4.1\n,addr=1", `context="u:r:t:s0:c1,c2",hard`, `context="u:r:t",secret="x"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, kind := range []mount.Kind{mount.KindNFS, mount.KindCephKernel, mount.KindCephFuse} {
			options, err := mount.Vet(kind, s)
			if err != nil {
				continue
			}
			for _, o := range options {
				name, value, _ := strings.Cut(o, "=")
				if inner := strings.Trim(value, `"`); name == "context" && value == `"`+inner+`"` && !strings.ContainsAny(inner, "\"= \n\x00\\") {
					continue // its commas are between quotes
				}
				if strings.ContainsAny(o, ", \n\x00") || name == "secret" || name == "addr" || name == "name" {
					t.Fatalf("Vet(%s, %q) let %q through", kind, s, o)
				}
			}
			if again, err := mount.Vet(kind, options...); err != nil || !cmp.Equal(again, options) {
				t.Fatalf("Vet(%s, %q) = %q, vetted again %q, %v", kind, s, options, again, err)
			}
		}
	})
}
