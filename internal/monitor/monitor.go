// Package monitor is what smi tells monitoring programs about itself: counters
// of what this process did, and gauges that are read when somebody asks. Labels
// are networks, states and the like; no account and no post is named.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"smi/internal/social"
)

// Config is what Metrics need.
type Config struct {
	Version  string
	Networks []social.Network // that there are: their counters begin with 0
	// Stock counts what the database holds. It may hang; it is then waited for no
	// longer than Timeout, and is not asked again meanwhile.
	Stock func(context.Context) (Stock, error)
	// Facts are what this process knows without asking anybody.
	Facts   func() Facts
	Now     func() time.Time
	Timeout time.Duration // 5 s
	Log     *slog.Logger
}

// Stock is what the database holds.
type Stock struct {
	social.Stock
	Backup time.Time // of the last one by schedule; zero: none
}

// Facts are what a process knows of itself.
type Facts struct {
	Dispatching bool
	Busy        int             // deliveries that this node holds
	ClockDoubt  bool            // nothing is sent because of the clock
	Channels    map[string]bool // of notices: whether the last try failed
	Budgets     map[Budget]int  // how much may be used
	DiskFree    int64           // bytes beside the data; negative: not known
	DiskNeeded  int64           // with less nothing is sent
	SyncOn      bool            // the nightly reading is switched on
	BackupOn    bool            // backups are made by schedule
}

// Budget names a budget of a network.
type Budget struct {
	Network  social.Network
	Endpoint string
	Window   time.Duration
}

// Metrics count and answer scrapes. They are safe for concurrent use.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry
	handler  http.Handler

	lateness   *prometheus.HistogramVec
	deliveries *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	commits    prometheus.Histogram
	failed     prometheus.Counter

	reading chan struct{} // holds one while the database is asked
}

// Outcomes are the states that a delivery is counted in when it comes to one.
var Outcomes = []social.DeliveryState{
	social.Published, social.Failed, social.Skipped, social.Cancelled, social.NeedsHuman, social.HeldLate, social.Blocked,
}

// Attempts are what may become known of an attempt without a person.
var Attempts = []string{"ok", "rejected", "not_sent", "ambiguous", "adopted", "absent_by_handle"}

// New returns metrics in a registry of their own.
func New(c Config) *Metrics {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{cfg: c, registry: prometheus.NewRegistry(), reading: make(chan struct{}, 1)}
	m.lateness = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "smi_publish_lateness_seconds", Help: "From the planned time of a post to the first byte of the request that published it.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400},
	}, []string{"network"})
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "smi_deliveries_total", Help: "Deliveries that this process brought to an outcome. One that a person sends on counts again.",
	}, []string{"network", "outcome"})
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "smi_attempts_total", Help: "What this process learnt of attempts to publish. An ambiguous one counts again when it is decided.",
	}, []string{"network", "outcome"})
	m.commits = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "smi_database_commit_seconds", Help: "How long changes of the database took until they were durable.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	})
	m.failed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "smi_scrape_errors_total", Help: "Scrapes for which the database could not be read in time; what it holds was left out of them.",
	})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "smi_build_info", Help: "Always 1; the version of smi is its label.", ConstLabels: prometheus.Labels{"version": c.Version},
	})
	build.Set(1)
	for _, n := range c.Networks {
		m.lateness.WithLabelValues(string(n))
		for _, o := range Outcomes {
			m.deliveries.WithLabelValues(string(n), string(o))
		}
		for _, o := range Attempts {
			m.attempts.WithLabelValues(string(n), o)
		}
	}
	m.registry.MustRegister(m.lateness, m.deliveries, m.attempts, m.commits, build, m,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8,
	})
	return m
}

// ServeHTTP answers a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// Change is a change of a delivery that this process made.
type Change struct {
	Network social.Network
	From    social.DeliveryState
	State   social.DeliveryState
	Attempt string        // what became known of the attempt; "" if nothing new did
	First   bool          // the attempt was of the first part, whose time was planned
	Late    time.Duration // of its first byte
	Written bool          // Late is known
}

// Count counts a change.
func (m *Metrics) Count(c Change) {
	n := string(c.Network)
	if c.State != c.From && slices.Contains(Outcomes, c.State) {
		m.deliveries.WithLabelValues(n, string(c.State)).Inc()
	}
	if c.Attempt == "" {
		return
	}
	m.attempts.WithLabelValues(n, c.Attempt).Inc()
	if (c.Attempt == "ok" || c.Attempt == "adopted") && c.First && c.Written {
		m.lateness.WithLabelValues(n).Observe(c.Late.Seconds())
	}
}

// Committed notes how long a change of the database took.
func (m *Metrics) Committed(took time.Duration) { m.commits.Observe(took.Seconds()) }

// errBusy is why the database is not asked: an earlier question hangs.
var errBusy = errors.New("an earlier reading has not ended")

// read asks the database, no longer than the time limit even if it hangs.
func (m *Metrics) read() (Stock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Timeout)
	select {
	case m.reading <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return Stock{}, errBusy
	}
	type answer struct {
		stock Stock
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer cancel()
		s, err := m.cfg.Stock(ctx)
		<-m.reading
		answers <- answer{s, err}
	}()
	select {
	case a := <-answers:
		return a.stock, a.err
	case <-ctx.Done():
	}
	select { // it may have been answered in the same moment
	case a := <-answers:
		return a.stock, a.err
	default:
		return Stock{}, fmt.Errorf("reading took more than %s: %w", m.cfg.Timeout, ctx.Err())
	}
}
