package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mooring/tests/peer/process"
)

// finish stops the modes and looks at what they cost and what they said.
func (s *stage) finish(ctx context.Context) error {
	for _, m := range s.modes {
		rss, err := m.process.RSS()
		if err != nil {
			return err
		}
		m.rss = rss
	}
	for _, m := range s.modes {
		err := s.step("SIGTERM ends "+m.name, func() (string, error) {
			code, err := m.process.Stop(15 * time.Second)
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d: %s", code, m.process.Output())
			}
			return "exit code 0", err
		})
		if err != nil {
			return err
		}
	}
	if err := s.step("one login per credential", func() (string, error) { return s.logins(ctx) }); err != nil {
		return err
	}
	if err := s.step("no secret in anything that was logged", func() (string, error) { return s.noSecrets(ctx) }); err != nil {
		return err
	}
	calls, err := s.calls(ctx, time.Time{})
	if err != nil {
		return err
	}
	perService := map[string]int{}
	for _, c := range calls {
		perService[c.Service]++
	}
	for _, service := range slices.Sorted(maps.Keys(perService)) {
		s.note("%-18s %4d calls", service, perService[service])
	}
	for _, m := range s.modes {
		s.note("%-18s listened after %.3f s, held %.1f MiB", m.name, m.listening.Seconds(), float64(m.rss)/(1<<20))
	}
	return nil
}

func (s *stage) logins(ctx context.Context) (note string, err error) {
	calls, err := s.calls(ctx, time.Time{})
	if err != nil {
		return "", err
	}
	logins := map[string]int{}
	for _, c := range calls {
		if c.Login != "" {
			logins[c.Login]++
		}
	}
	for who, n := range logins {
		if n > 1 {
			return "", fmt.Errorf("%s logged in %d times", who, n)
		}
	}
	for _, m := range s.modes {
		if logins[m.name] == 0 && m.name != "manila-node" { // it needs a credential only to stage CephFS
			return "", fmt.Errorf("%s did not log in", m.name)
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(logins)), ", "), nil
}

// noSecrets looks for every password, token, key and payload of the run in all output, also in base64 and hex.
func (s *stage) noSecrets(ctx context.Context) (note string, err error) {
	var secrets []string
	if err := s.control(ctx, "secrets", &secrets); err != nil {
		return "", err
	}
	if len(secrets) < 10 {
		return "", fmt.Errorf("only %d secrets to look for", len(secrets))
	}
	lines := 0
	processes := []*process.Process{s.cloud}
	for _, m := range s.modes {
		processes = append(processes, m.process)
	}
	for _, p := range processes {
		output := p.Output()
		lines += strings.Count(output, "\n")
		for _, secret := range secrets {
			if strings.Contains(output, secret) {
				return "", fmt.Errorf("a secret is in the log of %s", p.Name)
			}
		}
	}
	if lines < 20 {
		return "", fmt.Errorf("only %d lines of log, at debug level: is something wrong with the logs?", lines)
	}
	return fmt.Sprintf("%d secrets looked for in %d lines, at debug level", len(secrets), lines), nil
}
