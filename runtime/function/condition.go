package function

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// A condition is a compiled trigger condition: the rules' own language over the fields that the event carries. What only the target
// says is reached by the fields of the same meaning (k8s.ns.name, k8s.pod.name, container.id, …).
type condition struct {
	program *match.Program
}

// compileCondition returns an error that says where in the text the problem is, and the nearest name where there is one.
func compileCondition(text string) (*condition, error) {
	e, err := filter.Parse(text)
	if err != nil {
		if fe, ok := errors.AsType[*filter.Error](err); ok {
			return nil, conditionError(fe.Line, fe.Col, fe.Msg, fe.Near)
		}
		return nil, err
	}
	p, _, err := match.Compile(e, match.Env{})
	if err != nil {
		if me, ok := errors.AsType[*match.Error](err); ok {
			return nil, conditionError(me.Pos.Line, me.Pos.Col, me.Msg, me.Near)
		}
		return nil, err
	}
	return &condition{program: p}, nil
}

func conditionError(line, col int, msg, near string) error {
	at := fmt.Sprintf("column %d", col)
	if line > 1 {
		at = fmt.Sprintf("line %d, %s", line, at)
	}
	if near != "" {
		return fmt.Errorf("%s of the condition: %s (did you mean %q?)", at, msg, near)
	}
	return fmt.Errorf("%s of the condition: %s", at, msg)
}

func (c *condition) holds(e *bus.Event, m *bus.MatchData) bool {
	return c.program.Match(newMatched(e, m))
}

// A matched is a match as a matcher reads it: what it carries, and no more.
type matched struct {
	event  *bus.Event
	match  *bus.MatchData
	fields map[string]any // numbers as json.Number
	kind   field.EventType
}

func newMatched(e *bus.Event, m *bus.MatchData) *matched {
	x := &matched{event: e, match: m, fields: map[string]any{}}
	for _, raw := range []json.RawMessage{m.OutputFields, m.Fields} {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		_ = dec.Decode(&x.fields) // what cannot be read is not there
	}
	if name, ok := x.fields["evt.type"].(string); ok {
		x.kind, _ = field.EventTypeByName(name)
	}
	return x
}

func (x *matched) Type() field.EventType { return x.kind }
func (x *matched) Time() time.Time       { return x.event.Time }
func (x *matched) RuleSource() string    { return x.match.Source }
func (x *matched) TwoForms() bool        { return false }

// Extract finds a field by its text among those the event carries.
func (x *matched) Extract(ref *field.Ref, _ field.Form, v *field.Value) bool {
	name := ref.String()
	raw, ok := x.fields[name]
	if !ok || raw == nil {
		s := targetField(&x.match.Target, name)
		if s == "" {
			return false
		}
		raw = s
	}
	if list, ok := raw.([]any); ok {
		v.SetList()
		for _, e := range list {
			v.AppendString(fmt.Sprint(e))
		}
		return true
	}
	return scalar(ref.ID.Info().Type, raw, v)
}

// targetField is the field that says what an attribute of the target says.
func targetField(t *bus.Target, name string) string {
	switch name {
	case "k8s.ns.name", "ka.target.namespace":
		return t.Namespace
	case "k8s.pod.name":
		return t.Pod
	case "k8s.pod.uid":
		return t.PodUID
	case "container.name":
		return t.Container
	case "container.full_id":
		return t.ContainerID
	case "container.id":
		return t.ContainerID[:min(12, len(t.ContainerID))]
	case "container.image":
		return t.Image
	case "container.image.digest":
		return t.ImageDigest
	case "proc.pid":
		if t.PID != 0 {
			return strconv.Itoa(int(t.PID))
		}
	}
	return ""
}

// scalar stores a JSON value as the field's type wants it.
func scalar(t field.Type, raw any, v *field.Value) bool {
	text := fmt.Sprint(raw)
	switch t {
	case field.TypeBool:
		b, err := strconv.ParseBool(text)
		return err == nil && v.SetBool(b)
	case field.TypeInt16, field.TypeInt32, field.TypeInt64:
		n, err := strconv.ParseInt(text, 10, 64)
		return err == nil && v.SetInt(n)
	case field.TypeUint32, field.TypeUint64, field.TypePort, field.TypeRelTime, field.TypeAbsTime:
		n, err := strconv.ParseUint(text, 10, 64)
		return err == nil && v.SetUint(n)
	case field.TypeIPAddr, field.TypeIPNet:
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		return err == nil && v.SetAddr(a.Unmap())
	case field.TypeBytes:
		return v.SetBytes(text)
	case field.TypeString:
		return v.SetString(text)
	}
	return false
}
