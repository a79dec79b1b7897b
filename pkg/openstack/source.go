package openstack

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"go.yaml.in/yaml/v3"
)

// Source is where a credential is looked for, in the order of openstacksdk: a cloud of a clouds.yaml when one is named (by
// Cloud or OS_CLOUD), else the OS_* variables.
type Source struct {
	// Cloud names an entry of clouds.yaml; empty means OS_CLOUD, or the only entry of CloudsFile.
	Cloud string
	// CloudsFile is the path of clouds.yaml; empty means OS_CLIENT_CONFIG_FILE, then ./clouds.yaml,
	// $XDG_CONFIG_HOME/openstack (~/.config/openstack) and /etc/openstack. secure.yaml and clouds-public.yaml are looked
	// for beside it.
	CloudsFile string
	// LookupEnv is os.LookupEnv, or a test's.
	LookupEnv func(string) (string, bool)
	// ReadFile is os.ReadFile, or a test's.
	ReadFile func(string) ([]byte, error)
}

// Load finds the credential and checks it. The error names the file or variable and lists every mistake in it.
func (s Source) Load() (*Credential, error) {
	cloud := cmp.Or(s.Cloud, s.env("OS_CLOUD"))
	file := cmp.Or(s.CloudsFile, s.env("OS_CLIENT_CONFIG_FILE"))
	if cloud == "" && file == "" {
		if s.env("OS_AUTH_URL") == "" {
			return nil, errors.New("no cloud is named: set --os-cloud (OS_CLOUD) to an entry of clouds.yaml, or the OS_* variables (OS_AUTH_URL, …)")
		}
		return s.fromEnv()
	}
	return s.fromFile(cloud, file)
}

func (s Source) env(name string) string {
	v, _ := s.LookupEnv(name)
	return v
}

