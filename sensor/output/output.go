package output

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// A Format is the form of an alert in a line.
type Format string

// Formats.
const (
	Text Format = "text" // Falco's text line
	JSON Format = "json" // Falco's JSON object, key for key
)

// An Alert can write itself in both formats; *rules.Alert does.
type Alert interface {
	AppendText(dst []byte) []byte
	AppendJSON(dst []byte) []byte
}

// A sink is where an Output's lines go. Its methods are called by one goroutine.
type sink interface {
	// write takes a batch of lines, each with its newline, or one message; it may block until ctx ends.
	write(ctx context.Context, b []byte) error
	close() error
}

// A taker is a sink that can take bytes without waiting.
type taker interface {
	// tryWrite takes as much of b as there is room for now and returns how much that is. It never blocks. Only one goroutine calls it at a
	// time, and none while write is called.
	tryWrite(b []byte) int
}

// A starter is a sink that can begin to take bytes without waiting, and knows only later whether they were taken.
type starter interface {
	// start begins with b and reports whether it has. It never blocks. write is called with the same bytes next, in any case. Calls are as those
	// of tryWrite.
	start(b []byte) bool
}

// Stats are counters of an Output.
type Stats struct {
	Name    string
	Written uint64 // alerts that the sink took
	Dropped uint64 // alerts that found the queue full
	Failed  uint64 // alerts that the sink did not take, after all attempts
}

// An Output is a queue of alerts and the place they go to. Make one with NewStream, NewFile, NewHTTP, NewSyslog or
// NewProgram.
type Output struct {
	name    string
	format  Format
	sink    sink
	batch   bool // several alerts may go into one write
	onError func(error)
	head    func(dst []byte, a Alert) []byte // what stands before an alert; may be nil

	mu     sync.Mutex
	closed bool   // guarded by mu, as is the sending to queue
	behind int    // guarded by mu: alerts that were queued and have not been written
	line   []byte // guarded by mu: of Send
	queue  chan Alert
	ended  chan struct{} // closed when Run has returned
	buf    []byte        // of Run

	written, dropped, failed atomic.Uint64
}

func newOutput(name string, format Format, s sink, batch bool, queue int, onError func(error)) *Output {
	if onError == nil {
		onError = func(error) {}
	}
	return &Output{name: name, format: format, sink: s, batch: batch, queue: make(chan Alert, queue), ended: make(chan struct{}), onError: onError}
}

// Name is "stdout", "file", "http", "syslog" or "program".
func (o *Output) Name() string { return o.name }

// Stats returns the counters. It is safe for concurrent use.
func (o *Output) Stats() Stats {
	return Stats{Name: o.name, Written: o.written.Load(), Dropped: o.dropped.Load(), Failed: o.failed.Load()}
}

// Send hands a on and reports whether there was room. A sink that can take it at once, with nothing before it in the queue, gets it at once:
// no goroutine has to be woken for it. Otherwise it is queued. Send never blocks and is safe for concurrent use. After Close it reports false.
func (o *Output) Send(a Alert) bool {
	room, _ := o.send(a)
	return room
}

// send is Send, and reports too whether some of a has left at once.
func (o *Output) send(a Alert) (room, direct bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		if o.behind == 0 { // the queue is empty, and nobody writes
			switch s := o.sink.(type) {
			case taker:
				left := o.direct(s, a)
				if left == nil {
					return true, true
				}
				_, direct = left.(rest)
				a = left
			case starter:
				o.line = o.append(o.line[:0], a)
				direct = s.start(o.line)
			}
		}
		select {
		case o.queue <- a:
			o.behind++
			return true, direct
		default:
		}
	}
	o.dropped.Add(1)
	return false, direct
}

// direct has the sink take a now and returns what is left of it to be queued; nil: nothing.
func (o *Output) direct(t taker, a Alert) Alert {
	o.line = o.append(o.line[:0], a)
	switch n := t.tryWrite(o.line); {
	case n <= 0:
		return a
	case n < len(o.line):
		return rest(bytes.Clone(o.line[n : len(o.line)-1]))
	}
	o.written.Add(1)
	return nil
}

// A rest is the end of a line, without its newline, whose beginning has been written.
type rest []byte

func (r rest) AppendText(dst []byte) []byte { return append(dst, r...) }
func (r rest) AppendJSON(dst []byte) []byte { return append(dst, r...) }

// Close lets Run end once what is queued has been written.
func (o *Output) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.queue)
	}
}

// maxBatch is how many bytes go into one write at most.
const maxBatch = 64 << 10

// Wait waits after Close until Run has written what was queued, and reports whether that was before ctx ended.
func (o *Output) Wait(ctx context.Context) bool {
	select {
	case <-o.ended:
		return true
	case <-ctx.Done():
	}
	select {
	case <-o.ended: // before, or together with ctx
		return true
	default:
		return false
	}
}

// Pending is how many alerts were queued and have not been written. It is safe for concurrent use.
func (o *Output) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.behind
}

// Run writes what is queued until Close, or until ctx ends, which gives up on the rest. It is called once.
func (o *Output) Run(ctx context.Context) error {
	defer close(o.ended)
	defer func() { _ = o.sink.close() }()
	for {
		select {
		case <-ctx.Done():
			o.dropped.Add(uint64(len(o.queue)))
			return nil
		case a, ok := <-o.queue:
			if !ok {
				return nil
			}
			o.take(ctx, a)
		}
	}
}

// take writes a, and what else is queued if the sink takes batches.
func (o *Output) take(ctx context.Context, a Alert) {
	o.buf = o.append(o.buf[:0], a)
	n := uint64(1)
	for o.batch && len(o.buf) < maxBatch {
		next, ok := o.poll()
		if !ok {
			break
		}
		o.buf = o.append(o.buf, next)
		n++
	}
	err := o.sink.write(ctx, o.buf)
	o.mu.Lock()
	o.behind -= int(n)
	o.mu.Unlock()
	if err != nil {
		o.failed.Add(n)
		if !errors.Is(err, context.Canceled) {
			o.onError(err)
		}
		return
	}
	o.written.Add(n)
}

func (o *Output) poll() (Alert, bool) {
	select {
	case a, ok := <-o.queue:
		return a, ok
	default:
		return nil, false
	}
}

func (o *Output) append(dst []byte, a Alert) []byte {
	if o.head != nil {
		dst = o.head(dst, a)
	}
	if o.format == JSON {
		dst = a.AppendJSON(dst)
	} else {
		dst = a.AppendText(dst)
	}
	return append(dst, '\n')
}
