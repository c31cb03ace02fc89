package runtime

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/runtime/journal"
)

// metrics of a runtime. Labels are function tokens, outcomes and other closed sets.
type metrics struct {
	invocations *prometheus.CounterVec
	legs        *prometheus.HistogramVec
	skipped     *prometheus.CounterVec // deliveries that led to nothing
	letters     *prometheus.CounterVec
	effects     *prometheus.CounterVec
	lost        *prometheus.CounterVec
	windows     *prometheus.GaugeVec

	mu    sync.RWMutex
	usual map[string]*usual // by function token; guarded by mu
}

// usual is what most actions of one function count, looked up once.
type usual struct {
	succeeded prometheus.Counter
	legs      [len(legs)]prometheus.Observer
}

// legs are the parts of an action's way that are timed.
var legs = [...]string{"kernel_published", "published_started", "started_ended", "started_effect", "kernel_effect"}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		usual: map[string]*usual{},
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiercel_runtime_invocations_total", Help: "Invocations that ended, by function and outcome.",
		}, []string{"function", "outcome"}),
		legs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tiercel_runtime_leg_duration_seconds",
			Help:    "Time of each leg of the way from the kernel's event to the first effect: kernel_published, published_started, started_effect, kernel_effect, started_ended.",
			Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"function", "leg"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiercel_runtime_deliveries_total",
			Help: "Deliveries that did not end an invocation: unselected by the triggers, duplicate, suspended after a transient failure, given_up for another runtime.",
		}, []string{"function", "result"}),
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiercel_runtime_dead_letters_total", Help: "Dead letters, by function and reason; stored is false for those the full stream refused.",
		}, []string{"function", "reason", "stored"}),
		effects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiercel_runtime_effects_total", Help: "Effects of ended invocations, by function and operation.",
		}, []string{"function", "operation"}),
	}
	m.lost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tiercel_runtime_lost_events_total", Help: "Events that the stream discarded before the function took them, at most.",
	}, []string{"function"})
	m.windows = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tiercel_runtime_window_used_ratio",
		Help: "How far a function lies behind, as a share of what the stream of events keeps: at 1 its events are discarded.",
	}, []string{"function"})
	reg.MustRegister(m.invocations, m.legs, m.skipped, m.letters, m.effects, m.lost, m.windows)
	return m
}

func (m *metrics) unselected(fn string) { m.skipped.WithLabelValues(fn, "unselected").Inc() }
func (m *metrics) duplicate(fn string)  { m.skipped.WithLabelValues(fn, "duplicate").Inc() }
func (m *metrics) suspended(fn string)  { m.skipped.WithLabelValues(fn, "suspended").Inc() }
func (m *metrics) givenUp(fn string)    { m.skipped.WithLabelValues(fn, "given_up").Inc() }

func (m *metrics) lostEvents(fn string, n uint64) { m.lost.WithLabelValues(fn).Add(float64(n)) }
func (m *metrics) window(fn string, used float64) { m.windows.WithLabelValues(fn).Set(used) }

func (m *metrics) letter(fn, reason string, stored bool) {
	s := "false"
	if stored {
		s = "true"
	}
	m.letters.WithLabelValues(fn, reason, s).Inc()
}

func (m *metrics) ended(fn string, o journal.Outcome) {
	m.invocations.WithLabelValues(fn, string(o)).Inc()
}

// of returns the usual metrics of a function.
func (m *metrics) of(fn string) *usual {
	m.mu.RLock()
	u := m.usual[fn]
	m.mu.RUnlock()
	if u != nil {
		return u
	}
	u = &usual{succeeded: m.invocations.WithLabelValues(fn, string(journal.Succeeded))}
	for i, name := range legs {
		u.legs[i] = m.legs.WithLabelValues(fn, name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.usual[fn] = u
	return u
}

// forget drops what is kept for a function that is no more.
func (m *metrics) forget(fn string) {
	m.windows.DeleteLabelValues(fn)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.usual, fn)
}

// action counts a sealed action and the legs of its way.
func (m *metrics) action(a *journal.Action) {
	fn := a.Function.Token()
	for i := range a.Calls {
		c := &a.Calls[i]
		if c.Effect != "" && c.Error == nil && !c.Done.IsZero() {
			m.effects.WithLabelValues(fn, c.Op).Inc()
		}
	}
	if a.Revert != nil { // its event's times are long gone, and its function may be too
		m.ended(fn, a.Outcome)
		return
	}
	u := m.of(fn)
	if a.Outcome == journal.Succeeded {
		u.succeeded.Inc()
	} else {
		m.ended(fn, a.Outcome)
	}
	e, effect := &a.Event, a.FirstEffect()
	for i, way := range [len(legs)]struct{ from, to time.Time }{
		{e.Time, e.Published}, {e.Published, e.Started}, {e.Started, a.Ended}, {e.Started, effect}, {e.Time, effect},
	} {
		if !way.from.IsZero() && !way.to.IsZero() {
			u.legs[i].Observe(max(0, way.to.Sub(way.from).Seconds()))
		}
	}
}
