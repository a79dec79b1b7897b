package manila

// Statuses are all that Manila has, for tests.
func Statuses() map[string]Phase { return phases() }
