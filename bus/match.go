package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// MatchData is the data of an event of TypeRuleMatched: Falco's alert, key for key, and two keys of ours.
type MatchData struct {
	Hostname     string          `json:"hostname,omitempty"`
	Output       string          `json:"output"`
	OutputFields json.RawMessage `json:"output_fields"` // an object: what the rule's output names
	Priority     string          `json:"priority"`      // "Warning"
	Rule         string          `json:"rule"`
	Source       string          `json:"source"` // Falco's: "syscall", …
	Tags         []string        `json:"tags"`
	Time         time.Time       `json:"time"`

	Fields json.RawMessage `json:"fields,omitempty"` // an object: the standard fields of the event's type
	Target Target          `json:"target,omitzero"`
}

// A Target says exactly what an event is about, so that nobody acts on a name alone. What is not known is zero, and absent in JSON.
type Target struct {
	Cluster      string `json:"cluster,omitempty"`
	Node         string `json:"node,omitempty"`
	Namespace    string `json:"namespace,omitempty"`
	Pod          string `json:"pod,omitempty"`
	PodUID       string `json:"podUID,omitempty"`
	Container    string `json:"container,omitempty"`
	ContainerID  string `json:"containerID,omitempty"` // the runtime's full id
	Image        string `json:"image,omitempty"`
	ImageDigest  string `json:"imageDigest,omitempty"`
	CgroupID     Uint64 `json:"cgroupID,omitzero"`
	PID          int32  `json:"pid,omitempty"`         // in the host's pid namespace
	PIDStartTime Uint64 `json:"pidStartTime,omitzero"` // nanoseconds since boot, as the kernel counts it
}

// A Uint64 is a number that JSON carries as a string of digits, since readers that hold numbers as doubles (JavaScript) would round it.
// It is read from either form.
type Uint64 uint64

// MarshalJSON returns the number as a JSON string.
func (u Uint64) MarshalJSON() ([]byte, error) { return u.append(nil), nil }

func (u Uint64) append(dst []byte) []byte {
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, uint64(u), 10)
	return append(dst, '"')
}

// UnmarshalJSON reads a JSON string of digits, or a JSON number.
func (u *Uint64) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseUint(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no unsigned integer", b)
	}
	*u = Uint64(n)
	return nil
}

// AppendJSON appends t as a JSON object.
func (t *Target) AppendJSON(dst []byte) []byte {
	o := objectWriter{dst: append(dst, '{')}
	o.str("cluster", t.Cluster)
	o.str("node", t.Node)
	o.str("namespace", t.Namespace)
	o.str("pod", t.Pod)
	o.str("podUID", t.PodUID)
	o.str("container", t.Container)
	o.str("containerID", t.ContainerID)
	o.str("image", t.Image)
	o.str("imageDigest", t.ImageDigest)
	if t.CgroupID != 0 {
		o.dst = t.CgroupID.append(o.key("cgroupID"))
	}
	if t.PID != 0 {
		o.dst = strconv.AppendInt(o.key("pid"), int64(t.PID), 10)
	}
	if t.PIDStartTime != 0 {
		o.dst = t.PIDStartTime.append(o.key("pidStartTime"))
	}
	return append(o.dst, '}')
}

// AppendMatch appends the data of a match to dst: alert, a JSON object with at least one key as rules.Alert writes it, followed by
// fields, a JSON object or nil, and by t. It copies the bytes as they are.
func AppendMatch(dst, alert, fields []byte, t *Target) []byte {
	dst = append(dst, bytes.TrimSuffix(bytes.TrimSpace(alert), []byte("}"))...)
	if len(fields) > 0 {
		dst = append(dst, `,"fields":`...)
		dst = append(dst, fields...)
	}
	if *t != (Target{}) {
		dst = append(dst, `,"target":`...)
		dst = t.AppendJSON(dst)
	}
	return append(dst, '}')
}

// AppendJSON appends m as JSON. A hot path that already has the alert as JSON uses AppendMatch.
func (m *MatchData) AppendJSON(dst []byte) []byte {
	o := objectWriter{dst: append(dst, '{')}
	o.str("hostname", m.Hostname)
	o.dst = appendString(o.key("output"), m.Output)
	o.dst = appendRaw(o.key("output_fields"), m.OutputFields)
	o.dst = appendString(o.key("priority"), m.Priority)
	o.dst = appendString(o.key("rule"), m.Rule)
	o.dst = appendString(o.key("source"), m.Source)
	o.dst = append(o.key("tags"), '[')
	for i, tag := range m.Tags {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = appendString(o.dst, tag)
	}
	o.dst = append(o.dst, ']')
	o.dst = append(o.key("time"), '"')
	o.dst = m.Time.UTC().AppendFormat(o.dst, "2006-01-02T15:04:05.000000000Z07:00")
	o.dst = append(o.dst, '"')
	if len(m.Fields) > 0 {
		o.dst = append(o.key("fields"), m.Fields...)
	}
	if m.Target != (Target{}) {
		o.dst = m.Target.AppendJSON(o.key("target"))
	}
	return append(o.dst, '}')
}

func appendRaw(dst []byte, object json.RawMessage) []byte {
	if len(object) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, object...)
}

// Match decodes the data of an event of TypeRuleMatched. The error wraps ErrInvalidEvent.
func (e *Event) Match() (*MatchData, error) {
	if e.Type != TypeRuleMatched {
		return nil, fmt.Errorf("%w: type is %q, not %s", ErrInvalidEvent, e.Type, TypeRuleMatched)
	}
	m := new(MatchData)
	if err := json.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("%w: data of a match: %w", ErrInvalidEvent, err)
	}
	return m, nil
}
