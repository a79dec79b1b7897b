// Package etcd runs a real etcd of one member in this process, and does with it what administrators do.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// MaxOps is how many writes one transaction may have.
const MaxOps = 1000

// Server is a running etcd.
type Server struct {
	Endpoint string // http://127.0.0.1:port
	Client   *clientv3.Client

	etcd *embed.Etcd
}

// Start starts one that keeps its data below dir, and waits until it serves.
func Start(ctx context.Context, dir string) (_ *Server, err error) {
	loopback := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "data")
	c.ListenPeerUrls, c.ListenClientUrls = []url.URL{loopback}, []url.URL{loopback}
	c.LogLevel, c.LogOutputs = "warn", []string{filepath.Join(dir, "etcd.log")}
	c.UnsafeNoFsync, c.MaxTxnOps, c.QuotaBackendBytes = true, MaxOps, 8<<30
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	s := &Server{etcd: etcd}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		return nil, errors.Join(err, s.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), s.Close())
	}
	s.Endpoint = "http://" + etcd.Clients[0].Addr().String()
	if s.Client, err = clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends it.
func (s *Server) Close() (err error) {
	if s.Client != nil {
		err = s.Client.Close()
	}
	s.etcd.Close()
	return err
}

// Put writes values in transactions; each key is written once in a transaction.
func (s *Server) Put(ctx context.Context, keys []string, value func(key string) []byte) error {
	for len(keys) > 0 {
		var ops []clientv3.Op
		for _, key := range keys[:min(MaxOps, len(keys))] {
			ops = append(ops, clientv3.OpPut(key, string(value(key))))
		}
		if _, err := s.Client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return fmt.Errorf("writing %s and what follows: %w", keys[0], err)
		}
		keys = keys[len(ops):]
	}
	return nil
}

// Snapshot saves one as "etcdctl snapshot save" does.
func (s *Server) Snapshot(ctx context.Context, path string) (err error) {
	from, err := s.Client.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
