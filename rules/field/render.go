package field

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendText adds v, the value of a field of type t, to dst as Falco prints it: numbers in decimal, booleans as true and false, addresses in
// their usual form, lists as (a,b), bytes as text with a dot for each that cannot be printed.
func AppendText(dst []byte, t Type, v *Value) []byte {
	switch v.Kind {
	case KindString:
		return append(dst, v.Str...)
	case KindBytes:
		return appendBytes(dst, v.Str)
	case KindBool:
		return strconv.AppendBool(dst, v.Num != 0)
	case KindFloat:
		return strconv.AppendFloat(dst, math.Float64frombits(v.Num), 'f', 1, 64)
	case KindAddr:
		return v.Addr.Unmap().AppendTo(dst)
	case KindPrefix:
		return v.Prefix.AppendTo(dst)
	case KindList:
		dst = append(dst, '(')
		for i := range v.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendText(dst, t, &v.List[i])
		}
		return append(dst, ')')
	}
	return appendNumber(dst, t, v)
}

func appendNumber(dst []byte, t Type, v *Value) []byte {
	switch {
	case t == TypeBool:
		return strconv.AppendBool(dst, v.Num != 0)
	case v.Kind == KindInt, t == TypeInt16, t == TypeInt32, t == TypeInt64:
		return strconv.AppendInt(dst, int64(v.Num), 10)
	}
	return strconv.AppendUint(dst, v.Num, 10)
}

func appendBytes(dst []byte, s string) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n <= 1 || r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			dst = append(dst, '.')
		} else {
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
	return dst
}
