package designate_test

import (
	"testing"

	"mooring/pkg/designate"
)

// When a page of the latest changes has all of them.
func TestAPageOfChangesIsWhole(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		total int
		times []int64
		want  bool
	}{
		"it goes back beyond the time":              {9, []int64{120, 110, 99}, true},
		"there was no change":                       {9, []int64{99, 98}, true},
		"it does not go back so far":                {9, []int64{120, 110, 100}, false},
		"it has everything that there is":           {3, []int64{120, 110, 100}, true},
		"what was never updated comes last":         {9, []int64{120, 0, 0}, true},
		"what was never updated comes first":        {9, []int64{0, 0, 120}, false},
		"nothing was ever updated, or it comes on":  {9, []int64{0, 0, 0}, false},
		"nothing was ever updated":                  {3, []int64{0, 0, 0}, true},
		"it is not sorted":                          {9, []int64{120, 99, 121}, false},
		"the number of entries is not told":         {0, []int64{120, 99}, false},
		"there is no entry, though there should be": {9, nil, false},
	} {
		if got := designate.Whole(test.total, test.times...); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
