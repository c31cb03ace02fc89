package sensor

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/extract"
)

// A reporter makes alerts and events of matches. It belongs to one goroutine at a time but for acked and gaveUp.
type reporter struct {
	s      *Sensor
	ids    *bus.IDs
	source string // of events
	fields fieldWriter
	alert  []byte
	data   []byte
	watch  func(stamps) // of benchmarks; may be nil
}

func newReporter(s *Sensor) *reporter {
	return &reporter{
		s: s, ids: bus.NewIDs(s.cfg.Node), source: bus.SourceURI(s.cfg.Cluster, s.cfg.Node, extract.RuleSource),
	}
}

// report sends a match to the outputs and to the bus. It does not block.
func (r *reporter) report(m *match) {
	if len(r.s.outputs.List) == 0 && r.s.publisher == nil {
		return
	}
	a := m.matcher.Alert(m.rule, m.event)
	r.s.outputs.Send(a)
	if r.s.publisher == nil {
		return
	}
	target := r.target(m)
	data := r.matchData(a, m, &target)
	ev := bus.Event{
		ID: r.ids.New(a.Time), Source: r.source, Type: bus.TypeRuleMatched, Subject: r.subject(&target), Time: a.Time,
		Rule: a.Rule, Priority: a.Priority.String(), EventSource: a.Source, Hostname: a.Hostname, TraceParent: newTrace(), Data: data,
	}
	subject := bus.EventSubject(a.Source, a.Priority.String(), a.Rule, target.Namespace, r.s.cfg.Node)
	r.publish(subject, &ev, stamps{kernel: m.raw.BootNS, read: m.raw.ReadNS, matched: r.s.pipeline.now()})
}

// publish hands ev to the publisher. at goes with it if it is a match.
func (r *reporter) publish(subject bus.Subject, ev *bus.Event, at any) {
	m, err := bus.NewMessage(subject, ev)
	if err == nil {
		m.Tag = at
		err = r.s.publisher.PublishMessage(m)
	}
	if err != nil {
		r.s.metrics.unpublished.Inc()
		r.s.log.Debug("event not published", "event_id", ev.ID, "rule", ev.Rule, "err", err)
	}
}

// target says exactly what the event is about.
func (r *reporter) target(m *match) bus.Target {
	t := &m.raw.Task
	target := bus.Target{
		Cluster: r.s.cfg.Cluster, Node: r.s.cfg.Node, PodUID: m.id.PodUID, ContainerID: m.id.Container,
		CgroupID: bus.Uint64(t.CgroupID), PID: int32(t.PID), PIDStartTime: bus.Uint64(t.StartNS),
	}
	name(&target, m.id)
	return target
}

// name adds the names of the container id to target.
func name(target *bus.Target, id *container.Identity) {
	if in := id.Info; in != nil {
		target.Namespace, target.Pod = in.Pod.Namespace, in.Pod.Name
		target.Container, target.Image, target.ImageDigest = in.Name, in.Image, in.ImageDigest
	}
}

// subject is the CloudEvents subject: <namespace>/<pod>, or the host's name.
func (r *reporter) subject(t *bus.Target) string {
	if t.Namespace != "" && t.Pod != "" {
		return t.Namespace + "/" + t.Pod
	}
	return r.s.cfg.Hostname
}

// Bounds of what goes into an event. A target has some twelve names of at most 253 bytes.
const (
	targetRoom = 4 << 10
	alertRoom  = bus.MaxDataSize - targetRoom
	textRoom   = 512 // of one text, where an alert has to be shortened
)

// matchData is the data of the event: the alert, the standard fields as far as there is room, and the target.
func (r *reporter) matchData(a *rules.Alert, m *match, target *bus.Target) []byte {
	r.alert = a.AppendJSON(r.alert[:0])
	if len(r.alert) > alertRoom {
		r.s.metrics.shortened.Inc()
		for room := textRoom; len(r.alert) > alertRoom && room > 0; room /= 2 {
			r.alert = shorten(a, room).AppendJSON(r.alert[:0])
		}
	}
	fields := r.fields.append(m.event, alertRoom-len(r.alert))
	r.data = bus.AppendMatch(r.data[:0], r.alert, fields, target)
	return r.data
}

// shorten returns a with every text cut to room bytes.
func shorten(a *rules.Alert, room int) *rules.Alert {
	short := *a
	short.Output = cut(a.Output, room)
	short.OutputFields = make([]rules.OutputField, len(a.OutputFields))
	for i, f := range a.OutputFields {
		switch v := f.Value.(type) {
		case string:
			f.Value = cut(v, room)
		case []any:
			f.Value = nil
		}
		short.OutputFields[i] = f
	}
	return &short
}

// cut shortens s to at most n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// newTrace is the W3C trace context of a trace that begins here.
func newTrace() string {
	const version, sampled = "00-", "-01"
	var raw [24]byte
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	raw[0] |= 1 // ids of zeros only are not valid
	raw[16] |= 1
	b := make([]byte, 0, 55)
	b = append(b, version...)
	b = hex.AppendEncode(b, raw[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, raw[16:])
	return string(append(b, sampled...))
}

// stamps are the boot times at which a match went through the stages.
type stamps struct{ kernel, read, matched, acked uint64 }

// acked observes how long a message took. The publisher calls it.
func (r *reporter) acked(m *bus.Message) {
	at, ok := m.Tag.(stamps)
	if !ok {
		return // an earlier process made it, or it is no match
	}
	at.acked = r.s.pipeline.now()
	r.s.metrics.published.Observe(seconds(at.acked - at.matched))
	r.s.metrics.total.Observe(seconds(at.acked - at.kernel))
	if r.watch != nil {
		r.watch(at)
	}
}

// gaveUp counts a message that the publisher dropped.
func (r *reporter) gaveUp(m *bus.Message, err error) {
	r.s.metrics.unpublished.Inc()
	r.s.log.Debug("match not published", "event_id", m.ID, "err", err)
}

// internal tells outputs and bus about something that happened to the sensor itself.
func (r *reporter) internal(rule string, p rules.Priority, text string, fields []rules.OutputField, eventType string) {
	r.internalOf(&bus.Target{Cluster: r.s.cfg.Cluster, Node: r.s.cfg.Node}, rule, p, text, fields, eventType)
}

// internalOf is internal for what concerns target.
func (r *reporter) internalOf(target *bus.Target, rule string, p rules.Priority, text string, fields []rules.OutputField, eventType string) {
	slices.SortFunc(fields, func(a, b rules.OutputField) int { return strings.Compare(a.Name, b.Name) })
	a := &rules.Alert{
		Hostname: r.s.cfg.Hostname, Output: text, Rule: rule, Source: "internal", Priority: p, Time: time.Now(), OutputFields: fields,
	}
	r.s.outputs.Send(a)
	if r.s.publisher == nil || eventType == "" {
		return
	}
	ev := bus.Event{
		ID: r.ids.New(a.Time), Source: r.source, Type: eventType, Subject: r.subject(target), Time: a.Time, Rule: rule,
		Priority: p.String(), EventSource: extract.RuleSource, Hostname: a.Hostname, TraceParent: newTrace(),
		Data: bus.AppendMatch(nil, a.AppendJSON(nil), nil, target),
	}
	// The subject is one that a sensor's credentials allow.
	subject := bus.EventSubject(extract.RuleSource, p.String(), rule, target.Namespace, r.s.cfg.Node)
	r.publish(subject, &ev, nil)
}
