package mount

// ParseTable lets tests parse a mount table.
var ParseTable = parseTable
