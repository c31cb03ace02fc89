package tiercel

import (
	"strconv"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// Call performs an operation by its name, as functions/abi lists them: for those that this package has no function for. The error is
// an *Error, or ErrValue for a request that AppendJSON does not write.
func Call(op string, request any) (Value, error) {
	body, err := AppendJSON(make([]byte, 0, 512), request)
	if err != nil {
		return Value{}, err
	}
	response, err := current.host.Call(op, body)
	if err != nil {
		return Value{}, err
	}
	v, err := ParseJSON(response)
	if err != nil {
		return Value{}, &Error{Code: CodeInternal, Text: op + ": the response is not JSON"}
	}
	return v, nil
}

// parseError reads the response of a call that failed.
func parseError(response []byte) error {
	v, err := ParseJSON(response)
	if err != nil {
		return &Error{Code: CodeInternal, Text: "the error is not JSON"}
	}
	return &Error{Code: Code(v.Get("code").String()), Text: v.Get("text").String(), Retry: v.Get("retry").Bool()}
}

// Config returns the function's configuration, with the defaults of the manifest's schema.
func Config() Value {
	if !current.config.Exists() {
		current.config, _ = Call(abi.OpConfig, Object{}) // a local operation: it does not fail
	}
	return current.config
}

// InvocationID returns the id of this invocation, which is the same for every attempt at the same event.
func InvocationID() string { return invocationValue().Get("id").String() }

// FunctionName returns the name the function is deployed under.
func FunctionName() string { return invocationValue().Get("function").String() }

func invocationValue() Value {
	if !current.self.Exists() {
		current.self, _ = Call(abi.OpInvocation, Object{}) // a local operation: it does not fail
	}
	return current.self
}

// Progress says how far the handler has come. It is reported if the function is stopped before it returns.
func Progress(text string) {
	_, _ = Call(abi.OpOutcome, Object{"outcome": string(abi.OutcomeSucceeded), "text": text}) // a local operation: it does not fail
}

// Secret returns the handle of a secret, to be used in the URL or a header of an HTTP request, where the runtime fills in the value. The
// function never sees it. key names one of a Secret's several; it may be empty.
func Secret(name, key string) (handle string, err error) {
	request := Object{"name": name}
	if key != "" {
		request["key"] = key
	}
	v, err := Call(abi.OpSecret, request)
	return v.Get("handle").String(), err
}

// Log writes a line to the invocation's log. Parts are texts, numbers, booleans, errors and Values; others are written as "?".
func Log(parts ...any) { LogAt(abi.LevelInfo, parts...) }

// Warn is Log at level warn.
func Warn(parts ...any) { LogAt(abi.LevelWarn, parts...) }

// LogAt is Log at a level.
func LogAt(level abi.Level, parts ...any) {
	var line []byte
	for i, p := range parts {
		if i > 0 {
			line = append(line, ' ')
		}
		switch p := p.(type) {
		case string:
			line = append(line, p...)
		case error:
			line = append(line, p.Error()...)
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
	current.host.Log(level, string(line))
}
