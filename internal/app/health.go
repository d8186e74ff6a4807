package app

// Health is how a node is, for monitoring programs. It holds no secrets and no
// names of accounts.
type Health struct {
	Node     string   `json:"node"`
	Version  string   `json:"version"`
	Alive    bool     `json:"alive"` // the process works and can write
	Ready    bool     `json:"ready"` // and it publishes
	Paused   bool     `json:"paused"`
	Overdue  int      `json:"overdue"` // due for minutes, and nobody works on it
	Problems []string `json:"problems,omitempty"`
}
