package openstack_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mooring/pkg/openstack"
)

// authority makes a self-signed certificate for a client or a server, and returns it and its key as PEM.
func authority(t *testing.T, hosts ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: hosts,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	serverCert, serverKey := authority(t, "localhost")
	clientCert, clientKey := authority(t)
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(clientCert)
	keystone := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", "gAAAAAtls")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "user": {"id": "u"}, "project": {"id": "p"}, "catalog": [{"type": "dns", "endpoints": []}]}}`))
	}))
	keystone.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12}
	keystone.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	keystone.StartTLS()
	t.Cleanup(keystone.Close)
	byName := strings.Replace(keystone.URL, "127.0.0.1", "localhost", 1) + "/v3"
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)

	base := openstack.Credential{AuthURL: byName, UserID: "u", Password: "p", ProjectID: "p", CACert: serverCert, ClientCert: clientCert, ClientKey: clientKey}
	with := func(change func(*openstack.Credential)) *openstack.Credential {
		c := base
		change(&c)
		return &c
	}
	for name, tc := range map[string]struct {
		c    *openstack.Credential
		want string // empty: it works
	}{
		"all is right":        {&base, ""},
		"unknown authority":   {with(func(c *openstack.Credential) { c.CACert = nil }), "set cacert"},
		"insecure":            {with(func(c *openstack.Credential) { c.CACert, c.Insecure = nil, true }), ""},
		"another host's name": {with(func(c *openstack.Credential) { c.AuthURL = keystone.URL + "/v3" }), "certificate is for another host"},
		"no client cert":      {with(func(c *openstack.Credential) { c.ClientCert, c.ClientKey = nil, nil }), "does it ask for a client certificate"},
		"https to http":       {with(func(c *openstack.Credential) { c.AuthURL = strings.Replace(plain.URL, "http:", "https:", 1) + "/v3" }), "is the URL http://"},
		"CA is no PEM":        {with(func(c *openstack.Credential) { c.CACert = []byte("junk") }), "not PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := openstack.NewPool(openstack.Options{})
			defer pool.Close()
			err := pool.Session(tc.c).Login(t.Context())
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("%v does not say %q on one line", err, tc.want)
			}
		})
	}
}
