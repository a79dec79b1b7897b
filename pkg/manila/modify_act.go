package manila

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
	"mooring/pkg/poll"
)

// Modify makes a share be as the change wants, and returns when it is: all rules are active, and those that are wanted no more are
// gone. It can be called again after any error, with the same change or with another one, and goes on where things stand. An
// ErrUnchangeable is told before anything is done.
func (c *Client) Modify(ctx context.Context, id string, change *Change) error {
	defer c.options.Metrics.during("modify")()
	a, valid, err := c.reach(ctx, id)
	if err != nil {
		return err
	}
	m := &modification{client: c, api: a, id: valid, change: change, seen: ModifySeen{InPlace: !a.offered.Less(levelUpdate), Marks: a.has(ruleMetadata)}}
	if err := m.look(ctx); err != nil {
		return err
	}
	for {
		step := NextModify(change, &m.seen)
		if step.Action == ActionDone {
			return nil
		}
		if err := m.act(ctx, step); err != nil {
			if m.changed && (errors.Is(err, openstack.ErrInvalid) || errors.Is(err, ErrUnchangeable)) {
				err = fmt.Errorf("%w: %w", ErrHalfChanged, err)
			}
			return err
		}
	}
}

// modification is one call of Modify.
type modification struct {
	client  *Client
	api     *api
	id      string
	change  *Change
	seen    ModifySeen
	waited  int
	changed bool // something of the share
	refused bool // the last call was refused, for the state that things were in
}

func (m *modification) act(ctx context.Context, step Step) error {
	switch step.Action {
	case ActionListRules:
		return m.lookRules(ctx)
	case ActionLook, ActionLookRules:
		if err := poll.Sleep(ctx, m.client.options.Poll.Wait(m.waited)); err != nil {
			return fmt.Errorf("waiting for share %s to be changed: %w", m.id, err)
		}
		m.waited++
		if step.Action == ActionLook {
			return m.look(ctx)
		}
		return m.lookRules(ctx)
	case ActionFail:
		return m.fail(ctx, step.Err)
	default:
	}
	err := m.do(ctx, step)
	if err == nil {
		m.changed, m.refused, m.waited = true, false, 0
		return nil
	}
	if !errors.Is(err, openstack.ErrInvalid) && !errors.Is(err, openstack.ErrConflict) || m.refused {
		return err
	}
	return m.lookAgain(ctx, err)
}

// lookAgain finds out why a call was refused: things may not be as we saw them. If they are, Manila means it.
func (m *modification) lookAgain(ctx context.Context, err error) error {
	m.refused = true
	before := m.seen
	if lookErr := m.look(ctx); lookErr != nil || m.seen.Share == nil {
		return lookErr
	}
	if before.RulesKnown {
		if lookErr := m.lookRules(ctx); lookErr != nil {
			return errors.Join(err, lookErr)
		}
	}
	if m.seen.Share.Status == before.Share.Status && len(m.seen.Rules) == len(before.Rules) {
		return err
	}
	return nil
}

func (m *modification) look(ctx context.Context) (err error) {
	m.seen.Share, err = m.api.get(ctx, m.id)
	if err == nil && m.seen.Share != nil && m.seen.Share.Metadata == nil {
		m.seen.Share.Metadata = map[string]string{}
	}
	return err
}

func (m *modification) lookRules(ctx context.Context) (err error) {
	m.seen.Rules, err = m.api.rules(ctx, m.id)
	m.seen.RulesKnown = err == nil
	return err
}

func (m *modification) fail(ctx context.Context, err error) error {
	if m.seen.Share == nil || errors.Is(err, ErrUnchangeable) || errors.Is(err, ErrTooOld) {
		return fmt.Errorf("share %s: %w", m.id, err)
	}
	return explain(err, m.seen.Share, m.api.message(ctx, m.id))
}

