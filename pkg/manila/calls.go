package manila

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/messages"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shareaccessrules"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"

	"mooring/pkg/openstack"
)

// The microversions that matter. newest is the newest that the contract tests have seen.
var (
	newest       = openstack.Microversion{Major: 2, Minor: 73} //nolint:gochecknoglobals // a constant
	oldest       = openstack.Microversion{Major: 2, Minor: 37} //nolint:gochecknoglobals // a constant: user messages
	ipv6Rules    = openstack.Microversion{Major: 2, Minor: 38} //nolint:gochecknoglobals // a constant
	ruleMetadata = openstack.Microversion{Major: 2, Minor: 45} //nolint:gochecknoglobals // a constant: and /share-access-rules
)

// api is one session's Manila at one microversion.
type api struct {
	client  *gophercloud.ServiceClient
	version openstack.Microversion
	offered openstack.Microversion // the newest that this Manila has, for calls that need more than version
}

// connect finds Manila in the catalog and agrees on a microversion: the newest that both sides know.
func connect(ctx context.Context, session *openstack.Session) (*api, error) {
	offered, err := session.Microversions(ctx, openstack.SharedFileSystem)
	if err != nil {
		return nil, err
	}
	version := offered.Best(newest)
	if version.Less(oldest) {
		return nil, fmt.Errorf("%w: its newest microversion is %s, and %s is needed", ErrTooOld, offered.Max, oldest)
	}
	if version.Less(offered.Min) {
		return nil, fmt.Errorf("%w: its oldest microversion is %s, and %s is the newest that is known here: a newer version of the driver is needed", ErrTooNew, offered.Min, newest)
	}
	client, err := session.Client(ctx, openstack.SharedFileSystem)
	if err != nil {
		return nil, err
	}
	client.Microversion = version.String()
	return &api{client: client, version: version, offered: offered.Max}, nil
}

// wrap is openstack.Wrap, but for a 404 that is not Manila's own: it comes from a proxy before a Manila that is away, and says
// nothing about what Manila has.
func wrap(err error) error {
	err = openstack.Wrap(err)
	response, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	if !ok || response.Actual != http.StatusNotFound || isManilas(response.Body) {
		return err
	}
	if e, ok := errors.AsType[*openstack.Error](err); ok {
		away := *e
		away.Class, away.Message = openstack.ErrUnavailable, "this is not Manila's answer: "+e.Message
		return &away
	}
	return err
}

// isManilas knows the body of Manila's own 404 (manila/api/openstack/wsgi.py, Fault).
func isManilas(body []byte) bool {
	var fault struct {
		NotFound *json.RawMessage `json:"itemNotFound"`
	}
	return json.Unmarshal(body, &fault) == nil && fault.NotFound != nil
}

// errNoAnswer says that a call went well, and what it should have brought is not in the answer. What it did is not known then.
func errNoAnswer(what string) error {
	return &openstack.Error{Class: openstack.ErrUnavailable, Operation: what, Message: "the answer has no " + what + " in it (is it Manila that answers?)"}
}

func (a *api) has(feature openstack.Microversion) bool { return !a.version.Less(feature) }

func fromAPI(s *shares.Share) *Share {
	return &Share{
		ID: s.ID, Name: s.Name, Status: s.Status, Protocol: strings.ToUpper(s.ShareProto), Type: s.ShareTypeName, TypeID: s.ShareType, Zone: s.AvailabilityZone,
		NetworkID: s.ShareNetworkID, SnapshotID: s.SnapshotID, SizeGiB: s.Size, Metadata: s.Metadata, CreateFromSnapshot: s.CreateShareFromSnapshotSupport, CreatedAt: s.CreatedAt,
		CanSnapshot: s.SnapshotSupport, HasReplicas: s.HasReplicas, GroupID: s.ShareGroupID,
	}
}

// isShare refuses what has no id, or one that must not become a path.
func isShare(s *shares.Share) bool {
	if s == nil {
		return false
	}
	_, ok := openstack.ParseUUID(s.ID)
	return ok
}

