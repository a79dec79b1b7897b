package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// pageBytes is about how much a page of objects should have: many small ones, or a few large ones.
	pageBytes = 2 << 20
	// mostBytes is the largest page that is taken; more is asked for again in smaller pages. A single object may be as large: etcd's own
	// limit is 1.5 MiB (--max-request-bytes).
	mostBytes          = 16 << 20
	firstPage          = 100
	largestPage        = 5000
	callTimeout        = 30 * time.Second
	stepDown           = 8 // how much smaller a page gets that was too large
	serviceConfigRetry = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.2s","maxBackoff":"1s",` +
		`"backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
)

// Options are those of New.
type Options struct {
	Endpoints []string    // https://host:port, http://host:port or host:port of members of one cluster; the next one is asked when one fails
	TLS       *tls.Config // nil: the system's authorities and no certificate; host:port is then without TLS
	User      string      // of etcd's own authentication; empty: none
	Password  string
}

// Client reads from the members of a cluster. It is for one goroutine.
type Client struct {
	options *Options
	members []member
	current int
	token   string
}

type member struct {
	endpoint string
	conn     *grpc.ClientConn
}

// New makes a client; it connects with the first call. The error names the endpoint that is none.
func New(o *Options) (*Client, error) {
	c := &Client{options: o}
	if len(o.Endpoints) == 0 {
		return nil, errors.New("no endpoint of etcd is given")
	}
	for _, endpoint := range o.Endpoints {
		target, secure, err := ParseEndpoint(endpoint)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		transport := insecure.NewCredentials()
		switch {
		case o.TLS != nil && secure != Plain:
			transport = credentials.NewTLS(o.TLS)
		case secure == Secure:
			transport = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
		}
		conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(transport), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
			grpc.WithDefaultServiceConfig(serviceConfigRetry), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostBytes)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("endpoint %q: %w", endpoint, err), c.Close())
		}
		c.members = append(c.members, member{endpoint, conn})
	}
	return c, nil
}

// Security is what an endpoint says of TLS.
type Security int

// A host:port says nothing: whether there is TLS is as Options.TLS has it.
const (
	Unsaid Security = iota
	Plain
	Secure
)

// ParseEndpoint reads what etcdctl takes as an endpoint, without the unix sockets: https://host:port, http://host:port or host:port.
func ParseEndpoint(endpoint string) (hostPort string, _ Security, _ error) {
	shown := endpoint[strings.LastIndexByte(endpoint, '@')+1:] // before it there may be a password
	wrong := fmt.Errorf("%q has to be https://host:port, http://host:port or host:port", shown)
	security := Unsaid
	hostPort = endpoint
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil {
			return "", 0, wrong
		}
		hostPort = u.Host
		switch u.Scheme {
		case "https":
			security = Secure
		case "http":
			security = Plain
		default:
			return "", 0, wrong
		}
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || host == "" || strings.ContainsFunc(host, noHost) {
		return "", 0, wrong
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", 0, wrong
	}
	return hostPort, security, nil
}

// noHost says that a letter is in no name and no address of a host: what looks like one without a scheme may be something else.
func noHost(r rune) bool {
	return r <= ' ' || r == utf8.RuneError || strings.ContainsRune("/\\?#@\"<>^`{|}", r)
}

// Close ends the connections.
func (c *Client) Close() (err error) {
	for _, m := range c.members {
		err = errors.Join(err, m.conn.Close())
	}
	return err
}

