package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// Microversion is a version of a service's API such as 2.65. They are ordered by number, not by text: 2.9 < 2.65.
type Microversion struct{ Major, Minor int }

// ParseMicroversion reads "2.65".
func ParseMicroversion(s string) (Microversion, error) {
	major, minor, _ := strings.Cut(s, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil || a < 0 || b < 0 {
		return Microversion{}, fmt.Errorf("%q is no microversion such as 2.65", s)
	}
	return Microversion{a, b}, nil
}

// String is what the API's header wants.
func (v Microversion) String() string { return strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor) }

// Less says whether v is older than w.
func (v Microversion) Less(w Microversion) bool {
	return v.Major < w.Major || (v.Major == w.Major && v.Minor < w.Minor)
}

// MicroversionRange is what a service offers. It is zero for a service without microversions.
type MicroversionRange struct{ Min, Max Microversion }

// Has says whether v is offered.
func (r MicroversionRange) Has(v Microversion) bool { return !v.Less(r.Min) && !r.Max.Less(v) }

// Best is the newest version that both sides know: the service's newest, at most known.
func (r MicroversionRange) Best(known Microversion) Microversion {
	if r.Max.Less(known) {
		return r.Max
	}
	return known
}

// Microversions asks a service which microversions it offers, once in a session's life.
func (s *Session) Microversions(ctx context.Context, t ServiceType) (MicroversionRange, error) {
	s.mu.Lock()
	known, ok := s.versions[t]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	result := s.looks.DoChan(string(t), func() (any, error) { //nolint:contextcheck // many callers wait for it: it lives longer than each of them
		ctx, cancel := context.WithTimeout(s.life, loginTimeout)
		defer cancel()
		return s.askVersions(ctx, t)
	})
	select {
	case <-ctx.Done():
		return MicroversionRange{}, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return MicroversionRange{}, r.Err
		}
		found, ok := r.Val.(MicroversionRange)
		if !ok {
			return MicroversionRange{}, errors.New("openstack: a look at a version document returned nothing")
		}
		return found, nil
	}
}

// versionDocument has the keys of all services: Manila says "version", Barbican and newer ones "max_version".
type versionDocument struct {
	ID         string `json:"id"`
	Version    string `json:"version"`
	MinVersion string `json:"min_version"`
	MaxVersion string `json:"max_version"`
}

func (s *Session) askVersions(ctx context.Context, t ServiceType) (MicroversionRange, error) {
	client, err := s.Client(ctx, t)
	if err != nil {
		return MicroversionRange{}, err
	}
	base, _, _ := strings.Cut(client.Endpoint, "/"+t.version()+"/") // the version's document is right there, whatever comes after it
	var body struct {
		Versions []versionDocument `json:"versions"`
		Version  *versionDocument  `json:"version"`
	}
	resp, err := client.Get(ctx, base+"/"+t.version()+"/", &body, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusMultipleChoices},
		// Barbican tells its range only to those who say that they know of microversions.
		MoreHeaders: map[string]string{"OpenStack-API-Version": client.Type + " latest"},
	})
	if err != nil {
		return MicroversionRange{}, fmt.Errorf("asking %s for its microversions: %w", t, Wrap(err))
	}
	_ = resp.Body.Close() // it is read
	if body.Version != nil {
		body.Versions = append(body.Versions, *body.Version)
	}
	found, err := pickVersion(body.Versions, t)
	if err != nil {
		return MicroversionRange{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[t] = found
	return found, nil
}

func pickVersion(documents []versionDocument, t ServiceType) (MicroversionRange, error) {
	for _, d := range documents {
		newest := d.MaxVersion
		if newest == "" {
			newest = d.Version
		}
		if strings.SplitN(d.ID, ".", 2)[0] != t.version() {
			continue
		}
		if newest == "" || d.MinVersion == "" {
			return MicroversionRange{}, nil // a service without microversions
		}
		low, err := ParseMicroversion(d.MinVersion)
		if err != nil {
			return MicroversionRange{}, fmt.Errorf("the version document of %s: min_version: %w", t, err)
		}
		high, err := ParseMicroversion(newest)
		if err != nil {
			return MicroversionRange{}, fmt.Errorf("the version document of %s: max_version: %w", t, err)
		}
		return MicroversionRange{Min: low, Max: high}, nil
	}
	return MicroversionRange{}, fmt.Errorf("the version document of %s has no %s", t, t.version())
}