// fromEnv reads the variables that the openstack client reads, OS_TENANT_* and OS_AUTH_TOKEN for old openrc files.
func (s Source) fromEnv() (*Credential, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := s.env(n); v != "" {
				return v
			}
		}
		return ""
	}
	c := &Credential{
		Origin:                      "the OS_* variables",
		AuthURL:                     s.env("OS_AUTH_URL"),
		Region:                      s.env("OS_REGION_NAME"),
		Interface:                   first("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
		UserID:                      first("OS_USER_ID", "OS_USERID"),
		Username:                    s.env("OS_USERNAME"),
		Password:                    s.env("OS_PASSWORD"),
		UserDomainID:                first("OS_USER_DOMAIN_ID", "OS_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN"),
		UserDomainName:              first("OS_USER_DOMAIN_NAME", "OS_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		ProjectID:                   first("OS_PROJECT_ID", "OS_TENANT_ID"),
		ProjectName:                 first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		ProjectDomainID:             first("OS_PROJECT_DOMAIN_ID", "OS_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN"),
		ProjectDomainName:           first("OS_PROJECT_DOMAIN_NAME", "OS_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
		ApplicationCredentialID:     s.env("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialName:   s.env("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationCredentialSecret: s.env("OS_APPLICATION_CREDENTIAL_SECRET"),
		Token:                       first("OS_TOKEN", "OS_AUTH_TOKEN"),
		TrustID:                     s.env("OS_TRUST_ID"),
	}
	preferNames(c, s.env("OS_USER_DOMAIN_NAME") != "" && s.env("OS_USER_DOMAIN_ID") == "", s.env("OS_PROJECT_DOMAIN_NAME") != "" && s.env("OS_PROJECT_DOMAIN_ID") == "")
	if t := s.env("OS_AUTH_TYPE"); t != "" {
		c.keepOnly(t)
	}
	var errs []error
	switch v := s.env("OS_INSECURE"); strings.ToLower(v) {
	case "", "false", "0", "no":
	case "true", "1", "yes":
		c.Insecure = true
	default:
		errs = append(errs, fmt.Errorf("OS_INSECURE is %q: it has to be true or false", v))
	}
	for _, f := range []struct {
		name string
		into *[]byte
	}{{"OS_CACERT", &c.CACert}, {"OS_CERT", &c.ClientCert}, {"OS_KEY", &c.ClientKey}} {
		errs = append(errs, s.readPEM(f.name, s.env(f.name), f.into))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := c.Complete(envName); err != nil {
		return nil, err
	}
	return c, nil
}

// preferNames drops a general default domain where the more special name of one is given.
func preferNames(c *Credential, user, project bool) {
	if user {
		c.UserDomainID = ""
	}
	if project {
		c.ProjectDomainID = ""
	}
}

func envName(field string) string {
	switch field {
	case "cacert", "cert", "key", "interface":
		return "OS_" + strings.ToUpper(field)
	default:
		return "OS_" + strings.ToUpper(strings.ReplaceAll(field, ".", "_"))
	}
}

// keepOnly forgets what the wanted kind of login does not use: openrc files leave old variables set.
func (c *Credential) keepOnly(authType string) {
	switch strings.TrimPrefix(authType, "v3") {
	case "applicationcredential":
		c.Password, c.Token, c.TrustID = "", "", ""
	case "password":
		c.ApplicationCredentialID, c.ApplicationCredentialName, c.ApplicationCredentialSecret, c.Token = "", "", "", ""
	case "token":
		c.ApplicationCredentialID, c.ApplicationCredentialName, c.ApplicationCredentialSecret, c.Password = "", "", "", ""
	}
}

// readPEM reads what a setting holds: the path of a file, or the PEM text itself.
func (s Source) readPEM(name, value string, into *[]byte) error {
	switch {
	case value == "":
		return nil
	case strings.Contains(value, "-----BEGIN "):
		*into = []byte(value)
		return nil
	}
	data, err := s.ReadFile(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*into = data
	return nil
}

// fromFile reads one cloud of a clouds.yaml, laid over by secure.yaml, on top of its profile in clouds-public.yaml.
func (s Source) fromFile(name, file string) (*Credential, error) {
	c, where, err := s.cloud(name, file)
	if err != nil {
		return nil, err
	}
	if err := c.Complete(fileName); err != nil {
		return nil, prefixed(where, err)
	}
	return c, nil
}

// cloud is a cloud of a clouds.yaml as it stands there, incomplete perhaps, and where it stands, to begin errors with.
func (s Source) cloud(name, file string) (c *Credential, where string, err error) {
	path, data, err := s.findClouds(file)
	if err != nil {
		return nil, "", err
	}
	entries, err := decodeClouds(path, "clouds", data)
	if err != nil {
		return nil, "", err
	}
	if name == "" {
		if len(entries) != 1 {
			return nil, "", fmt.Errorf("%s has %d clouds (%s): name one with --os-cloud (OS_CLOUD)", path, len(entries), names(entries))
		}
		name = slices.Collect(maps.Keys(entries))[0]
	}
	entry, ok := entries[name]
	if !ok {
		return nil, "", fmt.Errorf("%s has no cloud %q: it has %s", path, name, names(entries))
	}
	if entry, err = s.layers(path, name, entry); err != nil {
		return nil, "", err
	}
	where = fmt.Sprintf("%s: cloud %q: ", path, name)
	cloud, err := typed(entry)
	if err != nil {
		return nil, "", prefixed(where, err)
	}
	if c, err = s.fromCloud(cloud); err != nil {
		return nil, "", prefixed(where, err)
	}
	c.Origin = fmt.Sprintf("cloud %q of %s", name, path)
	return c, where, nil
}

// prefixed puts a prefix before each of the errors that were joined, so that each makes sense on a line of its own.
func prefixed(prefix string, err error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return fmt.Errorf("%s%w", prefix, err)
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, prefixed(prefix, e))
	}
	return errors.Join(errs...)
}

func (s Source) findClouds(file string) (path string, data []byte, err error) {
	if file != "" {
		data, err = s.ReadFile(file)
		if err != nil {
			return "", nil, fmt.Errorf("clouds file: %w", err)
		}
		return file, data, nil
	}
	config := s.env("XDG_CONFIG_HOME")
	if home := s.env("HOME"); config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	var tried []string
	for _, dir := range []string{".", filepath.Join(config, "openstack"), "/etc/openstack"} {
		path = filepath.Join(dir, "clouds.yaml")
		data, err = s.ReadFile(path)
		if err == nil {
			return path, data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) { // a file that is there but can't be read is a mistake, not a reason to look on
			return "", nil, fmt.Errorf("clouds file: %w", err)
		}
		tried = append(tried, path)
	}
	return "", nil, fmt.Errorf("no clouds.yaml: looked for %s; name it with --clouds-file (OS_CLIENT_CONFIG_FILE)", strings.Join(tried, ", "))
}

// layers merges secure.yaml over the entry, and the entry over its profile.
func (s Source) layers(cloudsPath, name string, entry map[string]any) (map[string]any, error) {
	secure := cmp.Or(s.env("OS_CLIENT_SECURE_FILE"), filepath.Join(filepath.Dir(cloudsPath), "secure.yaml"))
	secrets, err := s.optional(secure, "clouds")
	if err != nil {
		return nil, err
	}
	entry = merge(secrets[name], entry)
	profile, _ := entry["profile"].(string)
	if profile == "" {
		profile, _ = entry["cloud"].(string)
	}
	if profile == "" {
		return entry, nil
	}
	public := filepath.Join(filepath.Dir(cloudsPath), "clouds-public.yaml")
	profiles, err := s.optional(public, "public-clouds")
	if err != nil {
		return nil, err
	}
	if profiles[profile] == nil {
		return nil, fmt.Errorf("%s: cloud %q: there is no profile %q in %s", cloudsPath, name, profile, public)
	}
	return merge(entry, profiles[profile]), nil
}

func (s Source) optional(path, key string) (map[string]map[string]any, error) {
	data, err := s.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]map[string]any{}, nil
	}
	if err != nil {
		return nil, err
	}
	var whole any
	if yaml.Unmarshal(data, &whole) == nil && whole == nil { // an empty file, or comments alone
		return map[string]map[string]any{}, nil
	}
	return decodeClouds(path, key, data)
}

func decodeClouds(path, key string, data []byte) (map[string]map[string]any, error) {
	var file map[string]yaml.Node
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s is not YAML: %s", path, yamlMistake(err))
	}
	node, ok := file[key]
	if !ok {
		return nil, fmt.Errorf("%s has no %q at its top", path, key)
	}
	var (
		whole   any // decoded first, since that finds anchors that hold themselves, or too much
		entries map[string]map[string]text
	)
	if err := cmp.Or(node.Decode(&whole), node.Decode(&entries)); err != nil {
		return nil, fmt.Errorf("%s: %s: %s", path, key, yamlMistake(err))
	}
	out := make(map[string]map[string]any, len(entries))
	for name, entry := range entries {
		out[name] = plain(entry)
	}
	return out, nil
}

