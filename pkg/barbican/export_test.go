package barbican

import "time"

// WithPatience is the manager with another patience for rivals.
func (m *Manager) WithPatience(d time.Duration) *Manager {
	m.rivals = d
	return m
}