// byName finds the shares of exactly this name, with the state of their rules. Manila's database compares without regard to case, so we
// compare again.
func (a *api) byName(ctx context.Context, name string) ([]*Share, error) {
	found, _, err := pager[*Share]{
		id:   func(s *Share) string { return s.ID },
		keep: func(s *Share) bool { return s.Name == name },
		read: func(ctx context.Context, offset, limit int) ([]*Share, error) {
			return a.listShares(ctx, pageOf(url.Values{"name": {name}}, offset, limit))
		},
	}.page(ctx, "", 0)
	if err != nil {
		return nil, fmt.Errorf("looking for share %q: %w", name, err)
	}
	return found, nil
}

// get reads a share; nil when there is none.
func (a *api) get(ctx context.Context, id string) (*Share, error) {
	s, err := shares.Get(ctx, a.client, id).Extract()
	if err = wrap(err); errors.Is(err, openstack.ErrNotFound) {
		return nil, nil //nolint:nilnil // no share is an answer
	}
	if err == nil && (s == nil || s.ID != id) {
		err = errNoAnswer("share")
	}
	if err != nil {
		return nil, fmt.Errorf("reading share %s: %w", id, err)
	}
	return fromAPI(s), nil
}

func (a *api) create(ctx context.Context, spec *Spec) (*Share, error) {
	hints, err := a.hints(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("creating share %q: %w", spec.Name, err)
	}
	s, err := shares.Create(ctx, a.client, shares.CreateOpts{
		ShareProto: spec.Protocol, Size: spec.SizeGiB, Name: spec.Name, ShareType: spec.Type, SnapshotID: spec.SnapshotID, Metadata: spec.metadata(),
		ShareNetworkID: spec.NetworkID, AvailabilityZone: spec.Zone, ShareGroupID: spec.GroupID, SchedulerHints: hints,
	}).Extract()
	if err = wrap(err); errors.Is(err, openstack.ErrNotFound) {
		return nil, fmt.Errorf("creating share %q: %w: %w", spec.Name, ErrReference, err)
	}
	if err == nil && !isShare(s) {
		err = errNoAnswer("share")
	}
	if err != nil {
		return nil, fmt.Errorf("creating share %q: %w", spec.Name, err)
	}
	return fromAPI(s), nil
}

// exports are the usable export locations, the best first.
func (a *api) exports(ctx context.Context, id string) ([]Export, error) {
	all, err := shares.ListExportLocations(ctx, a.client, id).Extract()
	if err != nil {
		return nil, fmt.Errorf("reading the export locations of share %s: %w", id, wrap(err))
	}
	out := make([]Export, 0, len(all))
	for _, e := range all {
		out = append(out, Export{Path: e.Path, Preferred: e.Preferred, AdminOnly: e.IsAdminOnly})
	}
	return usable(out), nil
}