// text is a value of YAML whose scalars stay what was written: a password of 0123 or 1e5 is no number. Null is nil.
type text struct{ value any }

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.MappingNode:
		var m map[string]text
		err := n.Decode(&m)
		t.value = plain(m)
		return err
	case n.Kind == yaml.SequenceNode:
		var list []text
		err := n.Decode(&list)
		values := make([]any, len(list))
		for i, v := range list {
			values[i] = v.value
		}
		t.value = values
		return err
	case n.ShortTag() == "!!binary":
		var s string
		err := n.Decode(&s)
		t.value = s
		return err
	default:
		t.value = n.Value
		return nil
	}
}

// plain drops nulls: they say no more than a key that is not there.
func plain(m map[string]text) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if v.value != nil {
			out[k] = v.value
		}
	}
	return out
}

// quoted is where YAML's errors show the value that they are about, which may be a password.
var quoted = regexp.MustCompile("(?s)`.*`|anchor '.*'")

func yamlMistake(err error) string {
	return oneShortLine(quoted.ReplaceAllString(err.Error(), "(not shown)"))
}

// merge lays over on under, maps deeply.
func merge(over, under map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range over {
		o, isMap := v.(map[string]any)
		u, wasMap := out[k].(map[string]any)
		if isMap && wasMap {
			v = merge(o, u)
		}
		out[k] = v
	}
	return out
}

// typed reads an entry of texts into gophercloud's type, which knows the keys.
func typed(entry map[string]any) (*clouds.Cloud, error) {
	auth, ok := entry["auth"].(map[string]any)
	if entry["auth"] == nil {
		return nil, errors.New("auth is missing")
	} else if !ok {
		return nil, errors.New("auth has to be a map")
	}
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(auth)) {
		errs = append(errs, single("auth."+k, auth[k]))
	}
	known := map[string]any{}
	for _, k := range []string{"auth_type", "region_name", "endpoint_type", "interface", "identity_api_version", "cacert", "cert", "key"} {
		if v := entry[k]; v != nil {
			errs = append(errs, single(k, v))
			known[k] = v
		}
	}
	verify, err := boolean("verify", entry["verify"])
	regions, regionsErr := regionNames(entry["regions"])
	if err := errors.Join(append(errs, err, regionsErr)...); err != nil {
		return nil, err
	}
	auth = maps.Clone(auth)
	delete(auth, "allow_reauth") // no text, and the session's own affair
	known["auth"] = auth
	data, err := yaml.Marshal(known)
	if err != nil {
		return nil, err
	}
	cloud := &clouds.Cloud{Verify: verify, Regions: regions}
	if err := yaml.Unmarshal(data, cloud); err != nil {
		return nil, errors.New(yamlMistake(err))
	}
	return cloud, nil
}

