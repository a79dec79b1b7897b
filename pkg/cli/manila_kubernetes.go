package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mooring/pkg/kubernetes"
	"mooring/pkg/poll"
	"mooring/pkg/run"
)

// The taint that keeps pods away from a node until the driver is there. Whoever makes nodes sets it.
const (
	startupTaint  = "manila.csi.openstack.org/agent-not-ready"
	startupEffect = "NoSchedule"
)

// cluster is the Kubernetes API as a mode sees it: by KUBECONFIG, or by the service account of its pod. It makes no call.
func (p *process) cluster(flag string) (*kubernetes.Client, error) {
	c, err := kubernetes.New(kubernetes.Source{LookupEnv: p.env.LookupEnv, UserAgent: "mooring/" + version})
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return c, nil
}

// untaint takes the startup taint off the node, once the scheduler can know that the driver is there. It is tried until it is done, and
// the mode works all the same.
func (o *manilaNodeOptions) untaint(client *kubernetes.Client, logger *slog.Logger) run.Part {
	return run.Part{Name: "startup taint", Run: func(ctx context.Context) error {
		defer client.Close()
		backoff := poll.Backoff{First: 300 * time.Millisecond, Max: 15 * time.Second, Factor: 1.5, Jitter: 0.2}
		err := poll.Until(ctx, backoff, func(ctx context.Context) (bool, error) {
			done, err := o.untaintOnce(ctx, client, logger)
			if err != nil && ctx.Err() == nil {
				logger.WarnContext(ctx, "can't remove the startup taint yet, trying again", slog.String("node", o.nodeID), slog.Any("error", err))
			}
			return done, nil
		})
		if err == nil {
			<-ctx.Done()
		}
		return nil
	}}
}

func (o *manilaNodeOptions) untaintOnce(ctx context.Context, client *kubernetes.Client, logger *slog.Logger) (done bool, _ error) {
	if registered, err := client.HasDriver(ctx, o.nodeID, o.driverName); err != nil || !registered {
		return false, err
	}
	removed, err := client.RemoveTaint(ctx, o.nodeID, startupTaint, startupEffect)
	if err != nil {
		return false, err
	}
	if removed {
		logger.InfoContext(ctx, "the driver is registered, and the startup taint is removed", slog.String("node", o.nodeID))
	}
	return true, nil
}
