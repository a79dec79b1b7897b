package manila

import (
	"errors"
	"fmt"

	"mooring/pkg/openstack"
)

// What can be wrong, for errors.Is. Errors of calls hold those of package openstack besides.
var (
	// ErrPending says that a create was accepted and its end is not known: come back with the same name.
	ErrPending = errors.New("not finished yet")
	// ErrIncompatible says that there is a share of that name, and it is not the one that is asked for.
	ErrIncompatible = errors.New("a different share of that name exists")
	// ErrShareFailed says that Manila could not make the share.
	ErrShareFailed = errors.New("the share is in error")
	// ErrRuleFailed says that Manila could not apply an access rule.
	ErrRuleFailed = errors.New("the access rule is in error")
	// ErrOtherAccess says that the share lets a node in already, and not in the way that is wanted.
	ErrOtherAccess = errors.New("the share is published there already, in another way")
	// ErrDeleteFailed says that Manila could not delete the share; only an operator can.
	ErrDeleteFailed = errors.New("the share can't be deleted")
	// ErrInUse says that the share has snapshots, or others that depend on it.
	ErrInUse = errors.New("the share is in use")
	// ErrExtendFailed says that Manila could not extend the share: its scheduler found no room, or the back end failed.
	ErrExtendFailed = errors.New("the share can't be extended")
	// ErrSnapshotFailed says that Manila could not make the snapshot.
	ErrSnapshotFailed = errors.New("the snapshot is in error")
	// ErrSnapshotStuck says that Manila could not delete the snapshot; only an operator can.
	ErrSnapshotStuck = errors.New("the snapshot can't be deleted")
	// ErrTooLarge says that the share has more than the limit of the request.
	ErrTooLarge = errors.New("the share is larger than wanted")
	// ErrUnchangeable says that a share can't be changed as wanted, and that nothing of it was changed.
	ErrUnchangeable = errors.New("the share can't be changed")
	// ErrHalfChanged says that Manila has refused a part of a change, after others were made.
	ErrHalfChanged = errors.New("the share was changed in part")
	// ErrReference says that the class names something that Manila does not have: a type, a zone, a network.
	ErrReference = errors.New("Manila does not know what the class names") //nolint:staticcheck // a name
	// ErrZones says that no zone of those that would do has a place for the share. There is no share then.
	ErrZones = errors.New("no availability zone takes the share")
	// ErrToken says that a list can't go on from there: begin again.
	ErrToken = errors.New("there is no such place in the list")
	// ErrTooOld says that this Manila's API lacks something that is needed.
	ErrTooOld = errors.New("this Manila is too old")
	// ErrTooNew says that this Manila's API has left behind what is known here.
	ErrTooNew = errors.New("this Manila is too new")
	// ErrNotUsable says that a share is in a status in which it can't be mounted.
	ErrNotUsable = errors.New("the share can't be used now")
)

// pending marks an error of a share that exists, or may exist.
func pending(name string, err error) error {
	if errors.Is(err, ErrPending) || errors.Is(err, ErrIncompatible) {
		return err
	}
	return fmt.Errorf("share %q: %w: %w", name, ErrPending, err)
}

// noShareID says of an id that there is no such share, since it can't be one's.
func noShareID(id string) error {
	return fmt.Errorf("share %q: %w: the id of a share is a UUID (a PersistentVolume that was made by hand may have another handle, and its share in shareID or shareName; those are known where it is mounted, and nowhere else)", id, openstack.ErrNotFound)
}
