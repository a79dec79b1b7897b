package barbican

import (
	"context"
	"log/slog"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// told is what the log has said already: it tells changes, not states.
type told struct {
	doubts   bool
	active   KeyRef
	revoked  bool
	stale    bool
	recalled bool
	clock    Clock
	strange  []string
	refused  map[KeyRef]bool
}

// tell logs what has changed.
func (k *Keyring) tell(ctx context.Context) {
	v := k.current.Load().view
	if ref, ok := k.ring.Active(); ok && ref != k.told.active {
		k.told.active = ref
		k.logger.InfoContext(ctx, "a key is active", slog.String("key_id", ref.KeyID()), slog.Uint64("generation", ref.Generation))
	}
	if is := v.revoked != nil; is != k.told.revoked {
		k.told.revoked = is
		if is {
			k.logger.ErrorContext(ctx, "the key counts as revoked", slog.String("policy", k.options.Policy.OnRevocation.String()), slog.Any("error", v.revoked))
		} else {
			k.logger.InfoContext(ctx, "the key no longer counts as revoked")
		}
	}
	if is := v.recalled; is != k.told.recalled {
		k.told.recalled = is
		k.logger.WarnContext(ctx, "the keyring is refused and its keys are those that the state file remembers, or no longer so: make the keyring readable before they are not",
			slog.Bool("recalled", is))
	}
	if is := v.stale; is != k.told.stale {
		k.told.stale = is
		k.logger.WarnContext(ctx, "the keyring is stale, or no longer so: no request is served while it is", slog.Bool("stale", is))
	}
}

// tellListing logs what is new in a list.
func (k *Keyring) tellListing(ctx context.Context, l *Listing) {
	if l.Clock != k.told.clock {
		k.told.clock = l.Clock
		level := slog.LevelInfo
		if l.Clock == LocalClock && !k.options.Policy.Trusted {
			level = slog.LevelWarn // nodes whose clocks differ switch at different moments
		}
		k.logger.Log(ctx, level, "keys become active by this clock", slog.String("clock", string(l.Clock)))
	}
	if is := !k.ring.doubt.at.IsZero(); is != k.told.doubts {
		k.told.doubts = is
		k.logger.WarnContext(ctx, "the clock by which keys become active is far ahead of what it said before, or no longer so: it is not believed while it is",
			slog.Bool("doubted", is), slog.Time("says", l.Now), slog.Time("expected", k.ring.Cloud(time.Now())))
	}
	if !slices.Equal(l.Strange, k.told.strange) {
		k.told.strange = l.Strange
		k.logger.WarnContext(ctx, "the keyring has entries that are no keys of it, which are ignored", slog.String("entries", strings.Join(l.Strange, "; ")))
	}
	refused := map[KeyRef]bool{}
	for _, state := range k.ring.newestFirst() {
		reason := k.ring.refusal(state)
		if reason == nil && state.disputed {
			reason = k.ring.objection(state, time.Time{})
		}
		if reason == nil {
			continue
		}
		refused[state.Ref] = true
		if !k.told.refused[state.Ref] {
			k.logger.WarnContext(ctx, "a key of the keyring is not used", slog.String("key_id", state.Ref.KeyID()), slog.Any("error", reason))
		}
	}
	k.told.refused = refused
}

// tellTrouble logs that the keyring can't be listed.
func (k *Keyring) tellTrouble(ctx context.Context, err error) {
	k.logger.Log(ctx, often(k.ring.failures), "the keyring can't be listed, trying again", slog.Int("attempts", k.ring.failures), slog.Any("error", err))
}

// tellFailure logs that a key can't be fetched.
func (k *Keyring) tellFailure(ctx context.Context, ref KeyRef, err error) {
	attempts := k.ring.keys[ref].failures
	k.logger.Log(ctx, often(attempts), "a key can't be fetched, trying again",
		slog.String("key_id", ref.KeyID()), slog.Int("attempts", attempts), slog.Any("error", err))
}

// often is the level of attempt number n: a warning the 1st, 2nd, 4th, 8th, … time. An outage must not fill the log.
func often(n int) slog.Level {
	if bits.OnesCount(uint(max(n, 1))) == 1 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// tellHeld logs a key that came.
func (k *Keyring) tellHeld(ctx context.Context, held *key) {
	k.logger.InfoContext(ctx, "a key is held", slog.String("key_id", held.id), slog.String("key_id_hash", KeyIDHash(held.id)), slog.Bool("locked", held.bytes.Locked()))
	if !held.bytes.Locked() {
		k.logger.WarnContext(ctx, "the key's memory can't be locked and may be swapped out: raise the limit of locked memory (LimitMEMLOCK) or give CAP_IPC_LOCK",
			slog.String("key_id", held.id))
	}
}
