package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"mooring/pkg/barbican"
)

func keysRotate() *mode {
	return &mode{
		name:  "rotate",
		short: "Adds a new key to a keyring, which becomes active everywhere within a second",
		long: "keys rotate makes an AES-256 key and adds it to the keyring as the next generation. The plugins fetch it, and switch to it when the activation delay has passed, by the\n" +
			"clock that Barbican or Keystone tells them: they tell whole seconds, so that plugins differ by one at most.\n" +
			"While a generation is still to become active it refuses, so that it can be run again when its answer was lost. Of two runs at the same time one wins.\n" +
			"With --wait it ends when the time has come, and the plugins at --endpoint report the new key.",
		tool:    true,
		options: &keysRotateOptions{},
	}
}

type keysRotateOptions struct {
	keysOptions

	store     string
	wait      bool
	endpoints []string
	timeout   time.Duration
}

func (o *keysRotateOptions) flags(f *pflag.FlagSet) {
	o.keysOptions.flags(f)
	f.StringVar(&o.store, "store", "", "name of the secret store where the key has to be; the project's admin chooses it, this only refuses any other")
	f.BoolVar(&o.wait, "wait", false, "wait until the key is active")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "with --wait: socket of a plugin that has to report the new key, too; may be repeated")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "with --endpoint: how long after the activation the plugins may take")
}

func (o *keysRotateOptions) check(env *Env) []error {
	wrong := append(o.keysOptions.check(env), checkSockets(o.endpoints)...)
	if len(o.endpoints) > 0 && !o.wait {
		wrong = append(wrong, errors.New("--endpoint: it is only for --wait"))
	}
	if o.timeout <= 0 {
		wrong = append(wrong, fmt.Errorf("--timeout: %v has to be more than 0", o.timeout))
	}
	return wrong
}

// rotated is the result in JSON.
type rotated struct {
	Keyring    string     `json:"keyring"`    // UUID of the container
	Key        keyJSON    `json:"key"`        // the new one
	Activation *time.Time `json:"activation"` // when it becomes active, or did; null: somebody took it out meanwhile
	Active     bool       `json:"active"`     // it is, with --wait
}

func (o *keysRotateOptions) run(ctx context.Context, p *process) error {
	line := p.progress()
	defer line.clear()
	manager := keyManager(p, line)
	line.show(0, 0, "making the key")
	made, err := manager.Rotate(ctx, barbican.RotateSpec{Container: o.container, Policy: o.policy(), Store: o.store})
	if err != nil {
		return err
	}
	out := rotated{Keyring: made.Container, Key: newKeyJSON(made.Key, made.Creator, made.Store, made.NotBefore)}
	at, left, err := manager.Activation(ctx, made, o.policy())
	if err == nil {
		out.Activation = timeOrNil(at)
		if o.wait {
			err = o.await(ctx, line, made, left)
			out.Active = err == nil
		}
	}
	line.clear()
	if o.output == "json" {
		return errors.Join(err, showJSON(p.env.Stdout, out))
	}
	state := "is active"
	if !out.Active {
		state = "becomes active at " + at.UTC().Format(time.RFC3339)
		if at.IsZero() {
			state = "was added"
		}
	}
	_, printErr := fmt.Fprintf(p.env.Stdout, "Generation %d %s.\nKey id:   %s\nStore:    %s\n", made.Key.Generation, state, out.Key.KeyID, orDash(out.Key.Store))
	return errors.Join(err, printErr)
}

// await waits for the activation, and for the plugins.
func (o *keysRotateOptions) await(ctx context.Context, line *progress, made *barbican.Made, left time.Duration) error {
	total := max(o.activationDelay, left)
	err := countdown(ctx, left, func(left time.Duration) {
		line.show(int64(total-left), int64(total), fmt.Sprintf("generation %d becomes active in %v", made.Key.Generation, left.Truncate(time.Second)))
	})
	if err != nil {
		return fmt.Errorf("generation %d was added, but not waited for: %w", made.Key.Generation, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var failed []error
	for i, endpoint := range o.endpoints {
		line.show(int64(i), int64(len(o.endpoints)), "waiting for "+endpoint)
		failed = append(failed, waitFor(ctx, endpoint, made.Key.KeyID()))
	}
	return errors.Join(failed...)
}