func single(key string, value any) error {
	if _, ok := value.(string); !ok {
		return fmt.Errorf("%s has to be a single value", key)
	}
	return nil
}

// boolean reads what YAML 1.1 and the openstack client take for true and false; nil is neither.
func boolean(key string, value any) (*bool, error) {
	if value == nil {
		return nil, nil //nolint:nilnil // it is not set
	}
	s, _ := value.(string)
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return new(true), nil
	case "false", "no", "off", "0":
		return new(false), nil
	default:
		return nil, fmt.Errorf("%s has to be true or false", key)
	}
}

// regionNames reads a list of regions: each is a name, or a map with one.
func regionNames(value any) (regions []clouds.Region, err error) {
	list, ok := value.([]any)
	if value != nil && !ok {
		return nil, errors.New("regions has to be a list")
	}
	for _, r := range list {
		if m, ok := r.(map[string]any); ok {
			r = m["name"]
		}
		name, ok := r.(string)
		if !ok {
			return nil, errors.New("regions: each has to be a name, or a map with a name")
		}
		regions = append(regions, clouds.Region{Name: name})
	}
	return regions, nil
}

func (s Source) fromCloud(cloud *clouds.Cloud) (*Credential, error) {
	a := cloud.AuthInfo
	c := &Credential{
		AuthURL:   a.AuthURL,
		Region:    cmp.Or(s.env("OS_REGION_NAME"), cloud.RegionName),
		Interface: cmp.Or(s.env("OS_INTERFACE"), cloud.EndpointType, cloud.Interface),
		UserID:    a.UserID, Username: a.Username, Password: a.Password,
		UserDomainID: cmp.Or(a.UserDomainID, a.DomainID), UserDomainName: cmp.Or(a.UserDomainName, a.DomainName),
		ProjectID: a.ProjectID, ProjectName: a.ProjectName,
		ProjectDomainID: cmp.Or(a.ProjectDomainID, a.DomainID), ProjectDomainName: cmp.Or(a.ProjectDomainName, a.DomainName),
		ApplicationCredentialID: a.ApplicationCredentialID, ApplicationCredentialName: a.ApplicationCredentialName,
		ApplicationCredentialSecret: a.ApplicationCredentialSecret, Token: a.Token, TrustID: a.TrustID,
		Insecure: cloud.Verify != nil && !*cloud.Verify,
	}
	if a.DefaultDomain != "" {
		if c.UserDomainID == "" && c.UserDomainName == "" {
			c.UserDomainID = a.DefaultDomain
		}
		if c.ProjectDomainID == "" && c.ProjectDomainName == "" {
			c.ProjectDomainID = a.DefaultDomain
		}
	}
	preferNames(c, a.UserDomainName != "" && a.UserDomainID == "", a.ProjectDomainName != "" && a.ProjectDomainID == "")
	if len(cloud.Regions) == 1 && c.Region == "" {
		c.Region = cloud.Regions[0].Name
	}
	if cloud.AuthType != "" {
		c.keepOnly(string(cloud.AuthType))
	}
	if v, err := strconv.ParseFloat(cmp.Or(cloud.IdentityAPIVersion, "3"), 64); err != nil || v != 3 {
		return nil, fmt.Errorf("identity_api_version is %q: only version 3 is supported", cloud.IdentityAPIVersion)
	}
	return c, errors.Join(
		s.readPEM("cacert", cloud.CACertFile, &c.CACert),
		s.readPEM("cert", cloud.ClientCertFile, &c.ClientCert),
		s.readPEM("key", cloud.ClientKeyFile, &c.ClientKey))
}

// fileName is what a field is called in clouds.yaml.
func fileName(field string) string {
	switch field {
	case "cacert", "cert", "key", "interface":
		return field
	default:
		return "auth." + field
	}
}

func normalizeInterface(i string) string {
	switch i {
	case "publicURL", "internalURL", "adminURL":
		return strings.TrimSuffix(i, "URL")
	default:
		return i
	}
}

func names(entries map[string]map[string]any) string {
	if len(entries) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(entries)), ", ")
}

// Named says whether anything says which cloud to use.
func (s Source) Named() bool {
	return s.Cloud != "" || s.CloudsFile != "" || s.env("OS_CLOUD") != "" || s.env("OS_CLIENT_CONFIG_FILE") != "" || s.env("OS_AUTH_URL") != ""
}
