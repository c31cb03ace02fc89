package testcase

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// An Answer is what the host says to one call.
type Answer struct {
	Op       string
	Response json.RawMessage
	Error    *abi.Error // instead
	Line     int        // in the case
}

var codes = []string{
	string(abi.CodeInvalid), string(abi.CodeUnsupported), string(abi.CodeDenied), string(abi.CodeForbidden), string(abi.CodeNotFound), string(abi.CodeExists),
	string(abi.CodeConflict), string(abi.CodeTooLarge), string(abi.CodeTimeout), string(abi.CodeUnavailable), string(abi.CodeInternal),
}

// operations are those that get to a host.
func operations() []string {
	var names []string
	for _, op := range abi.Operations {
		if op.Class != abi.ClassLocal {
			names = append(names, op.Name)
		}
	}
	return names
}

// answers reads the part of that name: for each call its operation and a JSON object, which may go over several lines, or "!", a code
// and a text. Empty lines and those that begin with "#" do not count.
func (c *Case) answers(data []byte, line int) error {
	for len(data) > 0 {
		text, rest, _ := bytes.Cut(data, []byte("\n"))
		if t := bytes.TrimSpace(text); len(t) == 0 || t[0] == '#' {
			data, line = rest, line+1
			continue
		}
		op, answer, _ := bytes.Cut(bytes.TrimLeft(text, " \t"), []byte(" "))
		a := Answer{Op: string(bytes.TrimSpace(op)), Line: line}
		if !contains(operations(), a.Op) {
			return c.bad(line, "there is no operation %q%s", a.Op, didYouMean(a.Op, operations()))
		}
		answer = bytes.TrimSpace(answer)
		if bytes.HasPrefix(answer, []byte("!")) {
			var err error
			if a.Error, err = c.failure(string(answer[1:]), line); err != nil {
				return err
			}
			c.Answers, data, line = append(c.Answers, a), rest, line+1
			continue
		}
		at := bytes.Index(data, op) + len(op)
		dec := json.NewDecoder(bytes.NewReader(data[at:]))
		var response json.RawMessage
		if err := dec.Decode(&response); err != nil {
			return c.bad(line+lineOf(data[at:], err), "answer to %s: %v", a.Op, err)
		}
		if response[0] != '{' {
			return c.bad(line, "answer to %s: an answer is a JSON object, or ! and a code", a.Op)
		}
		end := at + int(dec.InputOffset())
		line += bytes.Count(data[:end], []byte("\n"))
		tail, rest, _ := bytes.Cut(data[end:], []byte("\n"))
		if len(bytes.TrimSpace(tail)) > 0 {
			return c.bad(line, "answer to %s: something follows the JSON object", a.Op)
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, response) // it was decoded
		a.Response = compact.Bytes()
		c.Answers, data, line = append(c.Answers, a), rest, line+1
	}
	return nil
}

// failure reads an error: a code and a text, or an abi.Error as JSON.
func (c *Case) failure(s string, line int) (*abi.Error, error) {
	e := new(abi.Error)
	if strings.HasPrefix(s, "{") {
		if err := json.Unmarshal([]byte(s), e); err != nil {
			return nil, c.bad(line, "error: %v", err)
		}
	} else {
		code, text, _ := strings.Cut(s, " ")
		e.Code, e.Text = abi.Code(code), text
	}
	if !contains(codes, string(e.Code)) {
		return nil, c.bad(line, "there is no error code %q%s", e.Code, didYouMean(string(e.Code), codes))
	}
	return e, nil
}

// format is the reverse of answers.
func (a *Answer) format() string {
	if e := a.Error; e != nil {
		if e.Retry || strings.ContainsAny(e.Text, "\n") || strings.TrimSpace(e.Text) != e.Text {
			return a.Op + " !" + string(encode(e)) + "\n"
		}
		return strings.TrimRight(a.Op+" !"+string(e.Code)+" "+e.Text, " ") + "\n"
	}
	return block(a.Op, a.Response)
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
