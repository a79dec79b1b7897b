package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What went wrong with a call, for errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("conflict") // it is there already, or has changed meanwhile
	ErrForbidden    = errors.New("forbidden")
	ErrUnauthorized = errors.New("unauthorized")
	ErrInvalid      = errors.New("invalid request") // also: the test of a JSON patch did not hold
	ErrExpired      = errors.New("expired")         // a list can't go on from there
	ErrThrottled    = errors.New("throttled")
	ErrUnavailable  = errors.New("unavailable") // no answer, or none of the API server's
)

// Error is a call that failed, in the API server's words.
type Error struct {
	Class     error  // one of the sentinels above
	Operation string // "GET /api/v1/nodes/a"
	Status    int    // HTTP status; 0 when there was no answer
	Message   string
	Err       error // the cause
}

// Error is one line that names the operation, the status and the message.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("Kubernetes: " + e.Operation)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotFound) work.
func (e *Error) Is(target error) bool { return e.Class == target }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func classOf(status int) error {
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusGone:
		return ErrExpired
	case http.StatusTooManyRequests:
		return ErrThrottled
	}
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return ErrInvalid
	}
	return ErrUnavailable
}

// failed is the error of an answer. What the server says about a Secret is not repeated: it might repeat the Secret.
func failed(operation string, status int, body []byte, secret bool) error {
	var said struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	e := &Error{Class: classOf(status), Operation: operation, Status: status}
	if err := json.Unmarshal(body, &said); err == nil && said.Kind == "Status" {
		if !secret {
			e.Message = oneLine(said.Message)
		}
		return e
	}
	// a plain 404 is the server's, for a path that it does not serve
	if status == http.StatusNotFound && strings.TrimSpace(string(body)) != "404 page not found" {
		e.Class, e.Message = ErrUnavailable, "this is not the API server's answer"
	}
	return e
}

func oneLine(s string) string {
	const longest = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
