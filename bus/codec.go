package bus

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Content types of the two modes' headers.
const (
	headerContentType = "content-type"
	structuredJSON    = "application/cloudevents+json"
)

// Marshal returns e in structured mode: one JSON object. It does not validate.
func Marshal(e *Event) []byte {
	return Append(make([]byte, 0, len(e.Data)+512), e)
}

// Append appends e in structured mode to dst. It does not validate; Data that should be JSON is copied as it is.
func Append(dst []byte, e *Event) []byte {
	o := objectWriter{dst: append(dst, `{"specversion":"1.0"`...)}
	o.dst = appendString(o.key("id"), e.ID)
	o.dst = appendString(o.key("source"), e.Source)
	o.dst = appendString(o.key("type"), e.Type)
	o.str("subject", e.Subject)
	if !e.Time.IsZero() {
		o.dst = append(o.key("time"), '"')
		o.dst = e.Time.UTC().AppendFormat(o.dst, time.RFC3339Nano)
		o.dst = append(o.dst, '"')
	}
	o.str("datacontenttype", e.DataContentType)
	o.str("dataschema", e.DataSchema)
	o.str("rule", e.Rule)
	o.str("priority", e.Priority)
	o.str("eventsource", e.EventSource)
	o.str("hostname", e.Hostname)
	o.str("traceparent", e.TraceParent)
	if len(e.Extensions) > 0 {
		for _, k := range slices.Sorted(maps.Keys(e.Extensions)) {
			o.dst = appendAttribute(o.key(k), e.Extensions[k])
		}
	}
	switch {
	case e.Data == nil:
	case e.IsJSON():
		o.dst = append(o.key("data"), e.Data...)
	case utf8.Valid(e.Data):
		o.dst = appendString(o.key("data"), string(e.Data))
	default:
		o.dst = append(o.key("data_base64"), '"')
		o.dst = base64.StdEncoding.AppendEncode(o.dst, e.Data)
		o.dst = append(o.dst, '"')
	}
	return append(o.dst, '}')
}

// appendAttribute appends the value of an extension; what Validate refuses becomes null.
func appendAttribute(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	}
	return append(dst, "null"...)
}

// Unmarshal decodes an event in structured mode. Data aliases b. The error wraps ErrInvalidEvent.
func Unmarshal(b []byte) (*Event, error) {
	if !Valid(b) {
		return nil, fmt.Errorf("%w: not JSON", ErrInvalidEvent)
	}
	d := decoder{e: new(Event)}
	ok, err := eachMember(b, d.member)
	if err == nil && !ok {
		err = fmt.Errorf("not a JSON object")
	}
	if err == nil {
		err = d.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	if err := d.e.validate(d.base64); err != nil { // otherwise data is part of the JSON that was found valid
		return nil, err
	}
	return d.e, nil
}

// A decoder collects the members of one event.
type decoder struct {
	e           *Event
	seen        uint32 // a bit for each known attribute
	specVersion string
	data        json.RawMessage // nil if absent
	base64      bool
}

func (d *decoder) member(key string, raw json.RawMessage) error {
	if !d.first(key) {
		return fmt.Errorf("member %q occurs twice", key)
	}
	switch key {
	case "data", "data_base64":
		if d.data != nil {
			return fmt.Errorf("both data and data_base64, or one of them twice")
		}
		d.data, d.base64 = raw, key == "data_base64"
		return nil
	}
	if raw[0] == 'n' { // null is absent
		return nil
	}
	if raw[0] == '"' {
		s, err := unquote(raw)
		if err != nil {
			return err
		}
		return d.attribute(key, s)
	}
	if knownAttribute(key) {
		return fmt.Errorf("attribute %q is no string", key)
	}
	v, err := scalar(raw)
	if err != nil {
		return fmt.Errorf("extension %q: %w", key, err)
	}
	d.extend(key, v)
	return nil
}

// first reports whether an attribute of this name has not been stored before.
func (d *decoder) first(name string) bool {
	if i := slices.Index(attributes[:], name); i >= 0 {
		old := d.seen
		d.seen |= 1 << i
		return d.seen != old
	}
	_, found := d.e.Extensions[name]
	return !found
}

// scalar decodes the value of an extension that is no string.
func scalar(raw json.RawMessage) (any, error) {
	switch raw[0] {
	case 't':
		return true, nil
	case 'f':
		return false, nil
	case '{', '[':
		return nil, fmt.Errorf("values are strings, booleans and integers")
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s is no 32-bit integer", raw)
	}
	return int32(n), nil
}

func (d *decoder) extend(key string, v any) {
	if d.e.Extensions == nil {
		d.e.Extensions = make(map[string]any)
	}
	d.e.Extensions[key] = v
}

// attribute stores a string attribute, in either mode.
func (d *decoder) attribute(key, s string) error {
	e := d.e
	switch key {
	case "specversion":
		d.specVersion = s
	case "id":
		e.ID = s
	case "source":
		e.Source = s
	case "type":
		e.Type = s
	case "subject":
		e.Subject = s
	case "time":
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return fmt.Errorf("time %q is not RFC 3339", s)
		}
		e.Time = t.UTC()
	case "datacontenttype":
		e.DataContentType = s
	case "dataschema":
		e.DataSchema = s
	case "rule":
		e.Rule = s
	case "priority":
		e.Priority = s
	case "eventsource":
		e.EventSource = s
	case "hostname":
		e.Hostname = s
	case "traceparent":
		e.TraceParent = s
	default:
		d.extend(key, s)
	}
	return nil
}

