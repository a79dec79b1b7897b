package mount

// ParseTable lets tests parse a mount table.
var ParseTable = parseTable //nolint:gochecknoglobals // a function for tests
