package sandbox

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Host performs operations for a guest.
type Host interface {
	// Call performs the operation op and returns its response, both JSON as functions/abi says. Local operations never get here. An
	// *abi.Error is an answer for the guest; any other error ends the invocation: a *Stop is returned by Handle as it is, others
	// inside one. Call is called from one goroutine at a time, and may keep request.
	Call(ctx context.Context, op string, request []byte) (response []byte, err error)
}

// An Invocation is what a guest is run on. The same Invocation and the same answers give the same calls and the same result.
type Invocation struct {
	ID       string    // told to the guest
	Function string    // name, told to the guest
	Event    []byte    // CloudEvent, JSON, structured mode
	Config   []byte    // JSON object; empty counts as {}
	Seed     [32]byte  // of the guest's random numbers
	Time     time.Time // at which the guest's clock begins: the event's
	Limits   Limits
}

// A Report is what an invocation took and wrote.
type Report struct {
	Log        []LogLine
	LogDropped int           // lines that did not fit
	Calls      int           // operations, local ones included
	Fuel       int64         // steps: the same for the same event and answers, on every machine
	Memory     int64         // bytes of linear memory at the end
	Guest      time.Duration // the guest's own time
	Host       time.Duration // time in operations
	Setup      time.Duration // making the instance; part of Limits.Timeout, not of Guest
}

// A LogLine is a line a guest wrote.
type LogLine struct {
	Level abi.Level `json:"level"`
	Text  string    `json:"text"` // valid UTF-8, without control characters but tabs
}

// Handle runs the module on one event. It waits for a free slot first. The Report is never nil.
//
// Without an error the Result is the guest's, whatever its outcome. The error is a *Fault if the guest broke a rule, the *Stop of the
// host, or ctx.Err(); then the Result is failed, with what the guest had declared so far.
func (m *Module) Handle(ctx context.Context, inv Invocation, host Host) (abi.Result, *Report, error) {
	e := m.engine
	select {
	case e.slots <- struct{}{}:
	default: // a select that waits takes longer
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return abi.Result{Outcome: abi.OutcomeFailed}, &Report{}, ctx.Err()
		}
	}
	defer func() { <-e.slots }()
	c := newCall(ctx, &inv, host)
	report := c.report
	res, err := m.run(ctx, c)
	e.metrics.observe(report, err)
	if err == nil {
		c.recycle()
	}
	return res, report, err
}

func (m *Module) run(ctx context.Context, c *call) (abi.Result, error) {
	failed := func(err error) (abi.Result, error) {
		res := c.declared
		res.Outcome, res.Retry = abi.OutcomeFailed, false
		return res, err
	}
	if err := ctx.Err(); err != nil {
		return failed(err)
	}
	if err := c.fits(m); err != nil {
		return failed(err)
	}
	c.clock = newStopwatch(c.inv.Limits.Timeout)
	defer c.clock.stop()
	if err := m.begin(); err != nil {
		return failed(&Stop{err})
	}
	defer m.end()
	in, err := m.take(c.inv.Limits.Memory)
	if err != nil {
		return failed(&Stop{err})
	}
	sound := false
	defer func() { m.give(in, sound) }()
	c.watch.begin(in.memory)
	status, err := m.handle(c, in)
	c.watch.end()
	c.clock.stop()
	c.report.Guest = c.clock.elapsed() - c.report.Setup
	c.report.Memory = int64(in.memory.size)
	c.flush()
	if err != nil || c.fault != nil || c.stop != nil {
		return failed(c.reason(ctx, in.memory, err))
	}
	res, fault := c.result(status)
	if fault == nil && res.Outcome == abi.OutcomeFailed && in.memory.refused {
		fault = c.reason(ctx, in.memory, nil) // a language that goes on without the memory says so in words of its own
	}
	sound = true
	if fault != nil {
		return failed(fault)
	}
	return res, nil
}

// fits refuses what cannot run at all.
func (c *call) fits(m *Module) error {
	if limit := c.inv.Limits.Memory; m.Memory() > limit {
		return &Fault{FaultMemory, fmt.Sprintf("the module begins with %s of memory, its limit is %s%s", size(m.Memory()), size(limit), raise("memory", size(abi.MaxMemory)))}
	}
	if len(c.inv.Event) > abi.MaxEvent {
		return &Stop{fmt.Errorf("event of %d bytes, more than %d", len(c.inv.Event), abi.MaxEvent)}
	}
	return nil
}

// handle calls the handler in an instance, which it makes if it is not there yet.
func (m *Module) handle(c *call, in *instance) (status uint32, err error) {
	defer recoverTo(&err)
	in.memory.same = false // but for what a watch finds
	if in.mod == nil {
		if err = m.prepare(c, in); err != nil {
			return 0, err
		}
		c.report.Setup = c.clock.elapsed()
	}
	c.handling, c.meter.fuel = true, in.fuel
	if c.meter.granted == 0 {
		c.meter.grant(c.inv.Limits.Fuel) // the meter would ask for it at the first step
	}
	status, err = m.driver.handle(c, c, in)
	c.report.Fuel = c.meter.used()
	return status, err
}

// recoverTo turns a panic that got through the engine into an error: whatever a guest does, the host goes on.
func recoverTo(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the engine panicked: %v", v)
	}
}

// reason says why the guest did not come to its end: first what the host did, then which limit was met, then how it trapped.
func (c *call) reason(ctx context.Context, memory *region, err error) error {
	switch {
	case c.stop != nil:
		return c.stop
	case ctx.Err() != nil:
		return ctx.Err()
	case c.fault != nil && (c.fault.Kind != FaultLog || !memory.refused): // running out of memory can take many words
		return c.fault
	case memory.refused:
		return &Fault{FaultMemory, fmt.Sprintf("it needed more than %s of memory%s", size(c.inv.Limits.Memory), raise("memory", size(abi.MaxMemory)))}
	}
	return &Fault{FaultTrap, c.trapText(err)}
}

// trapText is the engine's error, with the last thing the guest wrote to stderr: for Go and Rust that is the panic.
func (c *call) trapText(err error) string {
	text := fmt.Sprint(err)
	if c.exited {
		text = fmt.Sprintf("it exited with status %d", c.exit)
	}
	if c.firstStderr != "" {
		text = c.firstStderr + " (" + firstLine(text) + ")"
	}
	return cut(text, abi.MaxText)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// cut shortens s to at most n bytes on a rune boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// clean makes what a guest wrote safe to print: valid UTF-8, no control characters but tab and line feed.
func clean(s string) string {
	for i := 0; i < len(s) && (s[i] >= ' ' && s[i] < 0x7f || s[i] == '\t' || s[i] == '\n'); i++ {
		if i == len(s)-1 {
			return s
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