// grantOpts has the metadata that gophercloud's options lack.
type grantOpts struct {
	AccessType  string            `json:"access_type"`
	AccessTo    string            `json:"access_to"`
	AccessLevel string            `json:"access_level"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// ToGrantAccessMap makes the body of the call.
func (o grantOpts) ToGrantAccessMap() (map[string]any, error) {
	return gophercloud.BuildRequestBody(o, "allow_access")
}

func (a *api) grant(ctx context.Context, share string, g Grant, metadata map[string]string) (*Rule, error) {
	if g.isIPv6() && !a.has(ipv6Rules) {
		return nil, fmt.Errorf("%w: access rules for IPv6 addresses (%s) need microversion %s, and it has %s", ErrTooOld, g.To, ipv6Rules, a.version)
	}
	o := grantOpts{AccessType: g.Kind, AccessTo: g.To, AccessLevel: g.Level}
	if a.has(ruleMetadata) {
		o.Metadata = metadata
	}
	r, err := shares.GrantAccess(ctx, a.client, share, o).Extract()
	if err = wrap(err); err == nil && r == nil {
		err = errNoAnswer("access rule")
	}
	if err != nil {
		return nil, fmt.Errorf("granting %s %s access to share %s: %w", g.Kind, g.To, share, err)
	}
	return &Rule{ID: r.ID, Kind: r.AccessType, To: r.AccessTo, Level: r.AccessLevel, State: r.State, Key: r.AccessKey, Metadata: o.Metadata}, nil
}

func (a *api) deny(ctx context.Context, share, rule string) error {
	err := wrap(shares.RevokeAccess(ctx, a.client, share, shares.RevokeAccessOpts{AccessID: rule}).ExtractErr())
	if err != nil && !errors.Is(err, openstack.ErrNotFound) {
		return fmt.Errorf("removing access rule %s of share %s: %w", rule, share, err)
	}
	return nil
}

// rules reads all rules of a share: from 2.45 by the resource of their own, before by the share's action.
func (a *api) rules(ctx context.Context, share string) ([]Rule, error) {
	var out []Rule
	if a.has(ruleMetadata) {
		all, err := shareaccessrules.List(ctx, a.client, share).Extract()
		if err != nil {
			return nil, fmt.Errorf("reading the access rules of share %s: %w", share, wrap(err))
		}
		for i := range all {
			out = append(out, fromRule(&all[i]))
		}
		return out, nil
	}
	all, err := shares.ListAccessRights(ctx, a.client, share).Extract()
	if err != nil {
		return nil, fmt.Errorf("reading the access rules of share %s: %w", share, wrap(err))
	}
	for _, r := range all {
		out = append(out, Rule{ID: r.ID, Kind: r.AccessType, To: r.AccessTo, Level: r.AccessLevel, State: r.State, Key: r.AccessKey})
	}
	return out, nil
}

func fromRule(r *shareaccessrules.ShareAccess) Rule {
	md := map[string]string{}
	for k, v := range r.Metadata {
		md[k] = fmt.Sprint(v)
	}
	return Rule{ID: r.ID, Kind: r.AccessType, To: r.AccessTo, Level: r.AccessLevel, State: r.State, Key: r.AccessKey, Metadata: md, CreatedAt: r.CreatedAt}
}

// delete asks for the deletion. refused is true when Manila won't in the share's current status; that there is no share is
// no error.
func (a *api) delete(ctx context.Context, id string) (refused bool, err error) {
	err = a.deleteUnseen(ctx, id)
	e, ok := errors.AsType[*openstack.Error](err)
	switch {
	case err == nil || errors.Is(err, openstack.ErrNotFound):
		return false, nil
	case ok && strings.Contains(e.Message, "dependent"):
		return false, fmt.Errorf("deleting share %s: %w: %w", id, ErrInUse, err)
	case ok && (e.Status == http.StatusForbidden && strings.Contains(e.Message, "Invalid share") || e.Status == http.StatusConflict ||
		e.Status == http.StatusBadRequest && strings.Contains(e.Message, "busy")):
		return true, nil
	}
	return false, fmt.Errorf("deleting share %s: %w", id, err)
}

// dependents says what keeps a share from being deleted. Manila tells with a refusal, but up to Zed it shows the template of that
// message and not the message.
func (a *api) dependents(ctx context.Context, id string) error {
	pages, err := snapshots.ListDetail(a.client, snapshots.ListOpts{ShareID: id}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("looking for snapshots of share %s: %w", id, wrap(err))
	}
	found, err := snapshots.ExtractSnapshots(pages)
	if err != nil {
		return fmt.Errorf("looking for snapshots of share %s: %w", id, wrap(err))
	}
	if len(found) > 0 {
		return fmt.Errorf("deleting share %s: %w: it has %d snapshots, the first is %s", id, ErrInUse, len(found), found[0].ID)
	}
	return nil
}

// message is one of Manila's user messages.
type message struct{ text, action string }

// actionAllocate is the action of messages of the scheduler that found no host (manila/message/message_field.py).
const actionAllocate = "001"

// message is the text of Manila's newest user message about a share; empty when there is none.
func (a *api) message(ctx context.Context, id string) string { return a.lastMessage(ctx, id).text }

// lastMessage is Manila's newest user message about a share, an empty one when there is none.
func (a *api) lastMessage(ctx context.Context, id string) *message {
	pages, err := messages.List(a.client, messages.ListOpts{ResourceID: id, SortKey: "created_at", SortDir: "desc"}).AllPages(ctx)
	if err != nil {
		return &message{}
	}
	all, err := messages.ExtractMessages(pages)
	if err != nil || len(all) == 0 {
		return &message{}
	}
	return &message{text: all[0].UserMessage, action: all[0].ActionID}
}
