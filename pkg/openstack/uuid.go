package openstack

import "strings"

// ParseUUID says whether s is a UUID with hyphens, as Manila, Barbican and Designate name their resources, and returns it in
// lower case. What comes from outside passes here before it becomes part of a URL's path.
func ParseUUID(s string) (id string, ok bool) {
	const length = 36
	if len(s) != length {
		return "", false
	}
	for i, c := range []byte(s) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if hyphen != (c == '-') || !hyphen && !hex {
			return "", false
		}
	}
	return strings.ToLower(s), true
}
