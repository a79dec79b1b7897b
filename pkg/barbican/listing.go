package barbican

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrKeyring says that a container can't serve as a keyring: it is no generic one, or its answer makes no sense.
var ErrKeyring = errors.New("it can't be used as a keyring")

// ListedKey is a key that a keyring names, with what Barbican tells of its secret.
type ListedKey struct {
	Ref KeyRef
	// NotBefore is the instant before which the key must not become active; zero is none. It comes from the entry's name.
	NotBefore time.Time
	// ReadOnly keys open what was wrapped with them and never become active. Entries of a container are never read-only.
	ReadOnly bool
	// Created and Expires are the secret's, by Barbican's clock; zero is unknown and never.
	Created, Expires time.Time
	// Creator is Keystone's id of the user who made the secret, Status Barbican's word for its state ("ACTIVE").
	Creator, Status string
}

// Listing is a keyring at a moment.
type Listing struct {
	// Keys are the entries of which everything is known, the highest generation first. A generation that is named twice is here
	// twice: whoever uses the list decides (a Ring lets neither become active, unless only one's creator is allowed).
	Keys []ListedKey
	// Unread are entries whose secret's metadata could not be read, and why. They are read again with the next listing.
	Unread map[KeyRef]error
	// Strange are the names of entries that are no generations, each with what is wrong.
	Strange []string
	// Now is Barbican's clock when the listing is returned; zero: there is none to go by. Clock says whose it is.
	Now   time.Time
	Clock Clock
	// Owner is Keystone's id of the user who lists.
	Owner string
	// Consumers are the URLs (see ConsumerURL) of the clusters that are registered with the container; none: nobody is.
	Consumers []string
}

// serves is nil if the keyring is for a cluster, as far as is known. What was written with a wrong name nobody else could read.
func (l *Listing) serves(cluster string) error {
	if len(l.Consumers) == 0 || slices.Contains(l.Consumers, ConsumerURL(cluster)) {
		return nil
	}
	return fmt.Errorf("%w: it is registered for %.300q, and this is %.100q: mend --cluster-id or --keyring, or register the cluster with keys init",
		ErrKeyring, l.Consumers, ConsumerURL(cluster))
}

// Clock says whose clock a time was read from.
type Clock string

const (
	// LocalClock is this machine's, for want of another.
	LocalClock Clock = "local"
	// KeystoneClock is Keystone's: Barbican tells none (before 2024 its answers have no Date), and runs in the same cloud.
	KeystoneClock Clock = "keystone"
	// BarbicanClock is Barbican's own.
	BarbicanClock Clock = "barbican"
)

// stamp is how an entry's name writes an instant.
const stamp = "20060102T150405Z"

// EntryName is the name that a key has in the container: "generation-N", or "generation-N-from-YYYYMMDDTHHMMSSZ" when it must
// not become active before an instant (which is cut to the second).
func EntryName(generation uint64, notBefore time.Time) string {
	name := "generation-" + strconv.FormatUint(generation, 10)
	if notBefore.IsZero() {
		return name
	}
	return name + "-from-" + notBefore.UTC().Format(stamp)
}

// ParseEntryName reads what EntryName writes, and nothing else: there is one spelling of each.
func ParseEntryName(name string) (generation uint64, notBefore time.Time, err error) {
	const form = "it has to be generation-N or generation-N-from-YYYYMMDDTHHMMSSZ"
	rest, ok := strings.CutPrefix(name, "generation-")
	if !ok {
		return 0, time.Time{}, errors.New(form)
	}
	number, from, dated := strings.Cut(rest, "-from-")
	if generation, err = strconv.ParseUint(number, 10, 64); err != nil || generation == 0 {
		return 0, time.Time{}, errors.New(form + ", with a number from 1")
	}
	if dated {
		if notBefore, err = time.Parse(stamp, from); err != nil {
			return 0, time.Time{}, errors.New(form + ", with an instant in UTC")
		}
	}
	if EntryName(generation, notBefore) != name {
		return 0, time.Time{}, errors.New(form + ", in one spelling (no leading zeros)")
	}
	return generation, notBefore, nil
}

// secretOf takes the UUID out of a secret's reference. Its host is not used: a cloud's services differ on its name.
func secretOf(ref string) (string, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("%.100q is no reference to a secret", ref)
	}
	head, id := cutLast(u.Path)
	if _, kind := cutLast(head); kind != "secrets" || !isUUID(id) {
		return "", fmt.Errorf("%.100q is no reference to a secret", ref)
	}
	return id, nil
}

// cutLast takes the last element off a path.
func cutLast(path string) (head, last string) {
	i := max(strings.LastIndexByte(path, '/'), 0)
	return path[:i], strings.TrimPrefix(path[i:], "/")
}
