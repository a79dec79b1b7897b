package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"mooring/pkg/openstack/openstacksim"
	"mooring/tests/peer/apiserver"
)

// keys plays kube-apiserver writing and reading a Secret.
func (s *stage) keys(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var server *apiserver.Server
	err := s.step("kube-apiserver reads its EncryptionConfiguration and finds the plugin healthy", func() (note string, err error) {
		server, err = apiserver.Start(ctx, s.dir, "mooring", "unix://"+s.mode("barbican-kms").address)
		if err != nil {
			return "", err
		}
		return "", server.Ready(ctx)
	})
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.secret(ctx, server); err != nil {
		return err
	}
	return s.step("no call to OpenStack was needed for all that", func() (string, error) {
		calls, err := s.calls(ctx, begin)
		if err != nil {
			return "", err
		}
		for _, c := range calls {
			if c.Service == openstacksim.ServiceBarbican || c.Service == openstacksim.ServiceKeystone {
				return "", errors.New("there was " + c.Method + " " + c.Path)
			}
		}
		return "the key is held in memory", nil
	})
}

// secret writes a Secret with one kube-apiserver and reads it with another.
func (s *stage) secret(ctx context.Context, server *apiserver.Server) error {
	object, key := []byte(`{"kind":"Secret","data":{"password":"aHVzaA=="}}`), "/registry/secrets/default/demo"
	var stored []byte
	err := s.step("a Secret is written", func() (note string, err error) {
		if stored, err = server.Write(ctx, key, object); err != nil {
			return "", err
		}
		if !bytes.HasPrefix(stored, []byte(apiserver.Prefix+"mooring:")) || bytes.Contains(stored, object) {
			return "", fmt.Errorf("etcd would hold %q", stored)
		}
		return fmt.Sprintf("etcd gets %s… (%d bytes)", stored[:len(apiserver.Prefix)+len("mooring:")], len(stored)), nil
	})
	if err != nil {
		return err
	}
	return s.step("another kube-apiserver reads it", func() (string, error) {
		second, err := apiserver.Start(ctx, s.dir, "mooring", "unix://"+s.mode("barbican-kms").address)
		if err != nil {
			return "", err
		}
		if err := second.Ready(ctx); err != nil {
			return "", err
		}
		got, stale, err := second.Read(ctx, key, stored)
		if err == nil && (!bytes.Equal(got, object) || stale) {
			err = fmt.Errorf("it read %q (stale %v)", got, stale)
		}
		return "", err
	})
}
