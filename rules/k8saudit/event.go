package k8saudit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
)

// RuleSource is the source whose rules match audit events.
const RuleSource = "k8s_audit"

// MaxEventSize is how many bytes of JSON one event may have; what is larger is rejected.
const MaxEventSize = 256 << 10

// Errors of single events.
var (
	ErrTooLarge  = fmt.Errorf("event larger than %d bytes", MaxEventSize)
	ErrNoAuditID = errors.New("event without auditID")
	ErrNoTime    = errors.New("event without a stageTimestamp")
	ErrNoEvent   = errors.New("neither an audit Event nor an EventList")
)

// An Event is one audit record. It implements field.Event. The exported fields may be set before it is matched.
type Event struct {
	Num     uint64 // evt.num
	Cluster string // ka.cluster.name; empty: no value

	raw  json.RawMessage
	tree map[string]any
	time time.Time
}

// A RejectedError says which event of a batch is not valid, and why.
type RejectedError struct {
	Index int // among all events of the batch, from 0
	Err   error
}

func (e *RejectedError) Error() string { return fmt.Sprintf("audit event %d: %v", e.Index, e.Err) }

// Unwrap returns why the event was rejected.
func (e *RejectedError) Unwrap() error { return e.Err }

// Parse reads audit records: an Event, an EventList, an array of either, or any number of these behind one another, as in a log of JSON
// lines. Records that are not valid are left out and told of in rejected; err is set, and nothing else, if data is not JSON throughout.
func Parse(data []byte) (events []*Event, rejected []*RejectedError, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	p := parser{}
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			return p.events, p.rejected, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("parse audit events: %w", err)
		}
		p.document(raw, 0)
	}
}

type parser struct {
	events   []*Event
	rejected []*RejectedError
	n        int
}

const maxNesting = 3 // an array of lists of events is the most there can be

// document takes in one JSON document.
func (p *parser) document(raw json.RawMessage, depth int) {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) > 0 && raw[0] == '[' && depth < maxNesting {
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			p.reject(err)
			return
		}
		for _, item := range items {
			p.document(item, depth+1)
		}
		return
	}
	var head struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &head) != nil || head.Kind != "Event" && head.Kind != "EventList" {
		p.reject(ErrNoEvent)
		return
	}
	if head.Kind == "Event" {
		p.event(raw)
		return
	}
	for _, item := range head.Items {
		p.event(item)
	}
}

func (p *parser) event(raw json.RawMessage) {
	e, err := ParseEvent(raw)
	if err != nil {
		p.reject(err)
		return
	}
	p.n++
	p.events = append(p.events, e)
}

func (p *parser) reject(err error) {
	p.rejected = append(p.rejected, &RejectedError{Index: p.n, Err: err})
	p.n++
}

// ParseEvent reads a single audit event. It keeps raw. Its errors are ErrTooLarge, ErrNoAuditID, ErrNoTime and those of encoding/json.
func ParseEvent(raw []byte) (*Event, error) {
	if len(raw) > MaxEventSize {
		return nil, ErrTooLarge
	}
	e := &Event{raw: raw}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&e.tree); err != nil {
		return nil, err
	}
	if id, ok := e.tree["auditID"].(string); !ok || id == "" {
		return nil, ErrNoAuditID
	}
	stamp, _ := e.tree["stageTimestamp"].(string)
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return nil, ErrNoTime
	}
	e.time = t
	return e, nil
}

// ID returns the event's auditID. An audited request has several events with one ID, which differ in their Stage.
func (e *Event) ID() string { s, _ := e.str("auditID"); return s }

// Stage returns the event's stage.
func (e *Event) Stage() string { s, _ := e.str("stage"); return s }

// JSON returns the event as it came.
func (e *Event) JSON() json.RawMessage { return e.raw }

// Type is always field.EventPluginevent.
func (e *Event) Type() field.EventType { return field.EventPluginevent }

// Time is when the stage was reached.
func (e *Event) Time() time.Time { return e.time }

// RuleSource is always "k8s_audit".
func (e *Event) RuleSource() string { return RuleSource }

// TwoForms is always false: no field of an audit event is a path of the kernel's.
func (e *Event) TwoForms() bool { return false }

// Extract implements field.Event. Strings in v live as long as e.
func (e *Event) Extract(ref *field.Ref, _ field.Form, v *field.Value) bool {
	if int(ref.ID) >= len(extractors) || extractors[ref.ID] == nil {
		return false
	}
	return extractors[ref.ID](e, ref, v)
}

// Given reports whether events have a value for ref at all, for rules.Provider.
func Given(ref *field.Ref) bool { return int(ref.ID) < len(extractors) && extractors[ref.ID] != nil }
