package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// result reads what the guest returned.
func (c *call) result(status uint32) (abi.Result, error) {
	out := bytes.TrimSpace(c.output)
	garbage := func(format string, args ...any) (abi.Result, error) {
		return abi.Result{}, &Fault{FaultGarbage, fmt.Sprintf(format, args...)}
	}
	switch {
	case status != abi.StatusOK && status != abi.StatusFailed:
		return garbage("%s returned %d", abi.ExportHandle, int32(status))
	case len(out) == 0 && c.declared.Outcome != "" && (status == abi.StatusOK || c.declared.Outcome == abi.OutcomeFailed):
		return c.declared, nil
	case len(out) == 0 && status == abi.StatusOK:
		return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
	case status == abi.StatusFailed && (len(out) == 0 || out[0] != '{'):
		return abi.Result{Outcome: abi.OutcomeFailed, Text: cut(clean(string(out)), abi.MaxText)}, nil
	}
	res, err := decodeResult(out)
	if err != nil {
		return garbage("its result %q: %v", cut(string(out), 200), err)
	}
	if (status == abi.StatusFailed) != (res.Outcome == abi.OutcomeFailed) {
		return garbage("it returned status %d with outcome %q", status, res.Outcome)
	}
	return res, nil
}

// decodeResult reads a result. Those of the SDKs are read by hand, in a tenth of the time; what is written in any other way is left to
// encoding/json, which is also what says what is wrong.
func decodeResult(data []byte) (abi.Result, error) {
	if res, ok := decodePlainResult(data); ok {
		return res, nil
	}
	var res abi.Result
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&res); err != nil {
		return res, err
	}
	if dec.InputOffset() != int64(len(data)) {
		return res, errors.New("something follows the object")
	}
	if !res.Outcome.Valid() {
		return res, fmt.Errorf("outcome %q", res.Outcome)
	}
	if len(res.Data) > 0 && res.Data[0] != '{' {
		return res, errors.New("data is not an object")
	}
	res.Text = cut(clean(res.Text), abi.MaxText)
	return res, nil
}

// A plainReader reads JSON of a plain kind: without white space, its texts printable ASCII without escapes. Once it meets anything else, bad
// is true and what it returns means nothing.
type plainReader struct {
	b   []byte
	bad bool
}

// skip reports whether what follows is text, and goes behind it.
func (r *plainReader) skip(text string) bool {
	if len(r.b) < len(text) || string(r.b[:len(text)]) != text {
		return false
	}
	r.b = r.b[len(text):]
	return true
}

func (r *plainReader) text() []byte {
	if !r.skip(`"`) {
		r.bad = true
		return nil
	}
	for i, c := range r.b {
		if c == '"' {
			text := r.b[:i]
			r.b = r.b[i+1:]
			return text
		}
		if c < ' ' || c > '~' || c == '\\' {
			break
		}
	}
	r.bad = true
	return nil
}

// object reads an object of whatever content.
func (r *plainReader) object() []byte {
	depth, quoted := 0, false
	for i := 0; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth > 0 {
				continue
			}
			object := r.b[:i+1]
			r.b = r.b[i+1:]
			r.bad = r.bad || object[0] != '{' || !json.Valid(object)
			return object
		}
	}
	r.bad = true
	return nil
}

// decodePlainResult reads a result in plain JSON, whose keys are there at most once; ok is false for all else. It shares no memory with data.
func decodePlainResult(data []byte) (res abi.Result, ok bool) {
	r := plainReader{b: data}
	var seen [5]bool
	for separator := "{"; !r.bad && r.skip(separator); separator = "," {
		key := 0
		switch {
		case r.skip(`"outcome":`):
			res.Outcome = abi.Outcome(r.text())
		case r.skip(`"code":`):
			key, res.Code = 1, abi.Code(r.text())
		case r.skip(`"text":`):
			key, res.Text = 2, cut(string(r.text()), abi.MaxText)
		case r.skip(`"data":`):
			key, res.Data = 3, append(abi.Raw(nil), r.object()...)
		case r.skip(`"retry":true`):
			key, res.Retry = 4, true
		default:
			return res, false
		}
		if seen[key] {
			return res, false
		}
		seen[key] = true
	}
	return res, !r.bad && r.skip("}") && len(r.b) == 0 && res.Outcome.Valid()
}
