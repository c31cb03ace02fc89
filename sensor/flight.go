package sensor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
	"github.com/tiercel-project/tiercel/sensor/recorder"
)

// unknownContainer is the name under which the flight recorder keeps events of cgroups whose path is not known.
const unknownContainer = "unknown"

// keep gives ev to the flight recorder; p.mu is held.
func (p *pipeline) keep(ev *event.Event) {
	id := p.identity(ev)
	name := id.Container
	switch {
	case id.IsHost():
		name = recorder.Host
	case name == "":
		name = unknownContainer
	}
	p.recorder.Keep(name, p.cgroups.Path(ev.Task.CgroupID, ev.Flags&event.CgroupV1 != 0), ev)
}

// Errors of FlightRecord.
var (
	// ErrRecorderOff means that the sensor runs without its flight recorder.
	ErrRecorderOff = errors.New("the flight recorder is off")
	// ErrNotRecorded means that nothing is kept of a container: it did nothing of the kind that is recorded, or does not exist.
	ErrNotRecorded = errors.New("nothing is recorded of this container")
)

// FlightRecord writes what the flight recorder kept of a container in the last time, with what is known of its processes, as a capture, and
// returns how many events that are. name is the container's id, the first characters of it, its name, its pod's (with or without "NAMESPACE/"), or
// recorder.Host. It is safe for concurrent use.
func (s *Sensor) FlightRecord(w io.Writer, name string, last time.Duration) (events int, err error) {
	rec := s.pipeline.recorder
	if rec == nil {
		return 0, ErrRecorderOff
	}
	full, err := s.recorded(name)
	if err != nil {
		return 0, err
	}
	tape, _ := rec.Tape(full, recorder.Since(bootNS(), last))
	header := capture.NewHeader()
	header.Node, header.Hostname, header.BootOffsetNS = s.cfg.Node, s.cfg.Hostname, s.pipeline.clock.offset.Load()
	out, err := capture.NewWriter(w, header, 0)
	if err != nil {
		return 0, err
	}
	if len(tape.Records) > 0 {
		s.writeBefore(out, full, &tape)
	}
	for i := range tape.Records {
		_ = out.Record(&tape.Records[i]) // an error is Close's too
	}
	return len(tape.Records), out.Close()
}

// recorded returns the container that name means.
func (s *Sensor) recorded(name string) (string, error) {
	names := s.pipeline.recorder.Containers()
	slices.Sort(names)
	var found []string
	for _, n := range names {
		if n == name {
			return n, nil
		}
		if name != "" && strings.HasPrefix(n, name) {
			found = append(found, n)
		}
	}
	if len(found) == 0 && name != "" {
		found = s.named(name, names)
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %q; there is something of %s", ErrNotRecorded, name, list(names))
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("container %q is one of %s", name, list(found))
}

// named returns those of containers that have the name, or are of the pod, "POD" or "NAMESPACE/POD", that name says.
func (s *Sensor) named(name string, containers []string) []string {
	found := map[string]bool{}
	p := &s.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cgroups.Each(func(id *container.Identity) {
		if in := id.Info; in != nil && (name == in.Name || name == in.Pod.Name || name == in.Pod.Namespace+"/"+in.Pod.Name) {
			found[id.Container] = true
		}
	})
	return slices.DeleteFunc(slices.Clone(containers), func(c string) bool { return !found[c] })
}

// list names some containers as people do.
func list(names []string) string {
	const most = 10
	short := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		short = append(short, container.ID{Container: n}.Short())
	}
	switch more := len(names) - len(short); {
	case len(names) == 0:
		return "none"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(short, ", "), more)
	}
	return strings.Join(short, ", ")
}

// writeBefore writes what was there before the first record of the tape: cgroups, the names of the container, and processes that live, who
// are those of the container and their ancestors.
func (s *Sensor) writeBefore(out *capture.Writer, name string, tape *recorder.Tape) {
	before := decode.Time(tape.Records[0].Record)
	read := tape.Records[0].ReadNS
	add := func(record []byte) { _ = out.Record(&capture.Record{ReadNS: read, Record: record}) }
	inside := map[event.Cgroup]bool{}
	for _, g := range tape.Cgroups {
		inside[event.Cgroup{ID: g.ID, V1: g.V1}] = true
		add(decode.CgroupRecord(g.ID, g.V1, g.Path, before))
	}
	p := &s.pipeline
	p.mu.Lock()
	p.cgroups.Each(func(id *container.Identity) {
		if id.Container == name && id.Info != nil {
			_ = out.Container(&capture.Container{ID: id.ID, Info: id.Info})
		}
	})
	p.mu.Unlock()
	for _, ev := range s.processesOf(inside) {
		decode.SetTime(ev.Raw, before)
		add(ev.Raw)
	}
}

