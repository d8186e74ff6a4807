package config

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
)

// leaf is one setting of a configuration with its path.
type leaf struct {
	value   any
	text    string // what is compared; the value itself is where it is empty
	restart bool
}

// leaves lists the settings of a struct by path.
func leaves(out map[string]leaf, v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		fv, full := v.FieldByIndex(f.index), join(path, f.key)
		switch f.kind {
		case kindSection:
			leaves(out, fv, full)
		case kindNetworks:
			networks, _ := reflect.TypeAssert[Networks](fv)
			for name, n := range networks {
				full := join("networks", string(name))
				out[full+".enabled"] = leaf{value: n.Enabled}
				if n.Settings != nil {
					leaves(out, reflect.ValueOf(n.Settings).Elem(), full)
				}
				for app, settings := range n.Apps {
					leaves(out, reflect.ValueOf(settings).Elem(), full+".apps."+app)
				}
			}
		case kindCron, kindZone:
			out[full] = leaf{text: fmt.Sprint(fv.Interface()), restart: f.restart}
		default:
			out[full] = leaf{value: fv.Interface(), restart: f.restart}
		}
	}
}

// Diff lists the paths of the settings that differ, sorted: those that take
// effect at once and those that need a restart. A secret that changed is listed
// under its key without _file or _env.
func Diff(before, after *Config) (live, restart []string) {
	a, b := map[string]leaf{}, map[string]leaf{}
	leaves(a, reflect.ValueOf(before).Elem(), "")
	leaves(b, reflect.ValueOf(after).Elem(), "")
	all := map[string]bool{}
	for p := range a {
		all[p] = true
	}
	for p := range b {
		all[p] = true
	}
	for _, p := range sortedKeys(all) {
		x, inA := a[p]
		y, inB := b[p]
		switch {
		case inA && inB && x.text == y.text && reflect.DeepEqual(x.value, y.value):
		case x.restart || y.restart:
			restart = append(restart, p)
		default:
			live = append(live, p)
		}
	}
	return live, restart
}

// keepRestart gives the settings of v that need a restart the values they have
// in running, and leaves the others.
func keepRestart(v, running reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		switch fv := v.FieldByIndex(f.index); {
		case f.kind == kindSection:
			keepRestart(fv, running.FieldByIndex(f.index))
		case f.restart:
			fv.Set(running.FieldByIndex(f.index))
		}
	}
}

// Holder has the configuration in force. It is safe for concurrent use.
type Holder struct {
	load    func() (*Config, error)
	mu      sync.Mutex // one reload at a time
	current atomic.Pointer[Config]
}

// NewHolder returns a holder of c, which load reads again.
func NewHolder(c *Config, load func() (*Config, error)) *Holder {
	h := &Holder{load: load}
	h.current.Store(c)
	return h
}

// Current returns the configuration in force. Who needs several settings that
// fit together takes it once.
func (h *Holder) Current() *Config { return h.current.Load() }

// Change is what a reload changed.
type Change struct {
	Live    []string // paths of the settings that are in force now
	Restart []string // paths of the settings that wait for a restart; Current still has their old values
}

// Reload reads the file again and puts it in force. prepare, if not nil, builds
// what hangs on the configuration before that; it is given the one that will be
// in force. If loading or prepare fails, everything stays as it was.
func (h *Holder) Reload(prepare func(next *Config) error) (Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next, err := h.load()
	if err != nil {
		return Change{}, err
	}
	running := h.Current()
	var c Change
	c.Live, c.Restart = Diff(running, next)
	keepRestart(reflect.ValueOf(next).Elem(), reflect.ValueOf(running).Elem())
	if prepare != nil {
		if err := prepare(next); err != nil {
			return Change{}, fmt.Errorf("preparing the new configuration: %w", err)
		}
	}
	h.current.Store(next)
	return c, nil
}