// finish checks the version and interprets the data, which may have come before its content type.
func (d *decoder) finish() error {
	if d.specVersion != "1.0" {
		return fmt.Errorf("specversion is %q, not 1.0", d.specVersion)
	}
	switch {
	case d.data == nil:
	case d.base64:
		s, err := unquoteValue(d.data)
		if err != nil {
			return fmt.Errorf("data_base64: %w", err)
		}
		if d.e.Data, err = base64.StdEncoding.DecodeString(s); err != nil {
			return fmt.Errorf("data_base64: %w", err)
		}
	case d.e.IsJSON() || d.data[0] != '"':
		// Without a string there is nothing to unquote: a JSON value under another content type is passed on as it stands.
		d.e.Data = d.data
	default:
		s, err := unquote(d.data)
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		d.e.Data = []byte(s)
	}
	return nil
}

func unquoteValue(raw json.RawMessage) (string, error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("no string")
	}
	return unquote(raw)
}

// Decode decodes a message of either mode: structured if its content type says so or it has no ce- headers, otherwise binary. Data
// aliases body. The error wraps ErrInvalidEvent.
func Decode(h nats.Header, body []byte) (*Event, error) {
	ct := headerValue(h, headerContentType)
	base, _, _ := strings.Cut(strings.ToLower(ct), ";")
	switch base = strings.TrimSpace(base); {
	case base == structuredJSON:
		return Unmarshal(body)
	case strings.HasPrefix(base, "application/cloudevents"):
		return nil, fmt.Errorf("%w: content type %q is not supported", ErrInvalidEvent, ct)
	case headerValue(h, "ce-specversion") == "":
		return Unmarshal(body)
	}
	return decodeBinary(h, ct, body)
}

// headerValue looks a header up without regard to case, as the binding asks for.
func headerValue(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	for k, v := range h {
		if len(v) > 0 && strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

func decodeBinary(h nats.Header, contentType string, body []byte) (*Event, error) {
	d := decoder{e: &Event{DataContentType: contentType}}
	for k, v := range h {
		if len(k) <= 3 || !strings.EqualFold(k[:3], "ce-") {
			continue
		}
		name := strings.ToLower(k[3:])
		if !d.first(name) || len(v) != 1 {
			return nil, fmt.Errorf("%w: header ce-%s occurs twice", ErrInvalidEvent, name)
		}
		if name == "data" || name == "datacontenttype" {
			return nil, fmt.Errorf("%w: header ce-%s is not allowed", ErrInvalidEvent, name)
		}
		if err := d.attribute(name, percentDecode(v[0])); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidEvent, err)
		}
	}
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	if len(body) > 0 {
		d.e.Data = body
	}
	if err := d.e.Validate(); err != nil {
		return nil, err
	}
	return d.e, nil
}

// MarshalBinary returns e in binary mode: attributes as ce- headers, data as the body.
func MarshalBinary(e *Event) (nats.Header, []byte) {
	h := nats.Header{"ce-specversion": {"1.0"}}
	set := func(name, v string) {
		if v != "" {
			h["ce-"+name] = []string{percentEncode(v)}
		}
	}
	set("id", e.ID)
	set("source", e.Source)
	set("type", e.Type)
	set("subject", e.Subject)
	if !e.Time.IsZero() {
		set("time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	set("dataschema", e.DataSchema)
	set("rule", e.Rule)
	set("priority", e.Priority)
	set("eventsource", e.EventSource)
	set("hostname", e.Hostname)
	set("traceparent", e.TraceParent)
	for k, v := range e.Extensions {
		set(k, fmt.Sprint(v))
	}
	switch {
	case e.DataContentType != "":
		h[headerContentType] = []string{e.DataContentType}
	case e.Data != nil:
		h[headerContentType] = []string{"application/json"}
	}
	return h, e.Data
}

// percentEncode encodes what a header value cannot hold, as the HTTP binding says: everything but printable ASCII, and space, '"', '%'.
func percentEncode(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&0xf])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// percentDecode is the reverse; a "%" that begins no escape stands for itself.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
