package openstacksim

import "go.yaml.in/yaml/v3"

// CloudsYAML is a clouds.yaml for this cloud, for the openstack client as well as for mooring: a cloud per user (demo,
// other, quota, hsm, admin) on the project of its name, and one per application credential by its name (appcred, which
// is demo's). More users of a project are called project/user.
func (c *Cloud) CloudsYAML() []byte {
	k := c.Keystone
	k.mu.Lock()
	defer k.mu.Unlock()
	clouds := map[string]any{}
	for _, u := range k.users {
		for id := range u.roles {
			name := u.name
			if p := k.projects[id].name; p != u.name {
				name = p + "/" + u.name
			}
			clouds[name] = c.cloudEntry(map[string]any{
				"username": u.name, "password": u.password, "project_name": k.projects[id].name, "user_domain_name": domainName, "project_domain_name": domainName,
			})
		}
	}
	for _, a := range k.credentials {
		entry := c.cloudEntry(map[string]any{"application_credential_id": a.id, "application_credential_secret": a.secret})
		entry["auth_type"] = "v3applicationcredential"
		clouds[a.name] = entry
	}
	out, err := yaml.Marshal(map[string]any{"clouds": clouds})
	if err != nil {
		panic(err) // maps of strings can be marshalled
	}
	return out
}

func (c *Cloud) cloudEntry(auth map[string]any) map[string]any {
	auth["auth_url"] = c.AuthURL()
	return map[string]any{"region_name": Region, "identity_api_version": 3, "interface": "public", "auth": auth}
}
