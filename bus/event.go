package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Types of our events. A type is an event of the past with a version.
const (
	TypeRuleMatched       = "dev.tiercel.rule.matched.v1"
	TypeInvocationSettled = "dev.tiercel.invocation.settled.v1" // on tiercel.outcomes.…
	TypeRuleThrottled     = "dev.tiercel.rule.throttled.v1"     // a rule matched too often for one target
	TypeRecordsLost       = "dev.tiercel.records.lost.v1"       // a gap: a ring overflowed, a stream discarded, a spool ran over
)

// MaxEventSize is the largest event in structured mode that Validate and Publisher accept, in bytes. The events this program makes stay
// below 16 KiB; others' may be larger.
const MaxEventSize = 256 << 10

// MaxDataSize is how large the data of a match may be, in bytes. Who makes the match shortens it to fit.
const MaxDataSize = 16 << 10

// ErrInvalidEvent is in every error about bytes or values that are not a CloudEvent 1.0.
var ErrInvalidEvent = errors.New("not a CloudEvent 1.0")

// An Event is a CloudEvent 1.0. Times and strings that are zero are absent.
type Event struct {
	ID      string    // unique within Source; also the Nats-Msg-Id
	Source  string    // a URI reference; ours are /<cluster>/<node>/<rule source>, see SourceURI
	Type    string    // one of the Type constants, or another producer's
	Subject string    // <namespace>/<pod>, or the host's name
	Time    time.Time // when the kernel, or whoever recorded it, saw it

	// Extensions that every match carries, with Falcosidekick's names.
	Rule        string // name of the rule
	Priority    string // "Warning"
	EventSource string // "syscall", "k8s_audit" or a plugin's
	Hostname    string
	TraceParent string // W3C trace context

	DataContentType string // empty means application/json
	DataSchema      string

	// Extensions holds the attributes that have no field here. Values are string, bool or int32.
	Extensions map[string]any

	// Data is the payload: a JSON value if the content type is JSON, otherwise any bytes. Nil means there is none.
	Data json.RawMessage
}

// SourceURI is the source attribute of events of one node and rule source. Parts that are empty become "_".
func SourceURI(cluster, node, ruleSource string) string {
	part := func(s string) string {
		if s == "" {
			return "_"
		}
		return url.PathEscape(s)
	}
	return "/" + part(cluster) + "/" + part(node) + "/" + part(ruleSource)
}

// IsJSON reports whether Data is a JSON value.
func (e *Event) IsJSON() bool { return isJSONType(e.DataContentType) }

// isJSONType reports whether a media type is one whose payload stands unquoted in structured mode.
func isJSONType(ct string) bool {
	if ct == "" {
		return true
	}
	ct, _, _ = strings.Cut(ct, ";")
	ct = strings.ToLower(strings.TrimSpace(ct))
	return ct == "application/json" || ct == "text/json" || strings.HasSuffix(ct, "+json")
}

// Validate returns an error that wraps ErrInvalidEvent and names every attribute that is missing or malformed.
func (e *Event) Validate() error { return e.validate(true) }

// validate is Validate; without data it leaves that out.
func (e *Event) validate(data bool) error {
	var errs []error
	required := func(name, v string) {
		switch {
		case v == "":
			errs = append(errs, fmt.Errorf("%s is missing", name))
		case !isText(v):
			errs = append(errs, fmt.Errorf("%s %q has control characters or is not UTF-8", name, v))
		}
	}
	required("id", e.ID)
	required("source", e.Source)
	required("type", e.Type)
	if e.Source != "" && !isPlainPath(e.Source) {
		if _, err := url.Parse(e.Source); err != nil {
			errs = append(errs, fmt.Errorf("source is no URI reference: %w", err))
		}
	}
	if y := e.Time.Year(); !e.Time.IsZero() && (y < 0 || y > 9999) {
		errs = append(errs, fmt.Errorf("time has year %d", y))
	}
	for name, v := range e.Extensions {
		if err := validExtension(name, v); err != nil {
			errs = append(errs, err)
		}
	}
	if data && e.IsJSON() && e.Data != nil && !Valid(e.Data) {
		errs = append(errs, errors.New("data is no JSON value"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidEvent, errors.Join(errs...))
}

// isPlainPath reports whether s has nothing but what stands for itself anywhere in a URI reference, as our own sources have.
func isPlainPath(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '/' && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// validExtension reports what is wrong with an entry of Extensions.
func validExtension(name string, v any) error {
	if !validAttributeName(name) {
		return fmt.Errorf("extension %q: names are lower-case letters and digits", name)
	}
	if knownAttribute(name) {
		return fmt.Errorf("extension %q has a field of its own", name)
	}
	switch v.(type) {
	case string, bool, int32:
		return nil
	}
	return fmt.Errorf("extension %q: values are string, bool or int32, not %T", name, v)
}

func validAttributeName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// attributes are those that have a field in Event.
var attributes = [...]string{
	"specversion", "id", "source", "type", "subject", "time", "rule", "priority", "eventsource", "hostname", "traceparent",
	"datacontenttype", "dataschema",
}

// knownAttribute reports whether name cannot be an extension.
func knownAttribute(name string) bool { return name == "data" || slices.Contains(attributes[:], name) }

// isText reports whether s is a String of the CloudEvents type system: UTF-8 without control characters.
func isText(s string) bool {
	for _, r := range s {
		if r < ' ' || (r >= 0x7f && r <= 0x9f) {
			return false
		}
	}
	return utf8.ValidString(s)
}
