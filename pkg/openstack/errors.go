package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"
)

// What went wrong with a call, for errors.Is. The services' codes for one thing differ (over quota is 413 in Manila and
// Designate, 403 in Barbican and for Manila's extend), so callers ask for the class and not for the code.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("conflict")
	ErrQuota        = errors.New("over quota")
	ErrForbidden    = errors.New("forbidden")
	ErrUnauthorized = errors.New("unauthorized")
	ErrThrottled    = errors.New("throttled")
	ErrUnavailable  = errors.New("unavailable")
	ErrInvalid      = errors.New("invalid request")
	// ErrNoService says that the catalog has no such service: it is not offered, or not in this region or interface.
	ErrNoService = errors.New("service not in the catalog")
)

// Error is a call that failed, in the service's own words.
type Error struct {
	Class     error  // one of the sentinels above
	Service   string // host of the service, or its catalog type when that is known
	Operation string // "POST /v2/shares"
	Status    int    // HTTP status; 0 when there was no answer
	RequestID string // OpenStack's request id, for the operator's logs; empty when there was no answer
	Message   string // what the service says, or what kept it from answering
	// RetryAfter is how long the service asks to be left alone; 0 when it doesn't say.
	RetryAfter time.Duration
	Err        error // the cause
}

// Error is one line that names the operation, the status, the service's message and the request id.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d %s", e.Status, http.StatusText(e.Status))
	}
	b.WriteString(": " + e.Message)
	if e.RequestID != "" {
		b.WriteString(" (request id " + e.RequestID + ")")
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotFound) work.
func (e *Error) Is(target error) bool { return e.Class == target }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wrap turns an error of gophercloud or of the transport into an *Error. An error that holds one already, nil, and the
// caller's own cancellation are returned as they are.
func Wrap(err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) || errors.Is(err, ErrNoService) || errors.Is(err, context.Canceled) {
		return err
	}
	if response, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err); ok {
		return fromResponse(&response, err)
	}
	e := &Error{Class: ErrUnavailable, Message: oneShortLine(transportMessage(err)), Err: err, Operation: "call"}
	if u, ok := errors.AsType[*url.Error](err); ok {
		e.Operation = strings.ToUpper(u.Op) + " " + u.URL
		if parsed, parseErr := url.Parse(u.URL); parseErr == nil {
			e.Service, e.Operation = parsed.Host, strings.ToUpper(u.Op)+" "+parsed.Scheme+"://"+parsed.Host+parsed.EscapedPath()
		}
	}
	return e
}

func fromResponse(r *gophercloud.ErrUnexpectedResponseCode, cause error) *Error {
	e := &Error{Operation: r.Method + " " + r.URL, Status: r.Actual, RequestID: RequestID(r.ResponseHeader), Message: "an answer that does not belong here", Err: cause}
	if u, err := url.Parse(r.URL); err == nil {
		e.Service, e.Operation = u.Host, r.Method+" "+u.EscapedPath()
	}
	if e.Status >= http.StatusBadRequest { // what is no error is data, such as a key, and stays out of messages
		e.Message = message(r.Actual, r.Body)
	} else if to := r.ResponseHeader.Get("Location"); to != "" {
		e.Message = oneShortLine("a redirect to " + to + ", which is not followed, since the token or password would go along: is that the right URL?")
	}
	e.Class = classify(e.Status, e.Message)
	e.RetryAfter, _ = parseRetryAfter(r.ResponseHeader.Get("Retry-After"), time.Now())
	return e
}

// classify maps a status to a class. Over quota hides behind several codes: there the text decides.
func classify(status int, text string) error {
	text = strings.ToLower(text)
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		if strings.Contains(text, "quota") || strings.Contains(text, "limit exceeded") || strings.Contains(text, "limitexceeded") {
			return ErrQuota
		}
		return ErrForbidden
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return ErrConflict
	case http.StatusRequestEntityTooLarge:
		if strings.Contains(text, "rate") && !strings.Contains(text, "quota") {
			return ErrThrottled
		}
		return ErrQuota
	case http.StatusTooManyRequests, 498:
		return ErrThrottled
	case http.StatusRequestTimeout:
		return ErrUnavailable
	}
	if status >= http.StatusInternalServerError {
		return ErrUnavailable
	}
	return ErrInvalid
}

