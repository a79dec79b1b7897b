package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Components are the parts of a release that can have rights in the cluster, as the labels and the names of their accounts have them.
func Components() []string { return []string{"manila-controller", "manila-node", "kms", "dns"} }

// Where somebody asks for something: in the whole cluster, in the namespace that he is in himself, or in another one.
const (
	Cluster   = "cluster"
	Own       = "own"
	Elsewhere = "elsewhere"
)

// Right is one line of the record of rights: who, where, what, and which verb.
type Right struct{ Component, Scope, Group, Resource, Verb string }

func (r Right) String() string {
	return fmt.Sprintf("%s %s %s %s", r.Component, r.Scope, strings.TrimPrefix(r.Group+"/"+r.Resource, "/"), r.Verb)
}

type event struct {
	Verb string `json:"verb"`
	User struct {
		Name string `json:"username"`
	} `json:"user"`
	Object struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
	} `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
	Received    time.Time         `json:"requestReceivedTimestamp"`
}

// Used are the rights of which releases made use since a time, by the API server's audit log, and those that the release mooring wanted and did
// not have. Others come and go meanwhile, and their roles go before their pods.
func Used(audit io.Reader, since time.Time) (used, refused []string, err error) {
	for decoder := json.NewDecoder(audit); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a line that is being written
			break
		} else if err != nil {
			return nil, nil, err
		}
		right, ok := e.right()
		if !ok || e.Received.Before(since) {
			continue
		}
		if e.Annotations["authorization.k8s.io/decision"] == "allow" {
			used = append(used, right.String())
		} else if strings.HasSuffix(e.User.Name, ":mooring-"+right.Component) {
			refused = append(refused, right.String())
		}
	}
	slices.Sort(used)
	slices.Sort(refused)
	return slices.Compact(used), slices.Compact(refused), nil
}

// right is what a request needs, if it is one of a release's account, for an object.
func (e event) right() (r Right, ok bool) {
	account := strings.Split(e.User.Name, ":") // system:serviceaccount:NAMESPACE:NAME
	if len(account) != 4 || e.Object.Resource == "" || !strings.Contains(account[3], "mooring") {
		return r, false
	}
	r = Right{Scope: Elsewhere, Group: e.Object.Group, Resource: e.Object.Resource, Verb: e.Verb}
	switch e.Object.Namespace {
	case "":
		r.Scope = Cluster
	case account[2]:
		r.Scope = Own
	}
	if e.Object.Subresource != "" {
		r.Resource += "/" + e.Object.Subresource
	}
	for _, component := range Components() {
		if strings.HasSuffix(account[3], "-"+component) {
			r.Component = component
			return r, true
		}
	}
	return r, false
}
