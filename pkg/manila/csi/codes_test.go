package csi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mooring/pkg/goldentest"
	"mooring/pkg/manila"
	"mooring/pkg/openstack"
)

// TestGoldenCodes writes the table down: sidecars act on codes, so a change of one has to be seen.
func TestGoldenCodes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Written by TestGoldenCodes: the first row that an error matches decides.\n")
	for _, row := range table() {
		fmt.Fprintf(&b, "%s %s\n", row.name, row.code)
	}
	b.WriteString("(anything else) Internal\n")
	const golden = "testdata/codes.golden"
	goldentest.Compare(t, golden, b.String())
}

// TestEveryRowIsReached: each error of the table gets its own row's code, wrapped or not.
func TestEveryRowIsReached(t *testing.T) {
	t.Parallel()
	for _, row := range table() {
		err := answer(fmt.Errorf("about a volume: %w", row.err))
		if got := status.Code(err); got != row.code {
			t.Errorf("%s has code %s, its row says %s", row.name, got, row.code)
		}
		if !errors.Is(err, row.err) {
			t.Errorf("%s is lost", row.name)
		}
	}
	if got := status.Code(answer(errors.New("boom"))); got != codes.Internal {
		t.Errorf("an unknown error has code %s", got)
	}
	if answer(nil) != nil {
		t.Error("nil became an error")
	}
}

// TestQuotaSaysWhatToDo: a claim's events are all that its owner sees.
func TestQuotaSaysWhatToDo(t *testing.T) {
	t.Parallel()
	err := answer(fmt.Errorf("creating share %q: %w", "pvc-1", openstack.ErrQuota))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), `share "pvc-1"`) || !strings.Contains(err.Error(), "quota is raised") {
		t.Errorf("over quota is %v", err)
	}
}

// TestPendingIsNeverFinal: once a create was accepted, external-provisioner has to come back, whatever went wrong then.
func TestPendingIsNeverFinal(t *testing.T) {
	t.Parallel()
	notFinal := []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Aborted}
	for _, row := range append(table(), code{errors.New("boom"), "boom", codes.Internal}) {
		if errors.Is(row.err, manila.ErrIncompatible) {
			continue // it is about a share that is another one
		}
		err := answer(fmt.Errorf("share: %w: %w", manila.ErrPending, row.err))
		final := true
		for _, c := range notFinal {
			final = final && status.Code(err) != c
		}
		if final {
			t.Errorf("%s after an accepted create has the final code %s", row.name, status.Code(err))
		}
	}
}

func TestRequestIDIsLogged(t *testing.T) {
	t.Parallel()
	err := answer(fmt.Errorf("x: %w", &openstack.Error{Class: openstack.ErrQuota, RequestID: "req-1"}))
	if attrs := Annotate(err); len(attrs) != 1 || attrs[0].Value.String() != "req-1" {
		t.Errorf("got %v", attrs)
	}
	if attrs := Annotate(answer(context.Canceled)); len(attrs) != 0 {
		t.Errorf("got %v", attrs)
	}
}
