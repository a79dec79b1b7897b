package kubernetes

import (
	"context"
	"net/http"
	"slices"
	"strconv"
)

// HasDriver says whether a node's CSINode lists a driver: kubelet has registered it there, and the scheduler knows.
func (c *Client) HasDriver(ctx context.Context, node, driver string) (bool, error) {
	var csiNode struct {
		Spec struct {
			Drivers []struct {
				Name string `json:"name"`
			} `json:"drivers"`
		} `json:"spec"`
	}
	if err := c.do(ctx, &call{method: http.MethodGet, path: path(csiNodesPath, node)}, &csiNode); err != nil {
		return false, err
	}
	for _, d := range csiNode.Spec.Drivers {
		if d.Name == driver {
			return true, nil
		}
	}
	return false, nil
}

// taint is one of a node's; all of it, so that it can be compared.
type taint map[string]any

// patchOperation is one of a JSON patch (RFC 6902).
type patchOperation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// RemoveTaint takes the taint of a key and an effect off a node. removed is false when there was none. A taint that somebody else has
// changed, moved or removed meanwhile stays as it is: then the error is ErrInvalid, and one has to try again.
func (c *Client) RemoveTaint(ctx context.Context, node, key, effect string) (removed bool, _ error) {
	at := path(nodesPath, node)
	var read struct {
		Spec struct {
			Taints []taint `json:"taints"`
		} `json:"spec"`
	}
	if err := c.do(ctx, &call{method: http.MethodGet, path: at}, &read); err != nil {
		return false, err
	}
	i := slices.IndexFunc(read.Spec.Taints, func(t taint) bool { return t["key"] == key && t["effect"] == effect })
	if i < 0 {
		return false, nil
	}
	place := "/spec/taints/" + strconv.Itoa(i)
	patch := []patchOperation{{Op: "test", Path: place, Value: read.Spec.Taints[i]}, {Op: "remove", Path: place}}
	if err := c.do(ctx, &call{method: http.MethodPatch, path: at, contentType: asJSONPatch, body: patch}, nil); err != nil {
		return false, err
	}
	return true, nil
}
