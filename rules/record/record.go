// Package record reads and holds recorded events: one JSON object a line, written by hand or by a sensor, that rules can be matched
// against without a kernel. It is the event of `tiercel rule test`, `rule explain` and `rule eval`.
//
//	{"type":"openat","time":"2026-01-02T03:04:05.000000006Z","fields":{"proc.name":"cat","fd.name":"/etc/shadow","evt.is_open_read":true}}
//
// type is an event type. time may be missing: the epoch then. source is the rule source, default syscall. fields has the value of each field
// by name and argument, as conditions write it; one that is missing, or null, has no value. Numbers, truth values and lists are those of
// JSON; addresses are strings, bytes a string or a list of numbers, and one value stands for a list of one. resolved has the other form of
// paths, where the kernel walked to another file than the one that was named.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
)

// An Event is a recorded event. It implements field.Event.
type Event struct {
	Num uint64 // evt.num unless the fields have one; 0: no value

	source   string
	typ      field.EventType
	time     time.Time
	values   map[field.Ref]field.Value
	resolved map[field.Ref]field.Value
}

// line is an event as it is written.
type line struct {
	Type     string                     `json:"type"`
	Time     *time.Time                 `json:"time"`
	Source   string                     `json:"source"`
	Fields   map[string]json.RawMessage `json:"fields"`
	Resolved map[string]json.RawMessage `json:"resolved"`
}

// Parse reads one event.
func Parse(data []byte) (*Event, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var l line
	if err := dec.Decode(&l); err != nil {
		return nil, fmt.Errorf("parse recorded event: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse recorded event: more than one object")
	}
	t, ok := field.EventTypeByName(l.Type)
	if !ok {
		if near := field.NearestEvent(l.Type); near != "" {
			return nil, fmt.Errorf("unknown event type %q, did you mean %s?", l.Type, near)
		}
		return nil, fmt.Errorf("unknown event type %q", l.Type)
	}
	e := &Event{source: l.Source, typ: t, time: time.Unix(0, 0).UTC()}
	if l.Time != nil {
		e.time = *l.Time
	}
	if e.source == "" {
		e.source = "syscall"
	}
	var err error
	if e.values, err = values(l.Fields); err != nil {
		return nil, err
	}
	e.resolved, err = values(l.Resolved)
	return e, err
}

// New returns an event of the fields given: what a condition alone is matched against. Its type is what evt.type says; without it, it is none.
// If there is an error, the event is there all the same; the fields that the error names have no value.
func New(source string, fields map[string]json.RawMessage) (*Event, error) {
	vals, err := values(fields)
	e := &Event{source: source, values: vals}
	for _, id := range []field.ID{field.EvtType, field.SyscallType} {
		if v, ok := vals[field.Ref{ID: id, Index: -1}]; ok && e.typ == 0 {
			e.typ, _ = field.EventTypeByName(v.Str)
		}
	}
	return e, err
}

// values converts fields by the types of the registry. The error names those that cannot be converted; the others are returned with it.
func values(fields map[string]json.RawMessage) (map[field.Ref]field.Value, error) {
	vals := make(map[field.Ref]field.Value, len(fields))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		ref, err := field.Lookup(name)
		if err != nil {
			if near := field.Nearest(name); near != "" {
				err = fmt.Errorf("%w, did you mean %s?", err, near)
			}
			errs = append(errs, fmt.Errorf("field %q: %w", name, err))
			continue
		}
		v, ok, err := value(&ref, fields[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("field %q: %w", name, err))
		} else if ok {
			vals[ref] = v
		}
	}
	return vals, errors.Join(errs...)
}

// value converts a JSON value to one of ref's type; null is none.
func value(ref *field.Ref, raw json.RawMessage) (v field.Value, ok bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return v, false, err
	}
	if x == nil {
		return v, false, nil
	}
	t := ref.ID.Info().Type
	if t == field.TypeDyn {
		if p, ok := field.RawArgType(ref.Arg); ok {
			t = p.FieldType()
		}
	}
	items, isList := x.([]any)
	if isList && t == field.TypeBytes { // bytes may be written as numbers
		b := make([]byte, len(items))
		for i, item := range items {
			n, err := strconv.ParseUint(fmt.Sprint(item), 10, 8)
			if err != nil {
				return v, false, fmt.Errorf("%v is no byte", item)
			}
			b[i] = byte(n)
		}
		return v, v.SetBytes(string(b)), nil
	}
	if isList {
		v.SetList()
		for _, item := range items {
			var e field.Value
			if err := set(&e, t, item); err != nil {
				return v, false, err
			}
			v.List = append(v.List, e)
		}
		return v, true, nil
	}
	if err := set(&v, t, x); err != nil {
		return v, false, err
	}
	if ref.ID.Info().Flags&field.FlagList != 0 && ref.Arg == "" { // one value is a list of one
		v = field.Value{Kind: field.KindList, List: []field.Value{v}}
	}
	return v, true, nil
}

