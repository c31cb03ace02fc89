// Package tiercel is the SDK for functions in Go. A function is a main package that calls [Handle] in an init function and is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o function.wasm
//
// (tiercel fn build does that and adds manifest.json). For each [Event] that its triggers select, the runtime starts it afresh and calls
// the handler once; nothing in memory lasts from one event to the next. The package imports little, and encoding/json not at all: a
// handler that does so too starts in milliseconds. Read [Handle], then [Event].
//
// Everything here is for one goroutine, the handler's.
package tiercel

import (
	"errors"
	"runtime"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// An Error is an operation's error: what code it has decides what to do about it.
type Error = abi.Error

// A Code says what kind of error an operation answered with.
type Code = abi.Code

// Codes of errors; functions/abi says when each is given.
const (
	CodeInvalid     = abi.CodeInvalid
	CodeUnsupported = abi.CodeUnsupported
	CodeDenied      = abi.CodeDenied
	CodeForbidden   = abi.CodeForbidden
	CodeNotFound    = abi.CodeNotFound
	CodeExists      = abi.CodeExists
	CodeConflict    = abi.CodeConflict
	CodeTooLarge    = abi.CodeTooLarge
	CodeTimeout     = abi.CodeTimeout
	CodeUnavailable = abi.CodeUnavailable
	CodeInternal    = abi.CodeInternal
)

// CodeOf returns the code of the Error that err is or wraps, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

var handler func(Event) error

// Handle registers the function's handler; call it once, in an init function.
//
// If the handler returns nil the invocation's outcome is succeeded. If it returns an error it is failed, with the error's text, unless
// the error says otherwise: see [Skip], [Ineffective] and [Retry]. A panic is a failure too; its stack goes to the log.
func Handle(f func(ev Event) error) {
	if handler != nil {
		panic("tiercel: Handle called twice")
	}
	handler = f
}

// An outcomeError is an error that says how the invocation ends.
type outcomeError struct {
	outcome abi.Outcome
	text    string
	retry   bool
	err     error
}

func (e *outcomeError) Error() string { return e.text }
func (e *outcomeError) Unwrap() error { return e.err }

// Skip returns an error that ends the invocation as skipped: there is nothing to do for this event, and why says the reason.
func Skip(why string) error { return &outcomeError{outcome: abi.OutcomeSkipped, text: why} }

// Ineffective returns an error that ends the invocation as ineffective: it was done, but does not have the effect it is for.
func Ineffective(why string) error {
	return &outcomeError{outcome: abi.OutcomeIneffective, text: why}
}

// Retry returns an error that ends the invocation as failed and asks for a fresh attempt, which is made only if nothing has been
// written yet. It returns nil if err is nil.
func Retry(err error) error {
	if err == nil {
		return nil
	}
	return &outcomeError{outcome: abi.OutcomeFailed, text: err.Error(), retry: true, err: err}
}

// Report adds a value, as it is now, to the data that is shown with the invocation, under a key of the function's own. What value may be:
// [AppendJSON].
func Report(key string, value any) {
	text, err := AppendJSON(alloc(firstValue)[:0], value)
	r := reported{key, text, err == nil}
	for i := range current.data {
		if current.data[i].key == key {
			current.data[i] = r
			return
		}
	}
	current.data = append(current.data, r)
}

// firstValue is the room a reported value is given at first.
const firstValue = 128

// An invocation is the state of one run.
type invocation struct {
	host   host
	config Value
	self   Value
	data   []reported

	progressed bool // the host holds a text of Progress
}

// A reported is a value of a result's data.
type reported struct {
	key  string
	text []byte // JSON
	ok   bool   // it is
}

var (
	current invocation
	few     [8]reported // room for an invocation's data
)

// A Host is where operations go: a test's own in a native test, see Run. In a module they go to the runtime.
type Host interface {
	// Call performs an operation; an *Error is an answer.
	Call(op string, request []byte) (response []byte, err error)
	// Log takes a line of the log.
	Log(level abi.Level, line string)
}

// run handles one event, which pad bytes follow, and returns the status and the output of tiercel_handle.
func run(event []byte) (status int32, output []byte) {
	current.config, current.self, current.data, current.progressed = Value{}, Value{}, few[:0], false
	err := handle(event)
	if err == nil && len(current.data) == 0 && !current.progressed {
		return abi.StatusOK, nil
	}
	res := describe(err)
	q := newRequest().text("code", string(res.Code))
	if len(current.data) > 0 {
		if q, err = appendData(q.key("data")); err != nil { // by what the handler reported
			res = describe(err)
			q = newRequest()
		}
	}
	q = q.text("outcome", string(res.Outcome))
	if res.Retry {
		q = append(q.key("retry"), "true"...)
	}
	q = append(q.text("text", res.Text), '}')
	if res.Outcome == abi.OutcomeFailed {
		return abi.StatusFailed, q
	}
	return abi.StatusOK, q
}

// appendData writes what was reported, by its keys' order.
func appendData(q request) (request, error) {
	q = q.open()
	for i := range current.data { // they are few
		for k := i; k > 0 && current.data[k].key < current.data[k-1].key; k-- {
			current.data[k], current.data[k-1] = current.data[k-1], current.data[k]
		}
	}
	for i := range current.data {
		r := &current.data[i]
		if !r.ok {
			return nil, ErrValue
		}
		if i > 0 {
			q = append(q, ',')
		}
		q = append(append(q.appendText(r.key), ':'), r.text...)
	}
	return append(q, '}'), nil
}

// describe returns what a result says about err, which may be nil.
func describe(err error) abi.Result {
	if err == nil {
		return abi.Result{Outcome: abi.OutcomeSucceeded}
	}
	res := abi.Result{Outcome: abi.OutcomeFailed, Text: err.Error()}
	var o *outcomeError
	if errors.As(err, &o) {
		res.Outcome, res.Retry = o.outcome, o.retry
	}
	var e *Error
	if errors.As(err, &e) && res.Outcome == abi.OutcomeFailed {
		res.Code, res.Retry = e.Code, res.Retry || e.Retry
	}
	return res
}

// handle parses the event and calls the handler.
func handle(event []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stack := make([]byte, 4<<10)
			LogAt(abi.LevelError, string(stack[:runtime.Stack(stack, false)])) // runtime/debug would bring in fmt and os
			err = errors.New("panic: " + panicText(v))
		}
	}()
	if handler == nil {
		return errors.New("no handler: call tiercel.Handle in an init function")
	}
	var ev Event
	if err := ev.parse(event); err != nil {
		return err
	}
	return handler(ev)
}

func panicText(v any) string {
	switch v := v.(type) {
	case error:
		return v.Error()
	case string:
		return v
	case interface{ String() string }:
		return v.String()
	}
	return "a value that is neither text nor an error"
}
