package field

import "net/netip"

// A Kind says which part of a Value holds it.
type Kind uint8

// Kinds of a Value.
const (
	KindString Kind = iota + 1 // Str
	KindBytes                  // Str, any bytes
	KindInt                    // Num, two's complement
	KindUint                   // Num: unsigned numbers, ports, times in ns
	KindBool                   // Num, 0 or 1
	KindFloat                  // Num, IEEE 754 bits
	KindAddr                   // Addr
	KindPrefix                 // Prefix
	KindList                   // List, whose elements are no lists
)

// A Value is the value of a field in one event. That a field has no value is not a Value: Extract returns false.
type Value struct {
	Kind   Kind
	Num    uint64
	Str    string
	Addr   netip.Addr
	Prefix netip.Prefix
	List   []Value
}

// SetString makes v the string s.
func (v *Value) SetString(s string) bool { v.Kind, v.Str = KindString, s; return true }

// SetBytes makes v the bytes b, held as a string.
func (v *Value) SetBytes(b string) bool { v.Kind, v.Str = KindBytes, b; return true }

// SetInt makes v the signed number n.
func (v *Value) SetInt(n int64) bool { v.Kind, v.Num = KindInt, uint64(n); return true }

// SetUint makes v the unsigned number n.
func (v *Value) SetUint(n uint64) bool { v.Kind, v.Num = KindUint, n; return true }

// SetBool makes v the boolean b.
func (v *Value) SetBool(b bool) bool {
	v.Kind, v.Num = KindBool, 0
	if b {
		v.Num = 1
	}
	return true
}

// SetAddr makes v the address a.
func (v *Value) SetAddr(a netip.Addr) bool { v.Kind, v.Addr = KindAddr, a; return true }

// SetList makes v an empty list that keeps the capacity of the one before. AppendString adds to it.
func (v *Value) SetList() bool { v.Kind, v.List = KindList, v.List[:0]; return true }

// AppendString adds the string s to the list v.
func (v *Value) AppendString(s string) {
	v.List = append(v.List, Value{Kind: KindString, Str: s})
}
