package match

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A Literal is a value of a condition, typed by the field it is compared with.
type Literal struct {
	Text   string       // as in the condition
	Bytes  string       // strings and byte buffers; decoded where the operator takes hexadecimal digits
	Num    uint64       // numbers in two's complement, booleans, ports, times; IEEE 754 bits of floats
	Addr   netip.Addr   // addresses
	Prefix netip.Prefix // networks

	pos filter.Pos
}

// parseLiteral types v for the atom a, whose left side and operator are known.
func parseLiteral(a *Atom, v *filter.Value) (Literal, error) {
	lit := Literal{Text: v.Text, Bytes: v.Text, pos: v.At}
	var msg string
	switch classOf(a.Left.Type) {
	case classString:
		return lit, checkString(a, v)
	case classBytes:
		lit.Bytes, msg = parseBytes(a.Op, v.Text)
	case classBool:
		lit.Num, msg = parseBool(v.Text)
	case classAddr:
		lit.Addr, msg = parseAddr(v.Text)
	case classNet:
		lit.Prefix, msg = parseNet(v.Text)
	case classFloat:
		var n int64
		n, msg = parseInt(v.Text, 64)
		lit.Num = floatBits(float64(n))
	case classInt, classUint:
		lit.Num, msg = parseNumber(a.Left.Type, v.Text)
	}
	if msg != "" {
		return lit, errorf(v.At, "%s", msg)
	}
	return lit, nil
}

// checkString checks a string against what its field can be.
func checkString(a *Atom, v *filter.Value) error {
	if strings.IndexByte(v.Text, 0) >= 0 {
		return errorf(v.At, "value of type 'CHARBUF' contains a NUL byte, which only fields of type 'BYTEBUF' can hold")
	}
	if a.Left.Kind != FieldOperand || a.Left.Ref.ID != field.EvtType {
		return nil
	}
	if a.Op != filter.Equal && a.Op != filter.NotEqual && a.Op != filter.In && a.Op != filter.Intersects {
		return nil
	}
	if _, ok := field.EventTypeByName(v.Text); !ok {
		return &Error{Pos: v.At, Msg: "unknown event type " + v.Text, Near: field.NearestEvent(v.Text), Unknown: true}
	}
	return nil
}

func parseBytes(op filter.Op, text string) (value, msg string) {
	if op != filter.BContains && op != filter.BStartsWith {
		return text, ""
	}
	b, err := hex.DecodeString(text)
	if err != nil || text == "" {
		return "", "'" + text + "' is no sequence of bytes in hexadecimal digits"
	}
	return string(b), ""
}

func parseBool(text string) (n uint64, msg string) {
	switch text {
	case "true":
		return 1, ""
	case "false":
		return 0, ""
	}
	return 0, "filter error: unrecognized boolean value " + text
}

// parseAddr reads an address. As in Falco, a dot makes it an IPv4 address.
func parseAddr(text string) (a netip.Addr, msg string) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return a, "unrecognized IP address " + text
	}
	return a.Unmap(), ""
}

// parseNet reads a network. The mask may be missing behind an IPv6 address only.
func parseNet(text string) (p netip.Prefix, msg string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Is4() || a.Zone() != "" {
			return p, "unrecognized IP network " + text
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p.Masked(), ""
}

var intBits = map[field.Type]int{field.TypeInt16: 16, field.TypeInt32: 32, field.TypeInt64: 64, field.TypeUint32: 32, field.TypePort: 16}

func parseNumber(t field.Type, text string) (n uint64, msg string) {
	bits, ok := intBits[t]
	if !ok {
		bits = 64
	}
	if classOf(t) == classInt {
		i, msg := parseInt(text, bits)
		return uint64(i), msg
	}
	if t == field.TypePort {
		if port, ok := servicePort(text); ok {
			return uint64(port), ""
		}
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), base(text), bits)
	if err == nil {
		return n, ""
	}
	if i, err := strconv.ParseInt(text, base(text), bits); err == nil && t != field.TypePort { // user.uid = -1 is the highest number
		return uint64(i) & (1<<bits - 1), ""
	}
	if t == field.TypePort {
		return 0, "'" + text + "' is no port number and no known service name"
	}
	return 0, "'" + text + "' is no number of type '" + typeNames[t] + "'"
}

func parseInt(text string, bits int) (n int64, msg string) {
	n, err := strconv.ParseInt(text, base(text), bits)
	if err != nil {
		return 0, "'" + text + "' is no number of type 'INT" + strconv.Itoa(bits) + "'"
	}
	return n, ""
}

// base is 16 for numbers that begin with 0x, and 10: octal and binary are no part of the language.
func base(text string) int {
	if t := strings.TrimLeft(text, "+-"); len(t) > 2 && t[0] == '0' && t[1]|0x20 == 'x' {
		return 0
	}
	return 10
}
