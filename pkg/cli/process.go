package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mooring/pkg/adminhttp"
	"mooring/pkg/httpserver"
	"mooring/pkg/logging"
	"mooring/pkg/openstack"
	"mooring/pkg/poll"
	"mooring/pkg/run"
)

// process is what every mode runs in: its logger, metrics and sessions.
type process struct {
	env        *Env
	common     *commonFlags
	logger     *slog.Logger
	registry   *prometheus.Registry
	pool       *openstack.Pool
	credential *openstack.Credential // nil when no cloud is named
	admin      net.Listener          // nil when no admin endpoint is wanted
}

func newProcess(env *Env, common *commonFlags, credential *openstack.Credential) (*process, error) {
	level, err := logging.ParseLevel(common.logLevel)
	if err != nil {
		return nil, err
	}
	logger, err := logging.New(env.Stderr, level, common.logFormat)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mooring_build_info", Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	registry.MustRegister(build)
	pool := openstack.NewPool(openstack.Options{Logger: logger, Metrics: openstack.NewMetrics(registry), UserAgent: "mooring/" + version})
	return &process{env: env, common: common, logger: logger, registry: registry, pool: pool, credential: credential}, nil
}

func (p *process) close() {
	p.pool.Close()
	if p.admin != nil {
		_ = p.admin.Close() // serve has closed it, unless it never came to that
	}
}

// listenAdmin binds the admin endpoint. It comes before everything else: a second process that was started by mistake finds the
// address in use, and ends before it takes the first one's socket away.
func (p *process) listenAdmin(ctx context.Context) (err error) {
	if p.common.adminListen == "" {
		return nil
	}
	if p.admin, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.common.adminListen); err != nil {
		return fmt.Errorf("--admin-listen: %w", err)
	}
	p.logger.InfoContext(ctx, "admin endpoint listens", slog.String("address", p.admin.Addr().String()))
	return nil
}

// session is the session of the process's own credential.
func (p *process) session() *openstack.Session { return p.pool.Session(p.credential) }

// serve runs the parts of a mode, and the admin server if one is wanted, until ctx ends. Ready says why the mode can't work
// yet; nil, that it can.
func (p *process) serve(ctx context.Context, ready func() error, parts ...run.Part) error {
	if p.admin != nil {
		parts = append(parts, run.Part{Name: "admin endpoint", Run: func(ctx context.Context) error {
			handler := adminhttp.Handler(adminhttp.Options{Gatherer: p.registry, Ready: ready})
			return httpserver.Serve(ctx, p.admin, handler, httpserver.Options{Logger: p.logger, Drain: time.Second, Answer: 30 * time.Second})
		}})
	}
	// the parts drain themselves within the bound; a second more tells those that don't
	return run.All(ctx, p.logger, p.common.drain+time.Second, parts...)
}

// loginKeeper logs in with back-off in the background, so that a mode listens while Keystone is away and readyz tells why it
// is not ready. After the first login the session renews its token itself.
type loginKeeper struct {
	session *openstack.Session
	logger  *slog.Logger

	mu   sync.Mutex
	done bool
	last error
}

func (p *process) loginKeeper() *loginKeeper {
	return &loginKeeper{session: p.session(), logger: p.logger, last: errors.New("no login at Keystone yet")}
}

func (k *loginKeeper) part() run.Part { return run.Part{Name: "login", Run: k.run} }

// ready is nil once there has been a login.
func (k *loginKeeper) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return nil
	}
	return k.last
}

func (k *loginKeeper) run(ctx context.Context) error {
	backoff := poll.Backoff{First: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: 0.2}
	err := poll.Until(ctx, backoff, func(ctx context.Context) (bool, error) {
		err := k.session.Login(ctx)
		k.mu.Lock()
		k.done, k.last = err == nil, err
		k.mu.Unlock()
		switch {
		case err == nil:
			k.logger.InfoContext(ctx, "logged in to OpenStack")
		case ctx.Err() == nil:
			k.logger.WarnContext(ctx, "can't log in to OpenStack yet, trying again", slog.Any("error", err))
		}
		return err == nil, nil
	})
	if err == nil {
		<-ctx.Done()
	}
	return nil
}
