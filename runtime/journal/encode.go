package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tiercel-project/tiercel/bus"
)

// An encoder writes the JSON of records whose parts are many and seldom set, in the form that their tags say. encoding/json takes some
// 15 µs for an action, which is more than it takes to store one.
type encoder struct {
	dst []byte
	err error
}

// encoders are those that nobody uses.
var encoders = sync.Pool{New: func() any { return &encoder{dst: make([]byte, 0, 4096)} }}

// newEncoder returns an encoder that has written nothing. Who has it frees it, and uses what it wrote no more.
func newEncoder() *encoder { return encoders.Get().(*encoder) }

func (e *encoder) free() {
	const most = 64 << 10 // what is larger is seldom, and is not kept
	if cap(e.dst) <= most {
		e.dst, e.err = e.dst[:0], nil
		encoders.Put(e)
	}
}

func (e *encoder) open() { e.dst = append(e.dst, '{') }

func (e *encoder) close() { e.dst = append(e.dst, '}') }

func (e *encoder) key(k string) {
	if c := e.dst[len(e.dst)-1]; c != '{' && c != '[' {
		e.dst = append(e.dst, ',')
	}
	e.dst = append(append(append(e.dst, '"'), k...), '"', ':')
}

func (e *encoder) text(k, v string) {
	e.key(k)
	e.dst = bus.AppendString(e.dst, v)
}

func (e *encoder) textIf(k, v string) {
	if v != "" {
		e.text(k, v)
	}
}

func (e *encoder) number(k string, n int64) {
	e.key(k)
	e.dst = strconv.AppendInt(e.dst, n, 10)
}

func (e *encoder) numberIf(k string, n int64) {
	if n != 0 {
		e.number(k, n)
	}
}

func (e *encoder) sequenceIf(k string, n uint64) {
	if n != 0 {
		e.key(k)
		e.dst = strconv.AppendUint(e.dst, n, 10)
	}
}

func (e *encoder) flagIf(k string, v bool) {
	if v {
		e.key(k)
		e.dst = append(e.dst, "true"...)
	}
}

func (e *encoder) time(k string, t time.Time) {
	e.key(k)
	b, err := t.AppendText(append(e.dst, '"'))
	if err != nil {
		e.fail(k, err)
		return
	}
	e.dst = append(b, '"')
}

func (e *encoder) timeIf(k string, t time.Time) {
	if !t.IsZero() {
		e.time(k, t)
	}
}

// raw writes what is JSON already.
func (e *encoder) raw(k string, v json.RawMessage) {
	switch {
	case len(v) == 0:
	case !bus.Valid(v):
		e.fail(k, errors.New("not JSON"))
	default:
		e.key(k)
		e.dst = append(e.dst, v...)
	}
}

// other writes what is seldom there.
func (e *encoder) other(k string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		e.fail(k, err)
		return
	}
	e.key(k)
	e.dst = append(e.dst, b...)
}

func (e *encoder) fail(k string, err error) {
	if e.err == nil {
		e.err = fmt.Errorf("%s: %w", k, err)
	}
}

// list writes n values.
func (e *encoder) list(k string, n int, f func(i int)) {
	e.key(k)
	e.dst = append(e.dst, '[')
	for i := range n {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		f(i)
	}
	e.dst = append(e.dst, ']')
}

func (e *encoder) action(a *Action) {
	e.open()
	e.text("id", a.ID)
	e.key("function")
	e.open()
	e.text("tenant", a.Function.Tenant)
	e.text("name", a.Function.Name)
	e.text("uid", a.Function.UID)
	e.close()
	e.textIf("mode", string(a.Mode))
	e.key("event")
	e.event(&a.Event)
	if a.Pins != (Pins{}) {
		e.key("pins")
		e.pins(&a.Pins)
	}
	e.text("outcome", string(a.Outcome))
	e.key("end")
	e.end(&a.End)
	if len(a.Attempts) > 0 {
		e.list("attempts", len(a.Attempts), func(i int) { e.attempt(&a.Attempts[i]) })
	}
	if len(a.Calls) > 0 {
		e.list("calls", len(a.Calls), func(i int) { e.call(&a.Calls[i]) })
	}
	if a.Revert != nil {
		e.other("revert", a.Revert)
	}
	if a.Waiting != nil {
		e.other("waiting", a.Waiting)
	}
	if a.Skips != nil {
		e.other("skips", a.Skips)
	}
	e.timeIf("ended", a.Ended)
	e.timeIf("sealed", a.Sealed)
	e.sequenceIf("sequence", a.Sequence)
	e.close()
}