// Objects visits every key that begins with prefix, in order, all at the revision that etcd had at the first page: reads are linearizable.
// An object is valid until visit returns. With an error, too, the revision is returned, once it is known; ErrCompacted says that etcd has
// dropped it: the next call takes a new one.
func (c *Client) Objects(ctx context.Context, prefix string, visit func(Object) error) (revision int64, _ error) {
	var cluster uint64
	request := &etcdserverpb.RangeRequest{}
	for keys := newSpan(prefix); ; {
		request.Key, request.RangeEnd, request.Limit = keys.key, keys.end, keys.limit
		page, err := c.page(ctx, request)
		if err != nil {
			return revision, err
		}
		keys.limit = request.GetLimit() // less, if the page was too large
		if revision == 0 {
			revision, cluster = page.GetHeader().GetRevision(), page.GetHeader().GetClusterId()
			request.Revision = revision
		}
		if page.GetHeader().GetClusterId() != cluster {
			return revision, fmt.Errorf("the endpoints are of different clusters: %s answers for cluster %x, another one for %x", c.members[c.current].endpoint, page.GetHeader().GetClusterId(), cluster)
		}
		got, err := c.visit(request, page, visit)
		if err != nil {
			return revision, err
		}
		if !keys.next(got) {
			return revision, nil
		}
	}
}

// visit visits a page and says what it had. It is an error if its keys are not those that were asked for, in order.
func (c *Client) visit(asked *etcdserverpb.RangeRequest, page *etcdserverpb.RangeResponse, visit func(Object) error) (answer, error) {
	a := answer{objects: len(page.GetKvs()), count: page.GetCount(), more: page.GetMore()}
	if a.more && a.objects == 0 {
		return a, fmt.Errorf("%s: an empty page, and more to come", c.members[c.current].endpoint)
	}
	endless := bytes.Equal(asked.GetRangeEnd(), prefixEnd(""))
	for i, kv := range page.GetKvs() {
		key := kv.GetKey()
		if bytes.Compare(key, asked.GetKey()) < 0 || (i > 0 && bytes.Compare(key, a.last) <= 0) || (!endless && bytes.Compare(key, asked.GetRangeEnd()) >= 0) {
			return a, fmt.Errorf("%s: the answer is out of order at key %q", c.members[c.current].endpoint, key)
		}
		if i == 0 {
			a.first = key
		}
		a.last = key
		a.size += len(key) + len(kv.GetValue())
		if err := visit(Object{Key: key, Value: kv.GetValue(), ModRevision: kv.GetModRevision()}); err != nil {
			return a, err
		}
	}
	return a, nil
}

// page asks for one, in smaller and smaller ones while it is too large, of one member after the other while they are away.
func (c *Client) page(ctx context.Context, request *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	var away []error
	for refused := false; ; {
		page, err := c.ask(ctx, request)
		switch code := status.Code(err); {
		case err == nil:
			return page, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case same(err, rpctypes.ErrGRPCCompacted):
			return nil, ErrCompacted
		case code == codes.ResourceExhausted && request.GetLimit() > 1:
			request.Limit = max(1, request.GetLimit()/stepDown)
			continue
		case code == codes.Unauthenticated && c.token != "" && !refused: // a token lives for minutes
			c.token, refused = "", true
			continue
		case code == codes.Unavailable || code == codes.DeadlineExceeded:
			away = append(away, c.named(err))
			if len(away) < len(c.members) {
				c.current = (c.current + 1) % len(c.members)
				continue
			}
			return nil, errors.Join(away...)
		default:
			return nil, fmt.Errorf("from key %q: %w", request.GetKey(), c.named(err))
		}
	}
}

// named adds who said it; what etcd says has no credentials.
func (c *Client) named(err error) error {
	return fmt.Errorf("etcd at %s: %s: %s", c.members[c.current].endpoint, status.Code(err), status.Convert(err).Message())
}

func same(err, known error) bool {
	return status.Convert(err).Message() == status.Convert(known).Message()
}

// ask makes one call of the current member, after a login if there is to be one.
func (c *Client) ask(ctx context.Context, request *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn := c.members[c.current].conn
	if c.options.User != "" && c.token == "" {
		login, err := etcdserverpb.NewAuthClient(conn).Authenticate(ctx, &etcdserverpb.AuthenticateRequest{Name: c.options.User, Password: c.options.Password})
		if err != nil {
			return nil, err
		}
		c.token = login.GetToken()
	}
	if c.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, c.token)
	}
	return etcdserverpb.NewKVClient(conn).Range(ctx, request)
}
