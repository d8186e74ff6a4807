package main

import "sync"

// running are the daemons of the scripts.
var running struct {
	mu sync.Mutex
	by map[*simulator]map[string]*process
}
