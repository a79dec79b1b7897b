package manila

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"mooring/pkg/openstack"
)

// schedulerHints is the microversion from which the scheduler heeds the places of other shares. An older Manila ignores hints silently.
var schedulerHints = openstack.Microversion{Major: 2, Minor: 65} //nolint:gochecknoglobals // a constant

// hints turns the shares of the spec's affinity into what the scheduler wants: their ids. Shares that are not there are found out here, since
// Manila finds out when it has counted the new share already, and then leaves a share that nobody sees, on the quota.
func (a *api) hints(ctx context.Context, spec *Spec) (*shares.SchedulerHints, error) {
	if len(spec.SameHost) == 0 && len(spec.DifferentHost) == 0 {
		return nil, nil //nolint:nilnil // no hints are an answer
	}
	if !a.has(schedulerHints) {
		return nil, fmt.Errorf("%w: affinity and antiAffinity need microversion %s, and it has %s", ErrTooOld, schedulerHints, a.version)
	}
	same, err := a.ids(ctx, "affinity", spec.SameHost)
	if err != nil {
		return nil, err
	}
	different, err := a.ids(ctx, "antiAffinity", spec.DifferentHost)
	if err != nil {
		return nil, err
	}
	return &shares.SchedulerHints{SameHost: strings.Join(same, ","), DifferentHost: strings.Join(different, ",")}, nil
}

// ids finds shares by their ids, and those that have no such id by their names.
func (a *api) ids(ctx context.Context, what string, of []string) (ids []string, err error) {
	for _, nameOrID := range of {
		share, err := a.byNameOrID(ctx, nameOrID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		ids = append(ids, share.ID)
	}
	return ids, nil
}

func (a *api) byNameOrID(ctx context.Context, nameOrID string) (*Share, error) {
	if id, ok := openstack.ParseUUID(nameOrID); ok {
		if share, err := a.get(ctx, id); err != nil || share != nil {
			return share, err
		}
	}
	found, err := a.byName(ctx, nameOrID)
	switch {
	case err != nil:
		return nil, err
	case len(found) != 1:
		return nil, fmt.Errorf("%w: there are %d shares called %q, and none has it as id", ErrReference, len(found), nameOrID)
	}
	return found[0], nil
}

// deleteIn deletes a share, and says of which group it is, which Manila wants to hear of the shares of groups.
func (a *api) deleteIn(ctx context.Context, id, group string) error {
	path := "shares/" + id
	if group != "" {
		path += "?" + url.Values{"share_group_id": {group}}.Encode()
	}
	resp, err := a.client.Delete(ctx, a.client.Endpoint+path, nil)
	if err == nil {
		err = resp.Body.Close()
	}
	return wrap(err)
}

// wantsGroup knows the answer that a share of a group gets whose group was not said (delete in manila/api/v1/shares.py).
func wantsGroup(err error) bool {
	e, ok := errors.AsType[*openstack.Error](err)
	return ok && e.Status == http.StatusBadRequest && strings.Contains(e.Message, "share_group_id")
}

// deleteUnseen deletes a share whose group is not known. Most shares have none, so it is looked up only when Manila asks for it.
func (a *api) deleteUnseen(ctx context.Context, id string) error {
	err := a.deleteIn(ctx, id, "")
	if !wantsGroup(err) {
		return err
	}
	share, lookErr := a.get(ctx, id)
	switch {
	case lookErr != nil:
		return lookErr
	case share == nil:
		return nil
	case share.GroupID == "":
		return err
	}
	return a.deleteIn(ctx, id, share.GroupID)
}
