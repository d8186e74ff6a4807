package social

import "time"

// Node is a process of smi among those that share a database.
type Node struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Seen    time.Time `json:"seen" doc:"when it last said that it is there"`
	Silent  bool      `json:"silent" doc:"not heard of for a minute: it has ended without a word, or cannot reach the database"`
}