// processesOf returns the processes that live in cgroups, and their ancestors, parents first; none if they cannot be read.
func (s *Sensor) processesOf(cgroups map[event.Cgroup]bool) []*event.Event {
	src := s.source.Load()
	if src == nil {
		return nil
	}
	var all []*event.Event
	err := s.reread(*src, func(*event.Event) bool { return false }, func(ev *event.Event) {
		if ev.Task.PID != 0 {
			all = append(all, ev.Clone())
		}
	})
	if err != nil {
		s.log.Warn("processes not read for a flight record", "err", err)
		return nil
	}
	wanted := map[process.Key]bool{}
	for _, ev := range slices.Backward(all) { // children before their parents
		t := &ev.Task
		k := process.Key{PID: t.PID, StartNS: t.StartNS}
		if cgroups[event.Cgroup{ID: t.CgroupID, V1: ev.Flags&event.CgroupV1 != 0}] || wanted[k] {
			wanted[k] = true
			wanted[process.Key{PID: t.PPID, StartNS: t.ParentStartNS}] = true
		}
	}
	return slices.DeleteFunc(all, func(ev *event.Event) bool {
		return !wanted[process.Key{PID: ev.Task.PID, StartNS: ev.Task.StartNS}]
	})
}

// The operation that asks for a flight record, and the headers of its answer.
const (
	RecordOperation = "record"
	HeaderPart      = "Tiercel-Part"  // from 1
	HeaderParts     = "Tiercel-Parts" // how many there are
	HeaderEvents    = "Tiercel-Events"
)

// A RecordRequest asks a sensor for a flight record, on bus.NodeSubject(node, RecordOperation). The answer is a capture in several
// messages, numbered by HeaderPart, or one with the headers of an error (nats.go's micro).
type RecordRequest struct {
	Container string `json:"container"`
	LastMS    int64  `json:"lastMS"` // how far back; 0: all that is kept
}

// recordPart is how much of the answer is in one message; servers take a megabyte.
const recordPart = 256 << 10

// serve answers what others ask of this node until ctx ends.
func (s *Sensor) serve(ctx context.Context) error {
	if s.deps.Bus == nil {
		return nil
	}
	svc, err := micro.AddService(s.deps.Bus.Conn(), micro.Config{
		Name: "tiercel-sensor", Version: "1.0.0", Description: "operations of the node " + s.cfg.Node,
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) { s.log.Warn("node service", "err", err) },
	})
	if err != nil {
		s.log.Warn("nobody can ask for flight records", "err", err)
		return nil
	}
	subject := string(bus.NodeSubject(s.cfg.Node, RecordOperation))
	err = svc.AddEndpoint(RecordOperation, micro.HandlerFunc(s.answerRecord), micro.WithEndpointSubject(subject))
	if err != nil {
		s.log.Warn("nobody can ask for flight records", "err", err)
	}
	<-ctx.Done()
	if err := svc.Stop(); err != nil {
		s.log.Debug("node service not stopped", "err", err)
	}
	return nil
}

// answerRecord answers a RecordRequest.
func (s *Sensor) answerRecord(req micro.Request) {
	var r RecordRequest
	if err := json.Unmarshal(req.Data(), &r); err != nil {
		_ = req.Error("400", "request: "+err.Error(), nil)
		return
	}
	last := time.Duration(r.LastMS) * time.Millisecond
	if last <= 0 {
		last = s.cfg.Recorder.Keep
	}
	var b bytes.Buffer
	events, err := s.FlightRecord(&b, r.Container, last)
	if err != nil {
		code := "500"
		if errors.Is(err, ErrNotRecorded) || errors.Is(err, ErrRecorderOff) {
			code = "404"
		}
		_ = req.Error(code, err.Error(), nil)
		return
	}
	parts := (b.Len() + recordPart - 1) / recordPart
	for i := 1; i <= parts; i++ {
		headers := micro.Headers{
			HeaderPart: {strconv.Itoa(i)}, HeaderParts: {strconv.Itoa(parts)}, HeaderEvents: {strconv.Itoa(events)},
		}
		if err := req.Respond(b.Next(recordPart), micro.WithHeaders(headers)); err != nil {
			s.log.Warn("flight record not sent", "err", err)
			return
		}
	}
}
