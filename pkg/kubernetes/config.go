package kubernetes

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	netutil "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ErrNoCluster says that nothing tells where a Kubernetes API is.
var ErrNoCluster = errors.New("no Kubernetes cluster is named")

// serviceAccount is where kubelet puts a pod's token and the cluster's CA.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Source says where the Kubernetes API is, and how to log in. The first of these that is set wins: Kubeconfig, the variable KUBECONFIG
// (a list of files, merged as kubectl does), the service account of the pod.
type Source struct {
	// Kubeconfig is a file.
	Kubeconfig string
	LookupEnv  func(string) (string, bool)
	// ServiceAccount is the directory of the pod's token; empty: where kubelet puts it.
	ServiceAccount string
	// UserAgent names the caller in the audit log.
	UserAgent string
}

// New makes a Client. It makes no call.
func New(s Source) (*Client, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	config.UserAgent = s.UserAgent
	config.WarningHandler = rest.NoWarnings{}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the cluster's address: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("the cluster's login: %w", err)
	}
	return &Client{base: &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path}, http: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// stay follows no redirect: the API server makes none, and whoever else does should not get the token.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close ends the connections that are not in use.
func (c *Client) Close() { netutil.CloseIdleConnectionsFor(c.http.Transport) }

func (s *Source) config() (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: s.Kubeconfig, WarnIfAllMissing: false}
	if files, ok := s.LookupEnv("KUBECONFIG"); ok && files != "" {
		rules.Precedence = filepath.SplitList(files)
	}
	if rules.ExplicitPath == "" && len(rules.Precedence) == 0 {
		return s.inCluster()
	}
	loaded, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*loaded, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	return config, nil
}

// inCluster is rest.InClusterConfig without the process's environment.
func (s *Source) inCluster() (*rest.Config, error) {
	host, _ := s.LookupEnv("KUBERNETES_SERVICE_HOST")
	port, _ := s.LookupEnv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, fmt.Errorf("%w: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account", ErrNoCluster)
	}
	dir := s.ServiceAccount
	if dir == "" {
		dir = serviceAccount
	}
	return &rest.Config{
		Host: "https://" + net.JoinHostPort(host, port), BearerTokenFile: filepath.Join(dir, "token"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(dir, "ca.crt")},
	}, nil
}
