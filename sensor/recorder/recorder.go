package recorder

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// Host is the name under which events outside of containers are kept.
const Host = "host"

// A Recorder keeps events. Make one with New. It is safe for concurrent use.
type Recorder struct {
	cfg   Config
	types field.EventSet

	mu         sync.Mutex
	containers map[string]*tape // guarded by mu
	bytes      int              // guarded by mu; of all chunks
	stats      Stats            // guarded by mu
}

// Stats are counters of a Recorder, and its present size.
type Stats struct {
	Containers int
	Bytes      int    // that are held for events
	Events     uint64 // that were kept, since the start
	Evicted    uint64 // of them, those that went: their time was up, or their room was needed
	Limited    uint64 // that were not kept, beyond Config.Rate
}

// A tape is what is kept of one container.
type tape struct {
	first, last *chunk
	bytes       int
	second      uint64 // for which n counts
	n           int
	paths       map[event.Cgroup]string // of its cgroups, by id
}

// A chunk is a piece of a tape: entries one after the other.
type chunk struct {
	next        *chunk
	b           []byte
	n           uint64
	from, until uint64 // boot times of its first entry and its newest one
}

const (
	// chunkBytes is how much is allocated at once. An entry that is larger has a chunk of its own.
	chunkBytes = 8 << 10
	entryHead  = 32
	// maxPaths is of how many cgroups of one container the paths are kept.
	maxPaths = 64
)

// New returns an empty recorder, or nil if cfg says that it is off. A nil Recorder keeps nothing.
func New(cfg Config) *Recorder {
	if cfg.Off {
		return nil
	}
	return &Recorder{cfg: cfg, types: cfg.Types(), containers: map[string]*tape{}}
}

// Wants reports whether ev is one to be kept: of its type, and of opens one that made a file; of other calls with paths, one that
// succeeded.
func (r *Recorder) Wants(ev *event.Event) bool {
	if r == nil || !r.types.Has(ev.Type) || len(ev.Raw) == 0 {
		return false
	}
	switch ev.Type {
	case field.EventConnect, field.EventListen:
		return true
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat:
		return ev.Result >= 0 && ev.Open.Created
	}
	return ev.Result >= 0 || ev.Flags&event.NoResult != 0
}

// Keep keeps a copy of the record of ev, which Wants wants, for container, and the path of its cgroup. It reports false for an event beyond
// the rate.
func (r *Recorder) Keep(container, path string, ev *event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.containers[container]
	if t == nil {
		t = &tape{paths: map[event.Cgroup]string{}}
		r.containers[container] = t
	}
	if g := (event.Cgroup{ID: ev.Task.CgroupID, V1: ev.Flags&event.CgroupV1 != 0}); path != "" && t.paths[g] != path && len(t.paths) < maxPaths {
		t.paths[g] = path
	}
	if second := ev.BootNS / 1e9; second != t.second {
		t.second, t.n = second, 0
	}
	if t.n++; t.n > r.cfg.Rate {
		r.stats.Limited++
		return false
	}
	r.write(t, ev)
	r.stats.Events++
	return true
}

// write appends ev to t.
func (r *Recorder) write(t *tape, ev *event.Event) {
	n := entryHead + len(ev.Raw) + len(ev.Completion)
	c := t.last
	if c == nil || len(c.b)+n > cap(c.b) || c.from+uint64(r.cfg.Keep)/4 < ev.BootNS {
		c = r.begin(t, max(n, chunkBytes))
		c.from = ev.BootNS
	}
	var flags uint32
	if ev.Flags&event.NoResult != 0 {
		flags = 1
	}
	b := c.b
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ev.Raw)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ev.Completion)))
	b = binary.LittleEndian.AppendUint64(b, ev.BootNS)
	b = binary.LittleEndian.AppendUint64(b, ev.ReadNS)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = append(b, 0, 0, 0, 0)
	at := len(b)
	b = append(b, ev.Raw...)
	// Why it left the kernel is of no concern to who reads it later.
	decode.ClearFlags(b[at:], bpf.SensorHeadFlagHEAD_DROPPED|bpf.SensorHeadFlagHEAD_RECORDED|bpf.SensorHeadFlagHEAD_BROAD)
	c.b = append(b, ev.Completion...)
	c.n++
	c.until = max(c.until, ev.BootNS)
}

