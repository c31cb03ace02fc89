package bus

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// An objectWriter appends the members of a JSON object whose "{" is already in dst.
type objectWriter struct{ dst []byte }

// key appends a comma if one is due, and the key; the caller appends the value and stores the result in dst.
func (o *objectWriter) key(k string) []byte {
	if o.dst[len(o.dst)-1] != '{' {
		o.dst = append(o.dst, ',')
	}
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, k...)
	return append(o.dst, '"', ':')
}

// str appends a string member unless it is empty. The key needs no escaping.
func (o *objectWriter) str(k, v string) {
	if v != "" {
		o.dst = appendString(o.key(k), v)
	}
}

// AppendString appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = appendEscape(append(dst, s[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			start = i + 1
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// eachMember calls f with the key and the raw value of each member of the JSON object b, until f returns an error. b must be valid
// JSON; ok is false if it is no object.
func eachMember(b []byte, f func(key string, value json.RawMessage) error) (ok bool, err error) {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false, nil
	}
	for i = skipSpace(b, i+1); b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := skipString(b, i)
		key, err := unquote(b[i:end])
		if err != nil {
			return true, err
		}
		i = skipSpace(b, skipSpace(b, end)+1) // past the colon
		end = skipValue(b, i)
		if err := f(key, b[i:end]); err != nil {
			return true, err
		}
		i = end
	}
	return true, nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the end of the string literal that begins at i.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		back := i
		for b[back-1] == '\\' {
			back--
		}
		if (i-back)%2 == 0 {
			return i + 1
		}
	}
}

// skipValue returns the end of the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of a number or word before it
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// unquote returns the string that the JSON literal b stands for.
func unquote(b []byte) (string, error) {
	text := b[1 : len(b)-1]
	for _, c := range text {
		if c == '\\' || c >= utf8.RuneSelf {
			var s string
			err := json.Unmarshal(b, &s)
			return s, err
		}
	}
	return shared(text), nil
}

// shared is string(b), of which nothing is made for what nearly every event has.
func shared(b []byte) string {
	switch string(b) {
	case "1.0":
		return "1.0"
	case "id":
		return "id"
	case "source":
		return "source"
	case "specversion":
		return "specversion"
	case "type":
		return "type"
	case "subject":
		return "subject"
	case "time":
		return "time"
	case "rule":
		return "rule"
	case "priority":
		return "priority"
	case "eventsource":
		return "eventsource"
	case "hostname":
		return "hostname"
	case "traceparent":
		return "traceparent"
	case "data":
		return "data"
	case "datacontenttype":
		return "datacontenttype"
	case TypeRuleMatched:
		return TypeRuleMatched
	case "syscall":
		return "syscall"
	case "k8s_audit":
		return "k8s_audit"
	case "Critical":
		return "Critical"
	case "Error":
		return "Error"
	case "Warning":
		return "Warning"
	case "Notice":
		return "Notice"
	case "Informational":
		return "Informational"
	case "container":
		return "container"
	}
	return string(b)
}