// outcome writes the CloudEvent of that id about an action that has ended. Its data is a Settled.
func (e *encoder) outcome(a *Action, id string) {
	data := newEncoder()
	defer data.free()
	data.settled(a)
	if e.err = data.err; e.err != nil {
		return
	}
	e.dst = bus.Append(e.dst, &bus.Event{
		ID: id, Source: "/tiercel/runtime/" + a.Function.Token(), Type: bus.TypeInvocationSettled, Subject: a.Event.Subject,
		Time: a.Ended, Rule: a.Event.Rule, Priority: a.Event.Priority, TraceParent: a.Event.Trace, Data: data.dst,
	})
}

// settled writes what Settled says of an action.
func (e *encoder) settled(a *Action) {
	e.open()
	e.text("invocation", a.ID)
	e.text("function", a.Function.Tenant+"/"+a.Function.Name)
	e.text("mode", string(a.Mode))
	e.text("outcome", string(a.Outcome))
	e.textIf("reason", a.End.Reason)
	e.textIf("text", a.End.Text)
	e.text("event", a.Event.ID)
	e.textIf("rule", a.Event.Rule)
	if a.Event.Target != (bus.Target{}) {
		e.key("target")
		e.dst = a.Event.Target.AppendJSON(e.dst)
	}
	first := true
	for i := range a.Calls {
		c := &a.Calls[i]
		if c.Object == "" {
			continue
		}
		if first {
			e.key("effects")
			e.dst = append(e.dst, '[')
		} else {
			e.dst = append(e.dst, ',')
		}
		first = false
		e.dst = bus.AppendString(e.dst, c.Op+" "+c.Object)
	}
	if !first {
		e.dst = append(e.dst, ']')
	}
	e.close()
}

func (e *encoder) event(r *EventRef) {
	e.open()
	e.text("id", r.ID)
	e.textIf("source", r.Source)
	e.textIf("subject", r.Subject)
	e.time("time", r.Time)
	e.time("published", r.Published)
	e.time("started", r.Started)
	e.sequenceIf("sequence", r.Sequence)
	e.textIf("rule", r.Rule)
	e.textIf("priority", r.Priority)
	e.textIf("address", r.Address)
	e.textIf("traceparent", r.Trace)
	if r.Target != (bus.Target{}) {
		e.key("target")
		e.dst = r.Target.AppendJSON(e.dst)
	}
	if r.Manual != nil {
		e.other("manual", r.Manual)
	}
	e.close()
}

func (e *encoder) pins(p *Pins) {
	e.open()
	e.key("revision")
	e.dst = strconv.AppendUint(e.dst, p.Revision, 10)
	e.text("module", p.Module)
	e.textIf("config", p.Config)
	e.textIf("image", p.Image)
	e.textIf("sandbox", p.Sandbox)
	e.text("abi", p.ABI)
	e.text("arch", p.Arch)
	e.close()
}

func (e *encoder) end(x *End) {
	e.open()
	e.text("outcome", string(x.Outcome))
	e.textIf("reason", x.Reason)
	e.textIf("code", string(x.Code))
	e.textIf("text", x.Text)
	e.raw("data", x.Data)
	if len(x.Log) > 0 {
		e.list("log", len(x.Log), func(i int) {
			e.open()
			e.text("level", x.Log[i].Level)
			e.text("text", x.Log[i].Text)
			e.close()
		})
	}
	e.numberIf("logDropped", int64(x.Dropped))
	e.numberIf("guest", int64(x.Guest))
	e.close()
}

func (e *encoder) attempt(a *Attempt) {
	e.open()
	e.number("number", int64(a.Number))
	e.text("runtime", a.Runtime)
	e.time("time", a.Time)
	e.text("decision", a.Decision)
	e.textIf("ended", a.Ended)
	e.close()
}

func (e *encoder) call(c *Call) {
	e.open()
	e.number("step", int64(c.Step))
	e.text("op", c.Op)
	e.textIf("request", c.Request)
	if c.Prepared != nil {
		e.other("prepared", c.Prepared)
	}
	e.textIf("effect", c.Effect)
	e.timeIf("revertAt", c.RevertAt)
	e.time("start", c.Start)
	e.timeIf("done", c.Done)
	e.numberIf("tries", int64(c.Tries))
	e.flagIf("found", c.Found)
	e.raw("response", c.Response)
	e.textIf("body", c.Body)
	if c.Error != nil {
		e.other("error", c.Error)
	}
	if c.Inverse != nil {
		e.other("inverse", c.Inverse)
	}
	e.textIf("object", c.Object)
	e.flagIf("rehearsed", c.Rehearsed)
	e.flagIf("reverted", c.Reverted)
	e.textIf("note", c.Note)
	e.raw("before", c.Before)
	e.raw("after", c.After)
	e.close()
}
