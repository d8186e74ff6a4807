package social

import "time"

// Stock is how things stand, counted for monitoring programs. Networks and
// states are its only keys: it names no account and no post.
type Stock struct {
	Planned  int          // deliveries that are not sent yet
	Due      []StockCount // of them, by network, whose time has come and that no person holds back; Oldest is a planned time
	Asking   []StockCount // deliveries that wait for a person, by network and state
	Attempts []StockCount // open attempts by network and state; Oldest is when one was armed
	Accounts []StockCount // by network and status
	Held     []StockCount // accounts that are paused, by themselves or with their workspace
	Logins   []LoginStock
	Syncs    []SyncStock
	Limits   []StockCount // buckets a network blocked, by network; Oldest is the end of the last block
	Budgets  []BudgetStock
	Notices  []StockCount // unsent ones, by severity (in State)
	Failing  []StockCount // of them, those that no channel took yet

	Paused      bool // everything is, by a person
	Quarantined bool // nothing at all is armed
	Gap         int  // deliveries that wait until they were looked up
	Nodes       int  // that were heard of lately
	Silent      int  // that ended without a word
	Bytes       int64
}

// StockCount is how many of something there are, and how old the oldest is.
type StockCount struct {
	Network Network
	State   string
	Count   int
	Oldest  time.Time
}

// LoginStock is how the logins of a network are.
type LoginStock struct {
	Network    Network
	State      string
	Count      int
	Oldest     time.Time // when the oldest was got
	AccessEnds time.Time // when the first access token ends; zero: none does
	LoginEnds  time.Time // when the first login ends that nobody renews; zero: none does
}

// SyncStock is how new the numbers of a network are.
type SyncStock struct {
	Network  Network
	Accounts int
	Failed   int       // of them, whose last reading failed
	Oldest   time.Time // the last success of the account for which it is longest ago; the time it was connected where there was none
	Newest   time.Time // the last success of all; zero: none
}

// BudgetStock is what was taken from a budget in its present window.
type BudgetStock struct {
	Network  Network
	Endpoint string
	Window   time.Duration
	Used     int // by the account or app that used most
}

// BudgetUse is what one account or app took from a budget in its present
// window.
type BudgetUse struct {
	BudgetStock
	Who   string    // the account's remote id, or "app:" and the set of app credentials
	Start time.Time // of the window
}

// LimitWait is a wait that a network asked for.
type LimitWait struct {
	Bucket string // what must wait: "bluesky/account/did:plc:…/create", "bluesky/app"
	Until  time.Time
}
