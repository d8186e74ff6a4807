package bluesky

// NewKey makes a session key, for tests.
var NewKey = newKey
