package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"

	"mooring/pkg/barbican/scan"
	"mooring/pkg/poll"
	"mooring/tests/peer/etcd"
	"mooring/tests/peer/process"
)

// scanName is what the figures of a scan of so many objects begin with.
func scanName(objects int) string {
	if objects%1_000_000 == 0 {
		return fmt.Sprintf("kms.scan_%dm", objects/1_000_000)
	}
	return fmt.Sprintf("kms.scan_%dk", objects/1000)
}

// measureScan lets "mooring keys scan" read Secrets, b.objects of them, from an etcd and from a snapshot of it.
func measureScan(ctx context.Context, b *bench) (err error) {
	const keyIDs = 3
	objects := b.objects
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := etcd.Start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	values := make([][]byte, keyIDs)
	for i := range values {
		object, err := proto.Marshal(&kmstypes.EncryptedObject{
			EncryptedData: make([]byte, 400), KeyID: fmt.Sprintf("barbican:v1:0b7e6a3c-5e2f-4a53-9d5b-7d5f6a1f2a3b:%d", i+1), EncryptedDEKSource: make([]byte, 94),
			EncryptedDEKSourceType: kmstypes.EncryptedDEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED,
		})
		if err != nil {
			return err
		}
		values[i] = append([]byte("k8s:enc:kms:v2:barbican:"), object...)
	}
	keys := make([]string, objects)
	for i := range keys {
		keys[i] = fmt.Sprintf("/registry/secrets/namespace-%03d/a-secret-of-an-application-%07d", i%997, i)
	}
	next := 0
	if err := server.Put(ctx, keys, func(string) []byte { next++; return values[next%keyIDs] }); err != nil {
		return err
	}
	snapshot := filepath.Join(dir, "snapshot.db")
	if err := server.Snapshot(ctx, snapshot); err != nil {
		return err
	}
	name := scanName(objects)
	for _, from := range []struct{ name, flag string }{{name, "--etcd-endpoints=" + server.Endpoint}, {name + "_snapshot", "--etcd-snapshot=" + snapshot}} {
		peak, took, report, err := scanOnce(ctx, b.mooring, from.flag)
		if err != nil {
			return fmt.Errorf("%s: %w", from.flag, err)
		}
		if !report.Complete || report.Scanned != int64(objects) || len(report.Keys) != keyIDs {
			return fmt.Errorf("%s: it has counted %+v", from.flag, report)
		}
		err = errors.Join(b.record(from.name+".rss_mib", float64(peak)/(1<<20), "MiB"), b.record(from.name+".seconds", took.Seconds(), "seconds"))
		if err != nil {
			return err
		}
	}
	return nil
}

// scanOnce runs a scan and returns its peak of memory, as it was a few milliseconds before the end or later.
func scanOnce(ctx context.Context, mooring, flag string) (peak int64, took time.Duration, report *scan.Report, err error) {
	p, err := process.Start(ctx, "keys scan", mooring, nil, "keys", "scan", "--output=json", flag)
	if err != nil {
		return 0, 0, nil, err
	}
	defer p.Kill()
	for {
		now, err := p.PeakRSS()
		if err != nil {
			break // it has ended: the line is gone
		}
		peak = max(peak, now)
		if err := poll.Sleep(ctx, 5*time.Millisecond); err != nil {
			return 0, 0, nil, err
		}
	}
	took = time.Since(p.Started)
	code, err := p.Ended(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, p.Output())
	}
	if err != nil {
		return 0, 0, nil, err
	}
	report = &scan.Report{}
	return peak, took, report, json.Unmarshal([]byte(p.Output()), report)
}