// set stores the JSON scalar x in v as type t wants it.
func set(v *field.Value, t field.Type, x any) error {
	text := fmt.Sprint(x)
	switch t {
	case field.TypeBytes:
		v.SetBytes(text)
	case field.TypeBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%v is not true or false", x)
		}
		v.SetBool(b)
	case field.TypeInt16, field.TypeInt32, field.TypeInt64:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return fmt.Errorf("%v is no integer", x)
		}
		v.SetInt(n)
	case field.TypeUint32, field.TypeUint64, field.TypePort, field.TypeRelTime, field.TypeAbsTime:
		n, err := parseUint(text)
		if err != nil {
			return fmt.Errorf("%v is no unsigned integer", x)
		}
		v.SetUint(n)
	case field.TypeDouble:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%v is no number", x)
		}
		v.Kind, v.Num = field.KindFloat, math.Float64bits(f)
	case field.TypeIPAddr, field.TypeIPNet:
		if p, err := netip.ParsePrefix(text); err == nil {
			v.Kind, v.Prefix = field.KindPrefix, p
			return nil
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%v is no address", x)
		}
		v.SetAddr(a.Unmap())
	default:
		v.SetString(text)
	}
	return nil
}

// parseUint reads an unsigned number, or a negative one as its two's complement: user.loginuid is -1 where nobody logged in.
func parseUint(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 0, 64)
	if err == nil {
		return n, nil
	}
	i, ierr := strconv.ParseInt(s, 0, 64)
	if ierr != nil {
		return 0, err
	}
	return uint64(i), nil
}

// Type returns the event's type.
func (e *Event) Type() field.EventType { return e.typ }

// Time returns when the event happened; the epoch if the record does not say.
func (e *Event) Time() time.Time { return e.time }

// RuleSource returns the source of the event.
func (e *Event) RuleSource() string { return e.source }

// TwoForms reports whether the record has resolved paths.
func (e *Event) TwoForms() bool { return len(e.resolved) > 0 }

// Extract implements field.Event.
func (e *Event) Extract(ref *field.Ref, form field.Form, v *field.Value) bool {
	if form == field.Resolved {
		if x, ok := e.resolved[*ref]; ok {
			return assign(v, &x)
		}
	}
	if x, ok := e.values[*ref]; ok {
		return assign(v, &x)
	}
	switch ref.ID {
	case field.EvtType, field.SyscallType:
		return e.typ != 0 && (ref.ID == field.EvtType || e.source == "syscall") && v.SetString(e.typ.String())
	case field.EvtTypeIs:
		if e.typ == 0 {
			return false
		}
		if ref.Arg == e.typ.String() {
			return v.SetUint(1)
		}
		return v.SetUint(0)
	case field.EvtSource:
		return v.SetString(e.source)
	case field.EvtNum:
		return e.Num != 0 && v.SetUint(e.Num)
	}
	return e.timeField(ref.ID, v)
}

// assign copies x to v and keeps v's list for its capacity.
func assign(v, x *field.Value) bool {
	list := v.List[:0]
	*v = *x
	if x.Kind == field.KindList {
		v.List = append(list, x.List...)
	}
	return true
}

// timeField stores a field that follows from the time.
func (e *Event) timeField(id field.ID, v *field.Value) bool {
	if e.time.IsZero() {
		return false
	}
	switch id {
	case field.EvtTime:
		return v.SetString(e.time.Local().Format("15:04:05.000000000"))
	case field.EvtTimeS:
		return v.SetString(e.time.Local().Format("15:04:05"))
	case field.EvtTimeISO8601:
		return v.SetString(e.time.Local().Format("2006-01-02T15:04:05.000000000-0700"))
	case field.EvtDatetime:
		return v.SetString(e.time.Local().Format("2006-01-02 15:04:05.000000000"))
	case field.EvtDatetimeS:
		return v.SetString(e.time.Local().Format("2006-01-02 15:04:05"))
	case field.EvtRawtime:
		return v.SetUint(uint64(e.time.UnixNano()))
	case field.EvtRawtimeS:
		return v.SetUint(uint64(e.time.Unix()))
	case field.EvtRawtimeNS:
		return v.SetUint(uint64(e.time.Nanosecond()))
	}
	return false
}
