package kubernetes

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

const (
	pageSize = 500
	restarts = 3 // of a list whose pages have expired, as etcd forgets them after minutes
)

// list reads all things of a kind, page by page. An error says that the list is not whole.
func list[T any](ctx context.Context, c *Client, kind, path, accept string) ([]T, error) {
	for n := 0; ; n++ {
		all, err := pages[T](ctx, c, kind, path, accept)
		if !errors.Is(err, ErrExpired) || n == restarts {
			return all, err
		}
	}
}

// pages reads a list from its beginning.
func pages[T any](ctx context.Context, c *Client, kind, path, accept string) (all []T, _ error) {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items *[]T `json:"items"`
		}
		r := &call{method: http.MethodGet, path: path, query: query, accept: accept}
		if err := c.do(ctx, r, &page); err != nil {
			return nil, err
		}
		if page.Kind != kind || page.Items == nil { // without a list nothing is known
			return nil, &Error{Class: ErrUnavailable, Operation: r.operation(), Status: http.StatusOK, Message: "the answer is no " + kind}
		}
		all = append(all, *page.Items...)
		if page.Metadata.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}
