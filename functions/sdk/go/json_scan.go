package tiercel

import (
	"math/bits"
	"unsafe"
)

// A turn of a loop is dear in Go's WebAssembly (each goes through the function's jump table), so text is looked at eight bytes a turn.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainRun returns the first index from i on whose byte has a meaning in a JSON string: a quote, a backslash, a control character, or
// one that is not ASCII. It is len(s) if there is none.
func plainRun(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		x := *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))
		quote, backslash := x^(ones*'"'), x^(ones*'\\')
		// Each term has the high bit of every byte that it looks for, and perhaps of some behind the first.
		found := ((x - ones*' ') &^ x) | ((quote - ones) &^ quote) | ((backslash - ones) &^ backslash) | (x + ones) | x
		if found &= highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			break
		}
	}
	return i
}