// do makes the one call of a step, and notes what has become of it.
func (m *modification) do(ctx context.Context, step Step) error {
	o, log := &m.seen, m.client.options.Logger.With(slog.String("share_id", m.id))
	grant := slog.Group("rule", slog.String("kind", step.Grant.Kind), slog.String("to", step.Grant.To), slog.String("level", step.Grant.Level))
	switch step.Action {
	case ActionSetMetadata:
		return m.setMetadata(ctx, m.change.missing(o.Share))
	case ActionRemember:
		return m.setMetadata(ctx, map[string]string{replacingKey: step.Grant.Kind + " " + step.Grant.To + " " + step.Grant.Level})
	case ActionForget:
		if err := m.api.deleteMetadata(ctx, m.id, replacingKey); err != nil {
			return err
		}
		delete(o.Share.Metadata, replacingKey)
		return nil
	case ActionGrant:
		log.InfoContext(ctx, "granting access", grant)
		rule, err := m.api.grant(ctx, m.id, step.Grant, ownMetadata(m.change.Cluster))
		if err != nil {
			return err
		}
		o.Rules, o.Granted = append(o.Rules, *rule), append(o.Granted, rule.ID)
		return nil
	case ActionSetLevel:
		log.InfoContext(ctx, "changing the level of an access rule", slog.String("rule_id", step.Rule), grant)
		rule, err := m.api.setLevel(ctx, step.Rule, step.Grant.Level)
		if err != nil {
			return err
		}
		m.sawRule(step.Rule, func(r *Rule) { r.Level, r.State = rule.Level, rule.State })
		o.Granted = append(o.Granted, step.Rule)
		return nil
	case ActionDeny:
		log.InfoContext(ctx, "removing an access rule", slog.String("rule_id", step.Rule))
		if err := m.api.deny(ctx, m.id, step.Rule); err != nil {
			return err
		}
		m.sawRule(step.Rule, func(r *Rule) { r.State = "queued_to_deny" })
		return nil
	default:
		return fmt.Errorf("%w: nothing is known of %q", errors.ErrUnsupported, step.Action)
	}
}

func (m *modification) sawRule(id string, change func(*Rule)) {
	if i := slices.IndexFunc(m.seen.Rules, func(r Rule) bool { return r.ID == id }); i >= 0 {
		change(&m.seen.Rules[i])
	}
}

func (m *modification) setMetadata(ctx context.Context, add map[string]string) error {
	if err := m.api.setMetadata(ctx, m.id, add); err != nil {
		return err
	}
	maps.Copy(m.seen.Share.Metadata, add)
	return nil
}

// setMetadata adds to a share's metadata.
func (a *api) setMetadata(ctx context.Context, share string, add map[string]string) error {
	if _, err := shares.SetMetadata(ctx, a.client, share, shares.SetMetadataOpts{Metadata: add}).Extract(); err != nil {
		return fmt.Errorf("setting metadata of share %s: %w", share, wrap(err))
	}
	return nil
}

// deleteMetadata removes a key, which must have no slash. That it is not there is no error.
func (a *api) deleteMetadata(ctx context.Context, share, key string) error {
	err := wrap(shares.DeleteMetadatum(ctx, a.client, share, key).ExtractErr())
	if err != nil && !errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("removing metadata %s of share %s: %w", key, share, err)
	}
	return nil
}

// setLevel changes the level of an access rule (manila/api/v2/share_accesses.py, update, from 2.88 on). gophercloud lacks it.
func (a *api) setLevel(ctx context.Context, rule, level string) (*Rule, error) {
	client := *a.client
	client.Microversion = levelUpdate.String()
	var answer struct {
		Access *struct {
			Level string `json:"access_level"`
			State string `json:"state"`
		} `json:"access"`
	}
	body := map[string]any{"update_access": map[string]any{"access_level": level}}
	resp, err := client.Put(ctx, client.ServiceURL("share-access-rules", rule), body, &answer, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}) //nolint:bodyclose // gophercloud does when it decodes
	_, _, err = gophercloud.ParseResponse(resp, err)
	if err = wrap(err); err == nil && answer.Access == nil {
		err = errNoAnswer("access rule")
	}
	if err != nil {
		return nil, fmt.Errorf("changing access rule %s to %s: %w", rule, level, err)
	}
	return &Rule{ID: rule, Level: answer.Access.Level, State: answer.Access.State}, nil
}
