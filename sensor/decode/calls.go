package decode

import "github.com/tiercel-project/tiercel/rules/field"

//go:generate go run gen_calls.go

// NativeCalls returns the event types of this architecture's system calls, by number. Unused numbers have the zero type. On amd64 the
// numbers that only x32 uses follow, from 512.
func NativeCalls() []field.EventType { return nativeCalls }

// IA32Calls returns the event types of the 32-bit x86 system calls, by number.
func IA32Calls() []field.EventType { return ia32Calls }

// SocketCalls returns the event types of the calls behind socketcall, by its first argument.
func SocketCalls() []field.EventType { return socketCalls }

// socketCalls are the event types of the calls that linux/net.h numbers.
var socketCalls = eventTypes([]string{
	1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername", 8: "socketpair", 9: "send",
	10: "recv", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt", 15: "getsockopt", 16: "sendmsg", 17: "recvmsg",
	18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
})

func eventTypes(names []string) []field.EventType {
	types := make([]field.EventType, len(names))
	for nr, name := range names {
		types[nr], _ = field.EventTypeByName(name)
	}
	return types
}
