package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"mooring/pkg/barbican"
)

func keysList() *mode {
	return &mode{
		name:  "list",
		short: "Lists the generations of a keyring with their states",
		long: "keys list shows the keyring as the plugins judge it: the generation that is active, those that are pending until an instant or held back until one that the\n" +
			"entry names, old ones that only decrypt, and strange ones that are not used, with the reason. PRIVATE says that the key's ACL keeps the project out.",
		tool:    true,
		options: &keysListOptions{},
	}
}

type keysListOptions struct{ keysOptions }

// listedKey is a row.
type listedKey struct {
	keyJSON

	State      string     `json:"state"`                // active, pending, held back, old, strange
	Activation *time.Time `json:"activation,omitempty"` // when it may become active, or did
	Created    *time.Time `json:"created,omitempty"`    // when its secret was made
	Expires    *time.Time `json:"expires,omitempty"`    // when its secret expires
	Private    *bool      `json:"private,omitempty"`    // its ACL keeps the project out; absent: the ACL can't be read
	Reason     string     `json:"reason,omitempty"`     // why it is strange
}

// listedKeyring is the result in JSON.
type listedKeyring struct {
	Keyring string    `json:"keyring"` // UUID of the container
	Now     time.Time `json:"now"`     // what the states are judged by
	Clock   string    `json:"clock"`   // whose now it is: barbican, keystone or local
	guardJSON

	Keys    []listedKey `json:"keys"`    // the highest generation first
	Strange []string    `json:"strange"` // entries that are no generations, with why
}

func (o *keysListOptions) run(ctx context.Context, p *process) error {
	line := p.progress()
	line.show(0, 0, "reading the keyring")
	found, err := keyManager(p, line).List(ctx, o.container, o.policy())
	line.clear()
	if err != nil {
		return err
	}
	out := listedKeyring{Keyring: found.Container, Now: found.Now.UTC(), Clock: string(found.Clock), guardJSON: guardJSON{string(found.Guard)}, Keys: []listedKey{}, Strange: append([]string{}, found.Strange...)}
	var rows [][]string
	for i := range found.Keys {
		k := &found.Keys[i]
		out.Keys = append(out.Keys, listedKey{
			keyJSON: newKeyJSON(k.Ref, k.Creator, k.Store, k.NotBefore), State: string(k.State), Activation: timeOrNil(k.Activation),
			Created: timeOrNil(k.Created), Expires: timeOrNil(k.Expires), Private: k.Private, Reason: k.Why,
		})
		rows = append(rows, []string{
			strconv.FormatUint(k.Ref.Generation, 10), stateText(k), age(k.Created, found.Now), orDash(k.Creator), orDash(k.Store), yesNo(k.Private),
			k.Ref.KeyID(), barbican.KeyIDHash(k.Ref.KeyID()),
		})
	}
	if err := show(p.env.Stdout, o.output, out, "GENERATION STATE AGE CREATOR STORE PRIVATE KEY-ID KEY-ID-HASH", rows); err != nil {
		return err
	}
	if o.output == "json" {
		return nil
	}
	for i := range found.Keys {
		if k := &found.Keys[i]; k.Why != "" {
			_, _ = fmt.Fprintf(p.env.Stderr, "Generation %d is not used: %s\n", k.Ref.Generation, k.Why)
		}
	}
	for _, s := range found.Strange {
		_, _ = fmt.Fprintf(p.env.Stderr, "An entry is no generation: %s\n", s)
	}
	if found.Guard != barbican.GuardRefuses {
		_, _ = fmt.Fprintln(p.env.Stderr, found.Guard.Notice())
	}
	return nil
}

func stateText(k *barbican.KeyStatus) string {
	if k.State == barbican.KeyPending || k.State == barbican.KeyHeldBack {
		return string(k.State) + " until " + k.Activation.UTC().Format(time.RFC3339)
	}
	return string(k.State)
}

// age is how long ago something was, in its largest unit and the next one.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	const day = 24 * time.Hour
	d := max(now.Sub(since), 0)
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return d.Truncate(time.Second).String()
	}
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return "yes"
	default:
		return "no"
	}
}
