package manila

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// marked is the value of a node's key: Manila takes none that is empty.
const marked = "published"

// needsMarks refuses a Manila whose rules have no metadata: nothing would tell which of them are the driver's to remove.
func (a *api) needsMarks() error {
	if a.has(ruleMetadata) {
		return nil
	}
	return fmt.Errorf("%w: access rules per node (access: node) need microversion %s, and it has %s: set access: static in the class", ErrTooOld, ruleMetadata, a.version)
}

// mark adds a key to the metadata of a rule; the others stay (manila/api/v2/share_access_metadata.py).
func (a *api) mark(ctx context.Context, rule, key string) error {
	body := map[string]any{"metadata": map[string]string{key: marked}}
	response, err := a.client.Put(ctx, a.client.ServiceURL("share-access-rules", rule, "metadata"), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}) //nolint:bodyclose // gophercloud does when nobody asks for it
	if _, _, err = gophercloud.ParseResponse(response, err); err != nil {
		return fmt.Errorf("noting %s in access rule %s: %w", key, rule, wrap(err))
	}
	return nil
}

// unmark takes a key out of the metadata of a rule. That it is not there is openstack.ErrNotFound.
func (a *api) unmark(ctx context.Context, rule, key string) error {
	response, err := a.client.Delete(ctx, a.client.ServiceURL("share-access-rules", rule, "metadata", url.PathEscape(key)), &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}}) //nolint:bodyclose // gophercloud does when nobody asks for it
	if _, _, err = gophercloud.ParseResponse(response, err); err != nil {
		return fmt.Errorf("taking %s out of access rule %s: %w", key, rule, wrap(err))
	}
	return nil
}
