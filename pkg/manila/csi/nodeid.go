package csi

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mooring/pkg/manila"
)

// longestNodeID is how long a node id can be in CSI, and in a CSINode object.
const longestNodeID = 256

// NodeID is how the node and the controller call a node: by its name and the addresses that servers see it come from. So the
// controller can let the node in without asking anybody. It is written NAME/ADDRESS,ADDRESS; NAME/ is a node that knows no address.
type NodeID struct {
	Name string
	// Addresses are in order of preference.
	Addresses []netip.Addr
}

// String writes as many of the addresses as there is room for.
func (id NodeID) String() string {
	s := id.Name + "/"
	for i, a := range id.Addresses {
		next := a.String()
		if i > 0 {
			next = "," + next
		}
		if len(s)+len(next) > longestNodeID {
			break
		}
		s += next
	}
	return s
}

// CheckNodeName says whether a node of this name can have an id.
func CheckNodeName(name string) error {
	const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	longest := min(manila.LongestNode, longestNodeID-len("/255.255.255.255"))
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > longest:
		return fmt.Errorf("it has %d characters, and %d at most leave room for an address", len(name), longest)
	case strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(characters, r) }):
		return fmt.Errorf("%q is no name of a node: letters, digits, -, . and _ are", name)
	}
	return nil
}

// ParseNodeID reads what String writes, and nothing else.
func ParseNodeID(s string) (NodeID, error) {
	name, rest, ok := strings.Cut(s, "/")
	wrong := func(why string) error { return fmt.Errorf("%w: %q: %s", errNode, s, why) }
	switch {
	case !ok:
		return NodeID{}, wrong("it has no addresses, so no manila-node of this version gave it: node ids are NAME/ADDRESS,ADDRESS")
	case len(s) > longestNodeID:
		return NodeID{}, wrong("it is too long")
	}
	if err := CheckNodeName(name); err != nil {
		return NodeID{}, wrong(err.Error())
	}
	id := NodeID{Name: name}
	if rest == "" {
		return id, nil
	}
	for text := range strings.SplitSeq(rest, ",") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.String() != text || !isClient(a) || slices.Contains(id.Addresses, a) {
			return NodeID{}, wrong(fmt.Sprintf("%q is no address of a client, or there twice", text))
		}
		id.Addresses = append(id.Addresses, a)
	}
	return id, nil
}

// isClient says whether an access rule can be for the address.
func isClient(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.Is4In6() && a.Zone() == ""
}
