package testcase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// A Module runs functions; *sandbox.Module is one.
type Module interface {
	Handle(ctx context.Context, inv sandbox.Invocation, host sandbox.Host) (abi.Result, *sandbox.Report, error)
	Manifest() abi.Manifest
}

// A Run is what a function did with a case.
type Run struct {
	Requests []Request
	Result   abi.Result
	Fault    *sandbox.Fault // what it was stopped for
	Log      []sandbox.LogLine
}

// A Request is a call as the function made it.
type Request struct {
	Op   string
	Body []byte
}

// Run runs the module on the case. The error is an *Error about the answers, which is the case's own, or the sandbox's.
func (c *Case) Run(ctx context.Context, m Module, limits sandbox.Limits) (*Run, error) {
	config, err := manifest.ApplyConfig(m.Manifest().Config, c.Config)
	if err != nil {
		return nil, c.bad(max(c.lines[partConfig], 1), "config: %w", err)
	}
	e, err := bus.Unmarshal(c.Event)
	if err != nil {
		return nil, c.bad(max(c.lines[partEvent], 1), "event: %w", err)
	}
	h := &host{c: c}
	inv := sandbox.Invocation{
		ID: c.ID, Function: c.Function, Event: c.Event, Config: config, Seed: sha256.Sum256([]byte(c.ID)), Time: e.Time, Limits: limits,
	}
	if inv.Function == "" {
		inv.Function = m.Manifest().Name
	}
	res, report, err := m.Handle(ctx, inv, h)
	run := &Run{Requests: h.requests, Result: res, Log: report.Log}
	if fault, ok := errors.AsType[*sandbox.Fault](err); ok {
		run.Fault = fault
	} else if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return run, e
		}
		return run, err
	}
	if h.next < len(c.Answers) {
		a := c.Answers[h.next]
		return run, c.bad(a.Line, "the function did not ask for this: it made %s", calls(len(h.requests)))
	}
	return run, nil
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// A host gives the answers of a case in their order.
type host struct {
	c        *Case
	requests []Request
	next     int
}

func (h *host) Call(_ context.Context, op string, request []byte) ([]byte, error) {
	h.requests = append(h.requests, Request{op, bytes.Clone(request)})
	if h.next == len(h.c.Answers) {
		line := max(h.c.lines[partAnswers], 1)
		if h.next > 0 {
			line = h.c.Answers[h.next-1].Line
		}
		return nil, &sandbox.Stop{Err: h.c.bad(line, "there is no answer to call %d, %s; add it to the part answers", h.next+1, strings.TrimSpace(block(op, request)))}
	}
	a := h.c.Answers[h.next]
	if a.Op != op {
		return nil, &sandbox.Stop{Err: h.c.bad(a.Line, "call %d is %s: this answer is to %s", h.next+1, strings.TrimSpace(block(op, request)), a.Op)}
	}
	h.next++
	if a.Error != nil {
		return nil, a.Error
	}
	return a.Response, nil
}

// parts returns the golden parts of a run.
func (r *Run) parts() map[string]string {
	var calls, log strings.Builder
	for _, q := range r.Requests {
		calls.WriteString(block(q.Op, q.Body))
	}
	for _, l := range r.Log {
		fmt.Fprintf(&log, "%s %s\n", l.Level, l.Text)
	}
	result := block("", encode(r.Result))
	if r.Fault != nil {
		result = block("", encode(map[string]any{"outcome": abi.OutcomeFailed, "fault": r.Fault.Kind, "text": r.Fault.Text}))
	}
	return map[string]string{partCalls: calls.String(), partResult: result, partLog: log.String()}
}

// Compare returns what is different from what the case expects: for each part an *Error at the first line that differs, with a diff.
func (c *Case) Compare(r *Run) error {
	var errs []error
	for _, name := range golden {
		got, want := r.parts()[name], c.section(name)
		if got == want {
			continue
		}
		line := max(c.lines[name], 1)
		if c.lines[name] != 0 {
			line += firstDifference(want, got)
		}
		d := string(diff.Diff("want", []byte(want), "got", []byte(got)))
		if _, rest, ok := strings.Cut(d, "+++ got\n"); ok {
			d = rest
		}
		errs = append(errs, c.bad(line, "%s (-want +got):\n%s", name, strings.TrimRight(d, "\n")))
	}
	return errors.Join(errs...)
}

func firstDifference(want, got string) int {
	n := 0
	for {
		w, wr, wok := strings.Cut(want, "\n")
		g, gr, gok := strings.Cut(got, "\n")
		if w != g || !wok || !gok {
			return n
		}
		want, got, n = wr, gr, n+1
	}
}

func (c *Case) section(name string) string {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// Update makes the case expect what the run did.
func (c *Case) Update(r *Run) {
	for _, name := range golden {
		c.set(name, r.parts()[name])
	}
}

// set replaces a part, or adds it.
func (c *Case) set(name, text string) {
	for i, f := range c.archive.Files {
		if f.Name == name {
			c.archive.Files[i].Data = []byte(text)
			return
		}
	}
	c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(text)})
}

// Format returns the case as Parse reads it.
func (c *Case) Format() []byte { return txtar.Format(c.archive) }

// Save writes the case to its file.
func (c *Case) Save() error { return os.WriteFile(c.File, c.Format(), 0o644) }

// encode is v as JSON.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(fmt.Sprintf("%q", err))
	}
	return b
}