// RequestID reads OpenStack's request id from the header of an answer; Manila has the old name of it. It is empty when there is none.
func RequestID(h http.Header) string {
	const longest = 100
	id := h.Get("X-Openstack-Request-Id")
	if id == "" {
		id = h.Get("X-Compute-Request-Id")
	}
	return cut(clean(id), longest)
}

var tags = regexp.MustCompile(`(?s)<(head|style|script)\b.*?</(head|style|script)>|<[^>]*>`)

// maxMessage bounds, in bytes, how much of an answer that isn't an OpenStack error stands in a message, maxWords how much of
// one that is.
const (
	maxMessage = 300
	maxWords   = 1000
)

// oneShortLine makes a text that may be anything fit for an error.
func oneShortLine(text string) string { return cut(clean(text), maxWords) }

// clean makes one line of a text, without bytes that are no text: nobody but us may begin a line in our log, or move the
// cursor of who reads it.
func clean(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))), " ")
}

// cut shortens a text to so many bytes.
func cut(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// message finds the words in an error body. The shapes: Keystone {"error":{"message"}}, Manila {"badRequest":{"message"}},
// Barbican {"title","description"}, Designate {"type","message","errors"}; a proxy's HTML has its tags removed.
func message(status int, body []byte) string {
	var object map[string]any
	if json.Unmarshal(body, &object) == nil {
		if m := oneShortLine(messageOf(object)); m != "" {
			return m
		}
		for _, v := range object {
			if inner, ok := v.(map[string]any); ok {
				if m := oneShortLine(messageOf(inner)); m != "" {
					return m
				}
			}
		}
	}
	text := clean(tags.ReplaceAllString(string(body), " "))
	if text == "" {
		return "the answer has no message: " + http.StatusText(status)
	}
	return cut(text, maxMessage)
}

func messageOf(object map[string]any) string {
	m, _ := object["message"].(string)
	if m == "" {
		title, _ := object["title"].(string)
		m, _ = object["description"].(string)
		if title != "" && m != "" && !strings.Contains(m, title) {
			m = title + ": " + m
		}
	}
	if m == "" {
		m, _ = object["faultstring"].(string) // what Pecan's own error pages have
	}
	if details, ok := object["errors"].(map[string]any); ok { // Designate's validation errors say what is wrong only here
		if list, err := json.Marshal(details["errors"]); err == nil && string(list) != "null" {
			m = strings.TrimSpace(m + " " + string(list))
		}
	}
	return m
}

// tlsMessage says what is wrong with TLS and what to set; it is empty when TLS is not what failed.
func tlsMessage(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		remote    *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "TLS: the server's certificate is signed by an unknown authority: set cacert in clouds.yaml (OS_CACERT) to the CA's certificate"
	case errors.As(err, &host):
		return "TLS: the server's certificate is for another host: " + host.Error()
	case errors.As(err, &invalid):
		return "TLS: the server's certificate is not valid: " + invalid.Error()
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "TLS: the server does not speak TLS on this port: is the URL http:// and not https://?"
	case errors.As(err, &remote) && remote.Op == "remote error": // how crypto/tls frames an alert of the other side
		return "TLS: the server refused the handshake (" + remote.Err.Error() + "): does it ask for a client certificate (cert and key in clouds.yaml)?"
	}
	return ""
}

// transportMessage says why there was no answer.
func transportMessage(err error) string {
	var (
		dns    *net.DNSError
		u      *url.Error
		syntax *json.SyntaxError
		shape  *json.UnmarshalTypeError
	)
	if m := tlsMessage(err); m != "" {
		return m
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within the deadline"
	case errors.As(err, &dns):
		return "the host name can't be resolved: " + dns.Error()
	case errors.As(err, &u):
		return u.Err.Error()
	case errors.As(err, &syntax), errors.As(err, &shape), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errLongAnswer):
		return "the answer can't be read (is it a service of OpenStack that answers?): " + err.Error()
	}
	return err.Error()
}
