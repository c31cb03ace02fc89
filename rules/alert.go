package rules

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// An Alert is what a rule says about an event it matched. An Alert aliases nothing: it may be kept.
type Alert struct {
	Hostname     string
	Output       string // the rendered template, without time and priority
	Rule         string
	Source       string // Falco's source: "syscall"
	Priority     Priority
	Time         time.Time
	Tags         []string      // sorted
	OutputFields []OutputField // sorted by name
	TimeISO8601  bool          // AppendText writes the time in that form
}

// An OutputField is a field of an alert's output. Value is a string, int64, uint64, bool, float64, []any of these, or nil: no value.
type OutputField struct {
	Name  string
	Value any
}

// Fields returns the output fields as a new map.
func (a *Alert) Fields() map[string]any {
	m := make(map[string]any, len(a.OutputFields))
	for _, f := range a.OutputFields {
		m[f.Name] = f.Value
	}
	return m
}

// Severity is the priority as syslog numbers it: 0 for an emergency to 7 for debugging.
func (a *Alert) Severity() int { return int(a.Priority) }

// MarshalJSON returns what AppendJSON appends.
func (a *Alert) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil), nil }

// AppendJSON appends the alert as Falco's JSON output has it, keys in alphabetical order.
func (a *Alert) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"hostname":`...)
	dst = appendString(dst, a.Hostname)
	dst = append(dst, `,"output":`...)
	dst = append(dst, '"')
	dst = a.appendPrefix(dst)
	dst = appendEscaped(dst, a.Output)
	dst = append(dst, '"')
	dst = append(dst, `,"output_fields":{`...)
	for i, f := range a.OutputFields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, f.Name)
		dst = append(dst, ':')
		dst = appendValue(dst, f.Value)
	}
	dst = append(dst, `},"priority":`...)
	dst = appendString(dst, a.Priority.String())
	dst = append(dst, `,"rule":`...)
	dst = appendString(dst, a.Rule)
	dst = append(dst, `,"source":`...)
	dst = appendString(dst, a.Source)
	dst = append(dst, `,"tags":[`...)
	for i, t := range a.Tags {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, t)
	}
	dst = append(dst, `],"time":"`...)
	dst = a.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
	return append(dst, `"}`...)
}

// AppendText appends the alert as Falco's text line, without a newline: "15:04:05.000000000: Priority output", the time being local.
// The output is escaped as in a JSON string, so that no event can write a line of its own.
func (a *Alert) AppendText(dst []byte) []byte {
	dst = a.appendPrefix(dst)
	return appendEscaped(dst, a.Output)
}

// appendPrefix appends what stands before the output in a line.
func (a *Alert) appendPrefix(dst []byte) []byte {
	if a.TimeISO8601 {
		dst = a.Time.AppendFormat(dst, "2006-01-02T15:04:05.000000000-0700")
	} else {
		dst = a.Time.Local().AppendFormat(dst, "15:04:05.000000000")
	}
	dst = append(dst, ": "...)
	dst = append(dst, a.Priority.String()...)
	return append(dst, ' ')
}

const hex = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD; nothing is escaped for HTML.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	return append(dst, '"')
}

// appendEscaped appends s as it stands inside a JSON string.
func appendEscaped(dst []byte, s string) []byte {
	plain := 0 // from here on s stands for itself
	for i := 0; i < len(s); {
		c := s[i]
		if ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[plain:i]...)
		dst = appendEscape(dst, c)
		i += size
		plain = i
	}
	return append(dst, s[plain:]...)
}

// appendEscape appends the byte c, which cannot stand for itself.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	}
	if c >= utf8.RuneSelf { // not valid UTF-8
		return append(dst, string(utf8.RuneError)...)
	}
	dst = append(dst, `\u00`...)
	return append(dst, hex[c>>4], hex[c&15])
}

// appendValue appends the value of an output field as JSON.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return appendString(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(dst, "null"...)
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, e)
		}
		return append(dst, ']')
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return append(dst, "null"...)
		}
		return append(dst, b...)
	}
}
