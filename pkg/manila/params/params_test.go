package params_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/goldentest"
	"mooring/pkg/manila/mount"
	"mooring/pkg/manila/params"
	"mooring/pkg/openstack"
)

// reference is the documentation page that the table renders.
const reference = "../../../docs/reference/manila-parameters.md"

func TestGoldenReference(t *testing.T) {
	t.Parallel()
	got := params.Markdown()
	goldentest.Compare(t, reference, got)
}

func TestParseClass(t *testing.T) {
	t.Parallel()
	defaults := params.Class{Type: "default"}
	for name, c := range map[string]struct {
		in   map[string]string
		want func(*params.Class)
	}{
		"nothing": {nil, func(*params.Class) {}},
		"as CPO's users write it": {
			map[string]string{
				"type": "cephfs", "shareNetworkID": "n", "availability": "az1", "appendShareMetadata": `{"team": "a"}`, "nfs-shareClient": "10.0.0.0/8, 192.168.1.7,fd00::/8",
				"cephfs-clientID": "a,b", "cephfs-mounter": "fuse", "cephfs-kernelMountOptions": "recover_session=clean", "cephfs-fuseMountOptions": "default_permissions", "autoTopology": "false",
				"accessLevel": "ro",
			},
			func(c *params.Class) {
				c.Type, c.ShareNetworkID, c.Availability, c.Metadata = "cephfs", "n", "az1", map[string]string{"team": "a"}
				c.NFSClients, c.CephClientIDs = []string{"10.0.0.0/8", "192.168.1.7", "fd00::/8"}, []string{"a", "b"}
				c.AccessLevel = params.ReadOnly
				c.Ceph = params.CephMount{Mounter: mount.CephFuse, KernelOptions: []string{"recover_session=clean"}, FuseOptions: []string{"default_permissions"}}
			},
		},
		"the provisioner's metadata": {
			map[string]string{"csi.storage.k8s.io/pvc/name": "data", "csi.storage.k8s.io/pvc/namespace": "ns", "csi.storage.k8s.io/pv/name": "pvc-1", "protocol": "nfs", "access": "static"},
			func(c *params.Class) {
				c.PVCName, c.PVCNamespace, c.PVName, c.Protocol, c.Access = "data", "ns", "pvc-1", params.NFS, params.AccessStatic
			},
		},
		"per node": {map[string]string{"access": "node", "cephfs-clientID": "app"}, func(c *params.Class) { c.Access, c.CephClientIDs = params.AccessNode, []string{"app"} }},
		"by hand":  {map[string]string{"access": "none"}, func(c *params.Class) { c.Access = params.AccessNone }},
	} {
		want := defaults
		c.want(&want)
		got, err := params.ParseClass(c.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSettle: who may mount, where Kubernetes attaches volumes and where it does not.
func TestSettle(t *testing.T) {
	t.Parallel()
	static := func(level string, clients ...string) params.Class {
		return params.Class{Access: params.AccessStatic, AccessLevel: level, NFSClients: clients}
	}
	other := func(a params.Access) params.Class {
		return params.Class{Access: a, AccessLevel: "rw", NFSClients: []string{"0.0.0.0/0"}}
	}
	for name, c := range map[string]struct {
		in      params.Class
		attach  bool
		want    params.Class
		mistake string
	}{
		"nothing said":               {params.Class{}, true, other(params.AccessNode), ""},
		"nothing said, no attaching": {params.Class{}, false, other(params.AccessStatic), ""},
		"clients are meant":          {params.Class{NFSClients: []string{"10.0.0.0/8"}}, true, static("rw", "10.0.0.0/8"), ""},
		"a level is meant":           {params.Class{AccessLevel: "ro"}, true, static("ro", "0.0.0.0/0"), ""},
		"none":                       {params.Class{Access: params.AccessNone}, true, other(params.AccessNone), ""},
		"node without attaching":     {params.Class{Access: params.AccessNode}, false, params.Class{}, "--attach=false"},
		"node with clients":          {params.Class{Access: params.AccessNode, NFSClients: []string{"10.0.0.0/8"}}, true, params.Class{}, "access is node"},
		"none with a level":          {params.Class{Access: params.AccessNone, AccessLevel: "rw"}, true, params.Class{}, "access is none"},
		"none with users":            {params.Class{Access: params.AccessNone, CephClientIDs: []string{"app"}}, true, params.Class{}, "cephfs-clientID makes access rules"},
	} {
		got := c.in
		err := got.Settle(c.attach)
		if c.mistake != "" {
			if !errors.Is(err, params.ErrInvalid) || !strings.Contains(err.Error(), c.mistake) {
				t.Errorf("%s: %v, want %q", name, err, c.mistake)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   map[string]string
		want []string
	}{
		{map[string]string{"typ": "x"}, []string{`"typ" is unknown`, "known are", "nfs-shareClient", "type"}},
		{map[string]string{"type": " "}, []string{"type: it is empty"}},
		{map[string]string{"protocol": "SMB"}, []string{`"SMB" is neither NFS nor CEPHFS`}},
		{map[string]string{"autoTopology": "maybe"}, []string{"autoTopology: it has to be true or false"}},
		{map[string]string{"access": "Node"}, []string{`access: "Node" is neither node nor static nor none`}},
		{map[string]string{"groupID": "x", "affinity": "a,,b", "antiAffinity": ""}, []string{"affinity: \"a,,b\" has an empty element", "groupID: \"x\" is no UUID", "antiAffinity: "}},
		{map[string]string{"appendShareMetadata": `{"a": 1}`}, []string{"JSON object of strings"}},
		{map[string]string{"appendShareMetadata": `{"a": ""}`}, []string{`entry "a"`}},
		{map[string]string{"nfs-shareClient": "10.0.0.1/8"}, []string{"host bits set: write 10.0.0.0/8"}},
		{map[string]string{"nfs-shareClient": "everybody"}, []string{`"everybody" is neither an address nor a CIDR`}},
		{map[string]string{"nfs-shareClient": "10.0.0.1,,"}, []string{"empty element"}},
		{map[string]string{"cephfs-clientID": "client.admin"}, []string{`"client.admin" is no cephx id`}},
		{map[string]string{"cephfs-clientID": "a,a"}, []string{`"a" is there twice`}},
		{map[string]string{"cephfs-mounter": "kernelXXX"}, []string{`"kernelXXX" is neither kernel nor fuse`}},
		{map[string]string{"cephfs-kernelMountOptions": "secret=x"}, []string{"secret", "the driver sets it"}},
		{map[string]string{"b": "1", "a": "1", "type": ""}, []string{`"a" is unknown; "b" is unknown; type: it is empty; known are`}},
	} {
		_, err := params.ParseClass(c.in)
		if !errors.Is(err, params.ErrInvalid) {
			t.Errorf("%v: %v; want ErrInvalid", c.in, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q lacks %q", c.in, err, want)
			}
		}
	}
	if _, err := params.ParseAttributes(map[string]string{"shareID": "a", "shareName": "b"}); !errors.Is(err, params.ErrInvalid) {
		t.Errorf("shareID and shareName: %v", err)
	}
}

func TestAttributesOfCPO(t *testing.T) {
	t.Parallel()
	got, err := params.ParseAttributes(map[string]string{
		"shareID": "s", "shareAccessID": "r", "shareName": "", "cephfs-mounter": "kernel", "cephfs-fuseMountOptions": "", "groupID": "", "affinity": "", "antiAffinity": "", "storage.kubernetes.io/csiProvisionerIdentity": "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(params.Attributes{ShareID: "s", AccessIDs: []string{"r"}, Ceph: params.CephMount{Mounter: mount.CephKernel}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAttributesRoundTrip(t *testing.T) {
	t.Parallel()
	want := params.Attributes{
		ShareID: "s", AccessIDs: []string{"a", "b"}, Protocol: params.CEPHFS, Exports: []string{`a:6789:/x "y"`, "b,c:/z"}, FileSystem: "fs-2",
		Ceph: params.CephMount{Mounter: mount.CephFuse, KernelOptions: []string{"wsync"}, FuseOptions: []string{"max_read=4", "client_x=1"}},
	}
	got, err := params.ParseAttributes(want.Map())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	cert, key := pair(t)
	files := params.Files{
		ReadFile: func(path string) ([]byte, error) {
			if data, ok := map[string][]byte{"/ca": cert, "/c": cert, "/k": key}[path]; ok {
				return data, nil
			}
			return nil, os.ErrNotExist
		},
		Clouds: func(cloud, file string) (*openstack.Credential, error) {
			return &openstack.Credential{Origin: file + " " + cloud}, nil
		},
	}
	for name, c := range map[string]struct {
		in   map[string]string
		want openstack.Credential
	}{
		"password": {
			map[string]string{"os-authURL": "https://k:5000/v3/", "os-region": "R", "os-endpointType": "internalURL", "os-userName": "u", "os-password": "p", "os-projectName": "pr", "os-domainName": "Default", "os-TLSInsecure": "true"},
			openstack.Credential{
				AuthURL: "https://k:5000/v3", Region: "R", Interface: "internal", Username: "u", Password: "p", ProjectName: "pr", UserDomainName: "Default",
				ProjectDomainName: "Default", CACert: []byte{}, Insecure: true,
			},
		},
		"application credential and files": {
			map[string]string{"os-authURL": "https://k:5000", "os-applicationCredentialID": "i", "os-applicationCredentialSecret": "s", "os-certAuthorityPath": "/ca", "os-clientCertPath": "/c", "os-clientKeyPath": "/k"},
			openstack.Credential{
				AuthURL: "https://k:5000/v3", ApplicationCredentialID: "i", ApplicationCredentialSecret: "s", CACert: cert, ClientCert: cert, ClientKey: key,
			},
		},
		"trust": {
			map[string]string{"os-authURL": "https://k/v3", "os-trustID": "t", "os-trusteeID": "i", "os-trusteePassword": "p", "os-projectID": "x"},
			openstack.Credential{AuthURL: "https://k/v3", TrustID: "t", UserID: "i", Password: "p", CACert: []byte{}},
		},
		"clouds.yaml": {map[string]string{"os-useClouds": "true", "os-cloudsFile": "/etc/clouds.yaml", "os-cloud": "c"}, openstack.Credential{Origin: "/etc/clouds.yaml c"}},
	} {
		s, err := params.ParseSecret(c.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := s.Credential(files)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want.Origin == "" {
			c.want.Origin = "the secret"
		}
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	s, err := params.ParseSecret(map[string]string{"os-authURL": "https://k/v3", "os-token": "t", "os-certAuthorityPath": "/missing"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Credential(files); !errors.Is(err, params.ErrInvalid) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "os-certAuthorityPath") {
		t.Errorf("a file that is not there: %v", err)
	}
	if s, err = params.ParseSecret(map[string]string{"os-authURL": "keystone", "os-endpointType": "inside", "os-userName": "u", "os-password": "p", "os-certAuthority": "junk"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Credential(files)
	for _, want := range []string{"os-authURL has to be", "os-endpointType has to be", "os-userDomainName is missing", "os-projectName is missing", "os-certAuthority"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// pair is a certificate and its key, as PEM.
func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestSecretMistakes(t *testing.T) {
	t.Parallel()
	empty, err := params.ParseSecret(nil)
	if err != nil || !empty.Empty() {
		t.Errorf("no secret: %v, %+v", err, empty)
	}
	for _, c := range []struct {
		in   map[string]string
		want string
	}{
		{map[string]string{"os-userName": "u", "os-password": "hunter2"}, "os-authURL is missing"},
		{map[string]string{"os-authURL": "x", "os-password": "hunter2"}, "there is no login"},
		{map[string]string{"os-authURL": "x", "os-passwd": "hunter2"}, `"os-passwd" is unknown`},
		{map[string]string{"os-authURL": "x", "os-TLSInsecure": "hunter2"}, "os-TLSInsecure: it has to be true or false"},
	} {
		_, err := params.ParseSecret(c.in)
		if !errors.Is(err, params.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.in, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}