// begin appends an empty chunk to t and makes room for it.
func (r *Recorder) begin(t *tape, size int) *chunk {
	for t.first != nil && t.bytes+size > int(r.cfg.ContainerBytes) {
		r.drop(t)
	}
	for r.bytes+size > int(r.cfg.TotalBytes) && r.bytes > 0 {
		r.drop(r.largest())
	}
	c := &chunk{b: make([]byte, 0, size)}
	if t.last == nil {
		t.first = c
	} else {
		t.last.next = c
	}
	t.last = c
	t.bytes += size
	r.bytes += size
	return c
}

// largest returns the tape that holds the most: those of whom there is little keep it.
func (r *Recorder) largest() *tape {
	var most *tape
	for _, t := range r.containers {
		if most == nil || t.bytes > most.bytes {
			most = t
		}
	}
	return most
}

// drop removes the first chunk of t.
func (r *Recorder) drop(t *tape) {
	c := t.first
	if t.first = c.next; t.first == nil {
		t.last = nil
	}
	t.bytes -= cap(c.b)
	r.bytes -= cap(c.b)
	r.stats.Evicted += c.n
}

// Expire drops what is older than Config.Keep at boot time now.
func (r *Recorder) Expire(now uint64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, t := range r.containers {
		for t.first != nil && t.first.until+uint64(r.cfg.Keep) < now {
			r.drop(t)
		}
		if t.first == nil {
			delete(r.containers, name)
		}
	}
}

// A Tape is what was kept of a container.
type Tape struct {
	Cgroups []event.Cgroup   // its cgroups with their paths
	Records []capture.Record // in the order in which they were read
}

// Tape returns a copy of what is kept of a container since boot time since, and whether anything is kept of it at all.
func (r *Recorder) Tape(container string, since uint64) (tape Tape, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.containers[container]
	if t == nil {
		return Tape{}, false
	}
	for g, path := range t.paths {
		tape.Cgroups = append(tape.Cgroups, event.Cgroup{ID: g.ID, V1: g.V1, Path: path})
	}
	slices.SortFunc(tape.Cgroups, func(a, b event.Cgroup) int { return cmp.Compare(a.ID, b.ID) })
	for c := t.first; c != nil; c = c.next {
		if c.until < since {
			continue
		}
		b := append([]byte(nil), c.b...)
		for len(b) > 0 {
			raw, done := int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint32(b[4:]))
			end := entryHead + raw + done
			if binary.LittleEndian.Uint64(b[8:]) >= since {
				tape.Records = append(tape.Records, capture.Record{
					ReadNS: binary.LittleEndian.Uint64(b[16:]), NoResult: b[24] == 1,
					Record: b[entryHead : entryHead+raw : entryHead+raw], Completion: b[entryHead+raw : end : end],
				})
			}
			b = b[end:]
		}
	}
	return tape, true
}

// Containers returns the names of the containers of which something is kept.
func (r *Recorder) Containers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.containers))
	for name := range r.containers {
		names = append(names, name)
	}
	return names
}

// Stats returns the counters.
func (r *Recorder) Stats() Stats {
	if r == nil {
		return Stats{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.stats
	st.Containers, st.Bytes = len(r.containers), r.bytes
	return st
}

var (
	descBytes      = prometheus.NewDesc("tiercel_sensor_recorder_size_bytes", "Memory that the flight recorder holds for events.", nil, nil)
	descContainers = prometheus.NewDesc("tiercel_sensor_recorder_containers", "Containers of which the flight recorder keeps events; the host counts as one.", nil, nil)
	descEvents     = prometheus.NewDesc("tiercel_sensor_recorder_events_total", "Events that the flight recorder took, dropped after their time or for want of room, or passed over beyond the rate.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (r *Recorder) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBytes
	ch <- descContainers
	ch <- descEvents
}

// Collect implements prometheus.Collector.
func (r *Recorder) Collect(ch chan<- prometheus.Metric) {
	st := r.Stats()
	ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, float64(st.Bytes))
	ch <- prometheus.MustNewConstMetric(descContainers, prometheus.GaugeValue, float64(st.Containers))
	ch <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, float64(st.Events), "kept")
	ch <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, float64(st.Evicted), "evicted")
	ch <- prometheus.MustNewConstMetric(descEvents, prometheus.CounterValue, float64(st.Limited), "limited")
}

// Since is the boot time last before now, 0 if that is before the boot.
func Since(now uint64, last time.Duration) uint64 { return now - min(now, uint64(max(last, 0))) }
