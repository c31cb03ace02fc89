package tiercel

import (
	"strconv"
	"unsafe"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// Call performs an operation by its name, as functions/abi lists them: for those that this package has no function for. The error is
// an *Error, or ErrValue for a request that AppendJSON does not write.
func Call(op string, request any) (Value, error) {
	body, err := AppendJSON(alloc(firstRequest)[:0], request)
	if err != nil {
		return Value{}, err
	}
	return call(op, body)
}

func call(op string, request []byte) (Value, error) {
	response, failed, err := perform(op, request)
	if err != nil {
		return Value{}, err
	}
	if failed {
		return Value{}, parseError(response)
	}
	v, err := parse(response)
	if err != nil {
		return Value{}, &Error{Code: CodeInternal, Text: op + ": the response is not JSON"}
	}
	return v, nil
}

// firstRequest is the room a request is given at first.
const firstRequest = 512

// A request is an operation's that is being written, a key at a time and without the maps of an Object. An empty text is left out.
type request []byte

func newRequest() request { return append(alloc(firstRequest)[:0], '{') }

// key begins a field; k has nothing to escape.
func (q request) key(k string) request {
	n, separator := len(q), byte(',')
	if q[n-1] == '{' {
		n, separator = n-1, '{'
	}
	if room := n + len(k) + 4; room <= cap(q) {
		q = q[:room]
		q[n], q[n+1], q[room-2], q[room-1] = separator, '"', '"', ':'
		copy(q[n+2:], k)
		return q
	}
	return append(append(append(q[:n], separator, '"'), k...), '"', ':')
}

func (q request) open() request { return append(q, '{') }

func (q request) appendText(s string) request { return appendText(q, s) }

func (q request) text(k, s string) request {
	if s == "" {
		return q
	}
	return appendText(q.key(k), s)
}

func (q request) number(k string, n int64) request { return strconv.AppendInt(q.key(k), n, 10) }

// value adds what AppendJSON writes; what it does not write makes the request one that send refuses.
func (q request) value(k string, v any) request {
	if r, ok := v.(request); ok {
		return append(q.key(k), r...)
	}
	out, err := AppendJSON(q.key(k), v)
	if err != nil {
		q[0] = 0
		return q
	}
	return out
}

// send performs the operation. The error is an *Error or ErrValue.
func (q request) send(op string) (Value, error) {
	if q[0] == 0 {
		return Value{}, ErrValue
	}
	return call(op, append(q, '}'))
}

// parseError reads the response of a call that failed, which pad bytes follow.
func parseError(response []byte) error {
	v, err := parse(response)
	if err != nil {
		return &Error{Code: CodeInternal, Text: "the error is not JSON"}
	}
	return &Error{Code: Code(v.Get("code").String()), Text: v.Get("text").String(), Retry: v.Get("retry").Bool()}
}

// Config returns the function's configuration, with the defaults of the manifest's schema.
func Config() Value {
	if !current.config.Exists() {
		current.config, _ = newRequest().send(abi.OpConfig) // a local operation: it does not fail
	}
	return current.config
}

// InvocationID returns the id of this invocation, which is the same for every attempt at the same event.
func InvocationID() string { return invocationValue().Get("id").String() }

// FunctionName returns the name the function is deployed under.
func FunctionName() string { return invocationValue().Get("function").String() }

func invocationValue() Value {
	if !current.self.Exists() {
		current.self, _ = newRequest().send(abi.OpInvocation) // a local operation: it does not fail
	}
	return current.self
}

// Progress says how far the handler has come. It is reported if the function is stopped before it returns.
func Progress(text string) {
	current.progressed = true // so that what the handler ends with replaces it
	q := newRequest().text("outcome", string(abi.OutcomeSucceeded)).key("text").appendText(text)
	_, _ = q.send(abi.OpOutcome) // a local operation: it does not fail
}

// Secret returns the handle of a secret, to be used in the URL or a header of an HTTP request, where the runtime fills in the value. The
// function never sees it. key names one of a Secret's several; it may be empty.
func Secret(name, key string) (handle string, err error) {
	v, err := newRequest().text("key", key).key("name").appendText(name).send(abi.OpSecret)
	return v.get("handle").String(), err
}

// Log writes a line to the invocation's log. Parts are texts, numbers, booleans, errors and Values; others are written as "?".
func Log(parts ...any) { LogAt(abi.LevelInfo, parts...) }

// Warn is Log at level warn.
func Warn(parts ...any) { LogAt(abi.LevelWarn, parts...) }

// firstLine is the room a line of the log is given at first.
const firstLine = 256

// LogAt is Log at a level.
func LogAt(level abi.Level, parts ...any) {
	line := alloc(firstLine)[:0]
	for i, p := range parts {
		if i > 0 {
			line = append(line, ' ')
		}
		switch p := p.(type) {
		case string:
			line = append(line, p...)
		case error:
			line = append(line, (*hidden(&p)).Error()...)
		case Value:
			line = append(line, p.Raw()...)
		case int:
			line = strconv.AppendInt(line, int64(p), 10)
		case int64:
			line = strconv.AppendInt(line, p, 10)
		case uint64:
			line = strconv.AppendUint(line, p, 10)
		case bool:
			line = strconv.AppendBool(line, p)
		default:
			line = append(line, '?')
		}
	}
	writeLine(level, line)
}

// hidden returns p without the compiler seeing that it is the same: what is handed to Log need not be on the heap then, though its Error is
// called, which must not keep what it belongs to.
func hidden(p *error) *error {
	x := uintptr(unsafe.Pointer(p))
	return *(**error)(unsafe.Pointer(&x))
}
