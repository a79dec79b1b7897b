package openstacksim

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// listing answers a list: filters, sorting and pages, as designate/api/v2/controllers and designate/utils.py (get_paging_params) do.
type listing[T any] struct {
	path, collection  string
	filters, sortKeys []string
	id                func(T) string
	view              func(T) map[string]any
}

func (l listing[T]) answer(d *Designate, w *reply, r *request, all []T) error {
	query := r.URL.Query()
	limit, err := d.pageLimit(query)
	if err != nil {
		return err
	}
	matches, err := l.filter(query, all)
	if err != nil {
		return err
	}
	if err := l.sort(query, matches); err != nil {
		return err
	}
	total := len(matches)
	if matches, err = l.page(query, all, matches, limit); err != nil {
		return err
	}
	views := make([]map[string]any, 0, len(matches))
	for _, m := range matches {
		views = append(views, l.view(m))
	}
	self := d.base() + l.path
	if len(views) == 0 && l.collection == "recordsets" {
		total = 0 // the real one reads the number from the rows of the page
	}
	links := map[string]any{"self": strings.TrimSuffix(self+"?"+r.URL.RawQuery, "?")}
	if len(views) > 0 && len(views) == limit { // also on a last page that happens to be full
		query.Set("marker", l.id(matches[len(matches)-1]))
		links["next"] = self + "?" + query.Encode()
	}
	w.json(http.StatusOK, map[string]any{l.collection: views, "links": links, "metadata": map[string]any{"total_count": total}})
	return nil
}

func (d *Designate) pageLimit(query url.Values) (int, error) {
	text := query.Get("limit")
	invalid := &designateError{400, "invalid_limit", fmt.Sprintf("limit should be an integer between 1 and %d", d.cfg.MaxLimit), nil}
	if strings.EqualFold(text, "max") {
		if d.cfg.RefuseLimitMax {
			return 0, invalid
		}
		return d.cfg.MaxLimit, nil
	}
	if text == "" {
		return d.cfg.DefaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || d.cfg.RefuseLimitAbove > 0 && n > d.cfg.RefuseLimitAbove {
		return 0, invalid
	}
	return n, nil
}

func (l listing[T]) filter(query url.Values, all []T) ([]T, error) {
	matches := slices.Clone(all)
	for key := range query {
		switch key {
		case "limit", "marker", "sort_key", "sort_dir", "all_projects", "all_tenants":
			continue
		}
		if !slices.Contains(l.filters, key) {
			return nil, badRequest("Invalid filters " + key)
		}
		// Designate turns * into SQL's %, and MySQL compares without regard to case.
		pattern := regexp.MustCompile("(?is)^" + strings.ReplaceAll(regexp.QuoteMeta(query.Get(key)), `\*`, ".*") + "$")
		matches = slices.DeleteFunc(matches, func(m T) bool { return !matchField(l.view(m), key, pattern) })
	}
	return matches, nil
}

func matchField(view map[string]any, key string, pattern *regexp.Regexp) bool {
	if key == "data" {
		records, _ := view["records"].([]string)
		return slices.ContainsFunc(records, pattern.MatchString)
	}
	return pattern.MatchString(fieldText(view[key]))
}

func fieldText(v any) string {
	switch v := v.(type) {
	case *string:
		if v == nil {
			return ""
		}
		return *v
	case *int:
		if v == nil {
			return ""
		}
		return strconv.Itoa(*v)
	default:
		return fmt.Sprint(v)
	}
}

func (l listing[T]) sort(query url.Values, matches []T) error {
	dir, key := query.Get("sort_dir"), query.Get("sort_key")
	if dir != "" && dir != "asc" && dir != "desc" {
		return &designateError{400, "invalid_sort_dir", "Unknown sort direction, must be 'desc' or 'asc'", nil}
	}
	if key != "" && !slices.Contains(l.sortKeys, key) {
		return &designateError{400, "invalid_sort_key", fmt.Sprintf("sort key must be one of ['%s']", strings.Join(l.sortKeys, "', '")), nil}
	}
	if key != "" && key != "created_at" { // they come sorted by creation
		texts := make(map[string]string, len(matches))
		for _, m := range matches {
			if v := l.view(m)[key]; v != nil { // MySQL has what is null before everything else
				texts[l.id(m)] = fieldText(v)
			}
		}
		slices.SortStableFunc(matches, func(a, b T) int { return strings.Compare(texts[l.id(a)], texts[l.id(b)]) })
	}
	if dir == "desc" {
		slices.Reverse(matches)
	}
	return nil
}

func (l listing[T]) page(query url.Values, all, matches []T, limit int) ([]T, error) {
	if marker := query.Get("marker"); marker != "" {
		if !isUUID(marker) {
			return nil, &designateError{400, "invalid_marker", "", nil}
		}
		is := func(m T) bool { return l.id(m) == marker }
		if !slices.ContainsFunc(all, is) {
			// The real one forgets the marker before it makes the message.
			return nil, &designateError{400, "marker_not_found", "Marker None could not be found", nil}
		}
		matches = matches[slices.IndexFunc(matches, is)+1:]
	}
	return matches[:min(limit, len(matches))], nil
}
