package openstack_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack"
)

const cloudConf = "\ufeff" + `# of a cluster
[Global]
auth-url = "http://keystone.test:5000/v3/"
USERNAME = kms
password = "a\"b;c#d\\e"   ; a comment
domain-name=Default
tenant-id = p1
region = RegionOne
os-endpoint-type = internalURL
tls-insecure = true
passwort = oops

[LoadBalancer]
use-octavia = true
subnet-id = 1

[LoadBalancerClass "x"]
floating-network-id = 2

[BlockStorage]
bs-version = v3

[KeyManager]
key-id = 0B7E6A3C-5e2f-4a53-9d5b-7d5f6a1f2a3b
nope = 1
`

func TestCloudConfig(t *testing.T) {
	t.Parallel()
	p := place{files: map[string]string{"cloud.conf": cloudConf}, env: map[string]string{"OS_PASSWORD": "not-this-one", "OS_AUTH_URL": "http://nor.this"}}
	got, err := p.source("", "").CloudConfig("cloud.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := &openstack.CloudConfig{
		Credential: &openstack.Credential{
			Origin: "cloud.conf", AuthURL: "http://keystone.test:5000/v3", Region: "RegionOne", Interface: "internal", Username: "kms",
			Password: `a"b;c#d\e`, UserDomainName: "Default", ProjectID: "p1", ProjectDomainName: "Default", Insecure: true,
		},
		KeyID:   "0B7E6A3C-5e2f-4a53-9d5b-7d5f6a1f2a3b",
		Ignored: []string{"[Global] passwort: it is not known here", "[KeyManager] nope: it is not known here"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Each way of logging in that cloud-provider-openstack has.
func TestCloudConfigLogins(t *testing.T) {
	t.Parallel()
	pem, _ := authority(t, "k.test")
	caPEM := string(pem)
	const clouds = "clouds: {demo: {region_name: R, verify: false, auth: {auth_url: 'https://clouds.test', username: u, password: p, user_domain_id: d, project_name: p, project_domain_id: d}}, other: {auth: {auth_url: 'https://other.test'}}}"
	for name, tc := range map[string]struct {
		global string
		want   openstack.Credential
	}{
		"application credential": {
			"auth-url=https://k.test\napplication-credential-id=a\napplication-credential-secret=s",
			openstack.Credential{AuthURL: "https://k.test/v3", ApplicationCredentialID: "a", ApplicationCredentialSecret: "s"},
		},
		"application credential by name": {
			"auth-url=https://k.test\napplication-credential-name=a\napplication-credential-secret=s\nuser-id=u",
			openstack.Credential{AuthURL: "https://k.test/v3", ApplicationCredentialName: "a", ApplicationCredentialSecret: "s", UserID: "u"},
		},
		"trust": {
			"auth-url=https://k.test\nuser-id=u\npassword=p\ntrust-id=t",
			openstack.Credential{AuthURL: "https://k.test/v3", UserID: "u", Password: "p", TrustID: "t"},
		},
		"trustee": {
			"auth-url=https://k.test\nuser-id=u\npassword=p\ntrust-id=t\ntrustee-id=e\ntrustee-password=q",
			openstack.Credential{AuthURL: "https://k.test/v3", UserID: "e", Password: "q", TrustID: "t"},
		},
		"domains of their own": {
			"auth-url=https://k.test\nusername=u\npassword=p\ntenant-name=t\ndomain-id=d\nuser-domain-name=U\ntenant-domain-id=T",
			openstack.Credential{AuthURL: "https://k.test/v3", Username: "u", Password: "p", ProjectName: "t", UserDomainName: "U", ProjectDomainID: "T"},
		},
		"a CA": {
			"auth-url=https://k.test\nuser-id=u\npassword=p\ntenant-id=t\nca-file=/ca.pem\ntls-insecure=false",
			openstack.Credential{AuthURL: "https://k.test/v3", UserID: "u", Password: "p", ProjectID: "t", CACert: []byte(caPEM)},
		},
		"clouds.yaml": {
			"use-clouds\nclouds-file=/c/clouds.yaml\ncloud=demo",
			openstack.Credential{AuthURL: "https://clouds.test/v3", Region: "R", Username: "u", Password: "p", UserDomainID: "d", ProjectName: "p", ProjectDomainID: "d"},
		},
		"over clouds.yaml": {
			"use-clouds=yes\nclouds-file=/c/clouds.yaml\ncloud=demo\nregion=S\nuser-id=v\npassword=w\ntenant-id=t",
			openstack.Credential{AuthURL: "https://clouds.test/v3", Region: "S", UserID: "v", Password: "w", UserDomainID: "d", ProjectID: "t", ProjectDomainID: "d"},
		},
		"clouds.yaml that lacks something": {
			"use-clouds=true\nclouds-file=/c/clouds.yaml\ncloud=other\nuser-id=u\npassword=p\ntenant-id=t",
			openstack.Credential{AuthURL: "https://other.test/v3", UserID: "u", Password: "p", ProjectID: "t"},
		},
		"clouds.yaml not asked for": {
			"auth-url=https://k.test\nuse-clouds=false\nclouds-file=/none\ncloud=demo\nuser-id=u\npassword=p\ntenant-id=t",
			openstack.Credential{AuthURL: "https://k.test/v3", UserID: "u", Password: "p", ProjectID: "t"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place{files: map[string]string{"f": "[Global]\n" + tc.global, "/ca.pem": caPEM, "/c/clouds.yaml": clouds}}
			got, err := p.source("", "").CloudConfig("f")
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Origin = "f"
			if diff := cmp.Diff(&tc.want, got.Credential); diff != "" || got.KeyID != "" || len(got.Ignored) != 0 {
				t.Errorf("%q %q -want +got:\n%s", got.KeyID, got.Ignored, diff)
			}
		})
	}
}

func TestCloudConfigMistakes(t *testing.T) {
	t.Parallel()
	const hush = "hush-hush"
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":               {"", []string{"f: [Global] auth-url is missing", "f: [Global] username is missing (or [Global] application-credential-id, or [Global] use-clouds)", "f: [Global] password is missing"}},
		"no section":          {"password = " + hush, []string{"f: 1:1: expected section header"}},
		"no end of a quote":   {"[Global]\npassword = \"" + hush, []string{"f: 2:12: string not terminated"}},
		"an escape":           {"[Global]\npassword = " + hush + "\\x", []string{"f: 2:"}},
		"a blank password":    {"[Global]\npassword", []string{`f: blank value not supported for type at section "Global", variable "password"`}},
		"YAML":                {"global:\n  password: " + hush, []string{"f: 1:1: expected section header"}},
		"clouds.yaml in vain": {"[Global]\nuse-clouds=true\nclouds-file=/none/clouds.yaml\npassword=" + hush, []string{"f: [Global] use-clouds: clouds file: open /none/clouds.yaml"}},
		"use-clouds":          {"[Global]\nuse-clouds=perhaps", []string{`at section "Global", variable "use-clouds"`}},
		"a CA that is none": {
			"[Global]\nauth-url=ftp://k\nuser-id=u\ntenant-id=t\npassword=" + hush + "\nca-file=/none.pem\ncert-file=/none.crt",
			[]string{"f: [Global] ca-file: open /none.pem", "f: [Global] cert-file: open /none.crt"},
		},
		"many": {
			"[Global]\nauth-url=ftp://k\nusername=u\nos-endpoint-type=secret\npassword=" + hush,
			[]string{"f: [Global] auth-url has to be an http", "f: [Global] os-endpoint-type has to be", "f: [Global] user-domain-name is missing", "f: [Global] tenant-name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place{files: map[string]string{"f": tc.text}}
			got, err := p.source("", "").CloudConfig("f")
			if err == nil {
				t.Fatalf("got %v", got)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), hush) {
				t.Errorf("the password is in:\n%v", err)
			}
		})
	}
	if _, err := (place{}).source("", "").CloudConfig("/no/cloud.conf"); err == nil || !strings.Contains(err.Error(), "/no/cloud.conf") {
		t.Errorf("no file: %v", err)
	}
}

func FuzzCloudConfig(f *testing.F) {
	f.Add(cloudConf)
	f.Add("[Global]\nuse-clouds\npassword = \"\\\"")
	f.Add("[Global \"x\"]\na=b\\\n c\n[keymanager]key-id=1")
	f.Fuzz(func(t *testing.T, text string) {
		p := place{files: map[string]string{"f": text}}
		got, err := p.source("", "").CloudConfig("f")
		if (got == nil) == (err == nil) {
			t.Fatalf("%v, %v", got, err)
		}
		if err == nil && (got.Credential.AuthURL == "" || got.Credential.Password+got.Credential.ApplicationCredentialSecret == "") {
			t.Fatalf("incomplete: %+v", got.Credential)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Fatalf("%q", err)
		}
	})
}
