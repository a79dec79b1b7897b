package mount

import (
	"fmt"
	"slices"
	"strings"
)

// contextPrefix begins the option that labels a whole file system for SELinux. Kubelet writes it, with the value in quotes, when the
// CSIDriver object has seLinuxMount.
const contextPrefix = "context="

// elements splits a list of options at its commas, but for those between double quotes: the level of an SELinux context may have them.
func elements(list string) (out []string) {
	quoted := false
	for option := range strings.FieldsFuncSeq(list, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	}) {
		if option = strings.TrimSpace(option); option != "" {
			out = append(out, option)
		}
	}
	return out
}

// vetContext checks an SELinux context, user:role:type or user:role:type:level, and returns the option as the kernel wants it: in
// quotes, since commas in the level would end it otherwise.
func vetContext(kind Kind, value string) (string, error) {
	const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	if kind == KindCephFuse {
		return "", fmt.Errorf("%w: ceph-fuse can't mount with an SELinux context: use the kernel's client (cephfs-mounter: kernel), or a CSIDriver object without seLinuxMount", ErrOption)
	}
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		if value, ok = strings.CutSuffix(inner, `"`); !ok {
			return "", fmt.Errorf("%w: the quotes of %s%s do not match", ErrOption, contextPrefix, inner)
		}
	}
	// The level has colons of its own.
	parts := strings.SplitN(value, ":", 4)
	allowed := func(part, more string) bool {
		return part != "" && !strings.ContainsFunc(part, func(r rune) bool { return !strings.ContainsRune(characters+more, r) })
	}
	ok := len(parts) >= 3 && (len(parts) == 3 || allowed(parts[3], ",:"))
	for _, part := range parts[:min(3, len(parts))] {
		ok = ok && allowed(part, "")
	}
	if !ok {
		return "", fmt.Errorf("%w: %q is no SELinux context (user:role:type:level)", ErrOption, value)
	}
	return contextPrefix + `"` + value + `"`, nil
}

// hasContext says whether vetted options have an SELinux context.
func hasContext(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, contextPrefix) })
}
