package extract

import (
	"net/netip"
	"strconv"
	"unsafe"
)

// string returns what was appended to buf since start. It is valid until the next Bind: buf only grows until then.
func (e *Event) string(start int) string {
	if start == len(e.buf) {
		return ""
	}
	return unsafe.String(&e.buf[start], len(e.buf)-start)
}

// concat returns the parts as one string.
func (e *Event) concat(parts ...string) string {
	start := len(e.buf)
	for _, p := range parts {
		e.buf = append(e.buf, p...)
	}
	return e.string(start)
}

// itoa returns n in digits.
func (e *Event) itoa(n int64) string {
	start := len(e.buf)
	e.buf = strconv.AppendInt(e.buf, n, 10)
	return e.string(start)
}

// addrPort appends ip:port as Falco writes it: IPv6 without brackets.
func (e *Event) addrPort(a netip.AddrPort) {
	e.buf = a.Addr().Unmap().WithZone("").AppendTo(e.buf)
	e.buf = append(e.buf, ':')
	e.buf = strconv.AppendUint(e.buf, uint64(a.Port()), 10)
}
