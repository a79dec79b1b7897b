package openstack_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mooring/pkg/openstack"
)

// place is a file system and an environment in memory.
type place struct{ files, env map[string]string }

func (p place) source(cloud, file string) openstack.Source {
	return openstack.Source{
		Cloud: cloud, CloudsFile: file,
		LookupEnv: func(k string) (string, bool) { v, ok := p.env[k]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			switch text, ok := p.files[name]; {
			case !ok:
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			case text == "<unreadable>":
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
			default:
				return []byte(text), nil
			}
		},
	}
}

const twoClouds = `
clouds:
  demo:
    region_name: RegionOne
    interface: internalURL
    identity_api_version: "3"
    auth: {auth_url: "http://keystone.test:5000", username: demo, project_name: demo, user_domain_name: Default, project_domain_id: default}
  appcred:
    auth_type: v3applicationcredential
    verify: false
    auth: {auth_url: "https://keystone.test/identity/v3/", application_credential_id: id1, application_credential_secret: hush, username: left-over}
`

func TestLoadFromFiles(t *testing.T) {
	t.Parallel()
	p := place{
		files: map[string]string{
			"/etc/openstack/clouds.yaml": twoClouds,
			"/etc/openstack/secure.yaml": "clouds: {demo: {auth: {password: hush}}}",
		},
		env: map[string]string{"HOME": "/home/u", "OS_REGION_NAME": "RegionTwo"},
	}
	got, err := p.source("demo", "").Load()
	if err != nil {
		t.Fatal(err)
	}
	want := &openstack.Credential{
		Origin: `cloud "demo" of /etc/openstack/clouds.yaml`, AuthURL: "http://keystone.test:5000/v3", Region: "RegionTwo", Interface: "internal",
		Username: "demo", Password: "hush", UserDomainName: "Default", ProjectName: "demo", ProjectDomainID: "default",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got, err = p.source("appcred", "").Load()
	if err != nil {
		t.Fatal(err)
	}
	if got.ApplicationCredentialID != "id1" || !got.Insecure || got.AuthURL != "https://keystone.test/identity/v3" {
		t.Errorf("got %+v", got)
	}
}

func TestLoadProfile(t *testing.T) {
	t.Parallel()
	p := place{files: map[string]string{
		"/c/clouds.yaml":        "clouds: {mine: {profile: vendor, auth: {username: u, password: p, project_id: x, user_domain_id: default}}}",
		"/c/clouds-public.yaml": "public-clouds: {vendor: {region_name: R, auth: {auth_url: 'https://vendor.test/v3'}}}",
	}}
	got, err := p.source("", "/c/clouds.yaml").Load() // the only cloud of a file need not be named
	if err != nil {
		t.Fatal(err)
	}
	if got.AuthURL != "https://vendor.test/v3" || got.Region != "R" || got.ProjectID != "x" {
		t.Errorf("got %+v", got)
	}
}

func TestLoadFromEnvironment(t *testing.T) {
	t.Parallel()
	p := place{env: map[string]string{
		"OS_AUTH_URL": "https://k.test:5000/v2.0/", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_TENANT_NAME": "t", "OS_USER_DOMAIN_NAME": "D",
		"OS_DEFAULT_DOMAIN": "default", "OS_ENDPOINT_TYPE": "adminURL", "OS_INSECURE": "TRUE",
	}}
	got, err := p.source("", "").Load()
	if err != nil {
		t.Fatal(err)
	}
	want := &openstack.Credential{
		Origin: "the OS_* variables", AuthURL: "https://k.test:5000/v3", Interface: "admin", Username: "u", Password: "p", UserDomainName: "D",
		ProjectName: "t", ProjectDomainID: "default", Insecure: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Every error is one line per mistake, and names the file or variable.
func TestLoadMistakes(t *testing.T) {
	t.Parallel()
	files := func(text string) place { return place{files: map[string]string{"c.yaml": text}} }
	for name, tc := range map[string]struct {
		place       place
		cloud, file string
		want        []string
	}{
		"nothing named":      {place{}, "", "", []string{"no cloud is named: set --os-cloud"}},
		"no file anywhere":   {place{env: map[string]string{"HOME": "/h"}}, "demo", "", []string{"no clouds.yaml: looked for clouds.yaml, /h/.config/openstack/clouds.yaml, /etc/openstack/clouds.yaml"}},
		"named file missing": {place{}, "demo", "/x/c.yaml", []string{"clouds file: open /x/c.yaml: file does not exist"}},
		"unreadable file":    {place{files: map[string]string{"clouds.yaml": "<unreadable>"}}, "demo", "", []string{"clouds file: open clouds.yaml: permission denied"}},
		"unreadable secure":  {place{files: map[string]string{"c.yaml": twoClouds, "secure.yaml": "<unreadable>"}}, "demo", "c.yaml", []string{"open secure.yaml: permission denied"}},
		"no YAML":            {files("clouds: [\n  a: {"), "demo", "c.yaml", []string{"c.yaml is not YAML: yaml: line"}},
		"wrong shape":        {files("clouds: {demo: 5}"), "demo", "c.yaml", []string{"c.yaml: clouds: yaml: unmarshal errors"}},
		"no clouds":          {files("cloud: {}"), "demo", "c.yaml", []string{`c.yaml has no "clouds" at its top`}},
		"unknown cloud":      {files(twoClouds), "nope", "c.yaml", []string{`c.yaml has no cloud "nope": it has appcred, demo`}},
		"which cloud":        {files(twoClouds), "", "c.yaml", []string{"c.yaml has 2 clouds (appcred, demo): name one with --os-cloud"}},
		"no password":        {files(twoClouds), "demo", "c.yaml", []string{`c.yaml: cloud "demo": auth.password is missing`}},
		"several": {files("clouds: {a: {interface: inside, auth: {auth_url: 'keystone', username: u}}}"), "a", "c.yaml", []string{
			`c.yaml: cloud "a": auth.auth_url has to be an http or https URL`, `c.yaml: cloud "a": interface has to be public`,
			`auth.password is missing`, `auth.user_domain_name is missing`, `auth.project_name is missing`,
		}},
		"no auth":     {files("clouds: {a: {region_name: R}}"), "a", "c.yaml", []string{`c.yaml: cloud "a": auth is missing`}},
		"v2":          {files("clouds: {a: {identity_api_version: 2, auth: {}}}"), "a", "c.yaml", []string{`identity_api_version is "2": only version 3 is supported`}},
		"no profile":  {files("clouds: {a: {profile: p, auth: {}}}"), "a", "c.yaml", []string{`c.yaml: cloud "a": there is no profile "p" in clouds-public.yaml`}},
		"cacert gone": {files("clouds: {a: {cacert: /no/ca.pem, auth: {auth_url: 'https://k', token: t}}}"), "a", "c.yaml", []string{`c.yaml: cloud "a": cacert: open /no/ca.pem: file does not exist`}},
		"cacert bad":  {place{files: map[string]string{"c.yaml": "clouds: {a: {cacert: ca, auth: {auth_url: 'https://k', token: t}}}", "ca": "junk"}}, "a", "c.yaml", []string{"the CA certificate is not PEM"}},
		"appcred":     {files("clouds: {a: {auth_type: v3applicationcredential, auth: {auth_url: 'https://k', application_credential_name: n}}}"), "a", "c.yaml", []string{"auth.application_credential_secret is missing", "auth.username is missing"}},
		"env": {place{env: map[string]string{"OS_AUTH_URL": "https://k", "OS_USERNAME": "u", "OS_INSECURE": "maybe"}}, "", "", []string{
			`OS_INSECURE is "maybe": it has to be true or false`,
		}},
		"env login": {place{env: map[string]string{"OS_AUTH_URL": "https://k", "OS_USERNAME": "u", "OS_CERT": "-----BEGIN CERTIFICATE-----"}}, "", "", []string{
			"OS_PASSWORD is missing", "OS_USER_DOMAIN_NAME is missing", "OS_PROJECT_NAME is missing", "OS_CERT and OS_KEY go together",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tc.place.source(tc.cloud, tc.file).Load()
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if len(tc.want) > 1 {
				if lines := strings.Split(err.Error(), "\n"); len(lines) != len(tc.want) {
					t.Errorf("%d lines, want one for each of %d mistakes:\n%v", len(lines), len(tc.want), err)
				}
			}
		})
	}
}

func TestCredentialKey(t *testing.T) {
	t.Parallel()
	a := openstack.Credential{AuthURL: "https://k/v3", Username: "ab", Password: "c"}
	same := a
	same.Origin = "elsewhere"
	if a.Key() != same.Key() {
		t.Error("where a credential was found changes its key")
	}
	shifted := a
	shifted.Username, shifted.Password = "a", "bc"
	insecure := a
	insecure.Insecure = true
	for _, other := range []openstack.Credential{shifted, insecure} {
		if a.Key() == other.Key() {
			t.Errorf("%v and %v have one key", a.String(), other.String())
		}
	}
}

func TestCredentialIsNotPrinted(t *testing.T) {
	t.Parallel()
	c := &openstack.Credential{Origin: "here", AuthURL: "https://k/v3", Password: "hush", Token: "hush", ApplicationCredentialSecret: "hush", ClientKey: []byte("hush")}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "credential", c)
	for _, format := range []string{"%v", "%+v", "%s", "%q"} {
		_, _ = fmt.Fprintf(&out, format, c)
	}
	if strings.Contains(out.String(), "hush") || !strings.Contains(out.String(), "here") {
		t.Error(out.String())
	}
}

// Nothing that can stand in a clouds.yaml makes the reader panic, and every error is of one line per mistake.
func FuzzLoad(f *testing.F) {
	f.Add(twoClouds, "demo")
	f.Add("clouds: {a: {regions: [R, {name: S, values: {}}], auth: {auth_url: 'https://k', token: t}}}", "a")
	f.Add("clouds: {a: {profile: a, auth: []}}", "a")
	f.Fuzz(func(t *testing.T, text, cloud string) {
		p := place{files: map[string]string{"c.yaml": text}}
		c, err := p.source(cloud, "c.yaml").Load()
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		var joined interface{ Unwrap() []error }
		if err != nil && !errors.As(err, &joined) && strings.Contains(strings.TrimSpace(err.Error()), "\n") {
			t.Fatalf("more than one line: %v", err)
		}
	})
}

// What is written without quotes is text all the same, and the file's values stay out of errors.
func TestScalarsAreText(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"12345": "12345", "0123": "0123", "1e5": "1e5", "yes": "yes", "True": "True", "1_000": "1_000", "0x1F": "0x1F", "2024-01-01": "2024-01-01",
		"12345678901234567890123456789012": "12345678901234567890123456789012", ".inf": ".inf", `"null"`: "null", "!x hush": "hush", "!!binary aHVzaA==": "hush",
		"'a: b # c'": "a: b # c",
	} {
		p := place{files: map[string]string{
			"clouds.yaml": "x: &user {username: u, user_domain_id: 0042}\nclouds:\n  d:\n    regions: [{name: 007, values: {}}]\n    verify: \"no\"\n    identity_api_version: 3\n" +
				"    auth: {<<: *user, auth_url: 'http://k.test', project_id: " + written + ", allow_reauth: true}\n",
			"secure.yaml": "clouds:\n  d:\n    auth:\n      username: null\n      password: " + written + "\n",
		}}
		c, err := p.source("d", "clouds.yaml").Load()
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if c.Password != want || c.ProjectID != want || c.Username != "u" || c.UserDomainID != "0042" || c.Region != "007" || !c.Insecure {
			t.Errorf("%s: password %q, project %q, user %q in %q, region %q, insecure %v", written, c.Password, c.ProjectID, c.Username, c.UserDomainID, c.Region, c.Insecure)
		}
	}
}

func TestMistakesInFilesShowNoValues(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"clouds: {d: hush}":                                                 "(not shown)",
		"clouds: {d: {auth: hush}}":                                         "auth has to be a map",
		"clouds: {d: {auth: [hush]}}":                                       "auth has to be a map",
		"clouds: {d: {auth: {password: *hush}}}":                            "(not shown)",
		"clouds: {d: {auth: {password: [hush], username: {hush: x}}}}":      "auth.password has to be a single value",
		"clouds: {d: {auth: {}, verify: hush}}":                             "verify has to be true or false",
		"clouds: {d: {auth: {}, regions: {hush: x}}}":                       "regions has to be a list",
		"clouds: {d: {auth: {}, regions: [[hush]]}}":                        "regions: each has to be a name",
		"clouds: {d: {auth: {password: !!int hush}}}":                       "(not shown)",
		"clouds: {d: {auth: {auth_url: 'http://u:hush@k.test', token: t}}}": "auth.auth_url holds a user or password",
		"clouds: {d: {auth: {auth_url: 'ftp://u:hush@k.test', token: t}}}":  "auth.auth_url holds a user or password",
		"clouds: {d: {auth: {auth_url: 'http://k.test:99999', token: t}}}":  "has to be an http or https URL",
		"clouds: {d: {auth: null}}":                                         "auth is missing",
		"clouds: {d: null}":                                                 "auth is missing",
		"clouds: &a {d: *a}":                                                "contains itself",
		"hush":                                                              "(not shown)",
	} {
		p := place{files: map[string]string{"clouds.yaml": file, "secure.yaml": "# nothing yet\n"}}
		_, err := p.source("d", "clouds.yaml").Load()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
}
