package tiercel

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// An Object is a JSON object to be written: see [AppendJSON] for what its values may be.
type Object map[string]any

// A List is a JSON array to be written.
type List []any

// ErrValue is the error of a value that AppendJSON does not write.
var ErrValue = errors.New("value of a type that cannot be written as JSON: use Object, List, text, numbers, booleans or a Value")

// AppendJSON appends v as JSON. v may be an Object, List, Value, string, bool, nil, an int, int32, int64, uint32, uint64, float64,
// []string, map[string]string, []Object or []Value. Keys are sorted, so equal values give equal bytes. What is not valid UTF-8 in
// a text is replaced. Errors: ErrValue.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return appendText(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int32:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return dst, ErrValue
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64), nil
	case Value:
		if v.doc == nil {
			return append(dst, "null"...), nil
		}
		return append(dst, v.Raw()...), nil
	case Object:
		return appendMap(dst, v, AppendJSON)
	case map[string]any:
		return appendMap(dst, v, AppendJSON)
	case map[string]string:
		return appendMap(dst, v, func(dst []byte, s string) ([]byte, error) { return appendText(dst, s), nil })
	case List:
		return appendList(dst, v)
	case []any:
		return appendList(dst, v)
	case []string:
		return appendList(dst, v)
	case []Object:
		return appendList(dst, v)
	case []Value:
		return appendList(dst, v)
	}
	return dst, ErrValue
}

func appendMap[V any](dst []byte, m map[string]V, write func([]byte, V) ([]byte, error)) ([]byte, error) {
	var few [16]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, k), ':')
		var err error
		if dst, err = write(dst, m[k]); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendList[V any](dst []byte, l []V) ([]byte, error) {
	dst = append(dst, '[')
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = AppendJSON(dst, v); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

const hexDigits = "0123456789abcdef"

func appendText(dst []byte, s string) []byte {
	if n := len(dst); plainRun(s, 0) == len(s) && cap(dst)-n >= len(s)+2 { // the way of almost all texts
		dst = dst[:n+len(s)+2]
		dst[n], dst[n+len(s)+1] = '"', '"'
		copy(dst[n+1:], s)
		return dst
	}
	dst = append(dst, '"')
	for i := 0; ; {
		end := plainRun(s, i)
		dst = append(dst, s[i:end]...)
		if i = end; i >= len(s) {
			return append(dst, '"')
		}
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n - 1
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
	}
}
