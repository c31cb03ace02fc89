// Command hostile is a guest that does what its event's subject says.
package main

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"
	"unsafe"

	"github.com/tiercel-project/tiercel/functions/abi"
	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

//go:wasmimport tiercel_v1 output
func hostOutput(ptr unsafe.Pointer, n uint32)

//go:wasmimport tiercel_v1 call
func hostCall(op unsafe.Pointer, opLen uint32, request unsafe.Pointer, requestLen uint32, response unsafe.Pointer, room uint32) uint64

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(ptr unsafe.Pointer, n uint32) uint32

func main() {}

var (
	sink  int
	calls int // keeps what a state that lasted would show
)

func init() { tiercel.Handle(handle) }

func handle(ev tiercel.Event) error {
	calls++
	tiercel.Report("calls", calls)
	attack, ok := attacks[ev.Subject]
	if !ok {
		return tiercel.Skip("no attack " + ev.Subject)
	}
	return attack()
}

var attacks = map[string]func() error{
	"spin": func() error {
		for {
			sink++
		}
	},
	"memory": func() error {
		var keep [][]byte
		for {
			b := make([]byte, 1<<20)
			b[0] = 1
			keep = append(keep, b)
			sink += len(keep)
		}
	},
	"recursion": func() error { sink = recurse(1); return nil },
	"output-outside": func() error {
		hostOutput(unsafe.Pointer(uintptr(0xFFFFFF00)), 4096)
		return nil
	},
	"output-huge-length": func() error {
		hostOutput(unsafe.Pointer(uintptr(0x1000)), 0x0FFFFFFF)
		return nil
	},
	"output-negative-length": func() error {
		hostOutput(unsafe.Pointer(uintptr(0x1000)), 0xFFFFFFFF)
		return nil
	},
	"response-outside": func() error {
		op := "kv.get"
		hostCall(unsafe.Pointer(unsafe.StringData(op)), 6, unsafe.Pointer(unsafe.StringData(op)), 6, unsafe.Pointer(uintptr(0xFFFFFF00)), 4096)
		return nil
	},
	"request-outside": func() error {
		op := "kv.get"
		hostCall(unsafe.Pointer(unsafe.StringData(op)), 6, unsafe.Pointer(uintptr(0xFFFFFF00)), 4096, nil, 0)
		return nil
	},
	"overlapping": func() error { // the response goes over the request and the operation's name
		b := []byte(`kv.get{"key":"k"}`)
		p := unsafe.Pointer(&b[0])
		answer := hostCall(p, 6, unsafe.Add(p, 6), uint32(len(b)-6), p, uint32(len(b)))
		tiercel.Report("answer", answer)
		tiercel.Report("buffer", string(b))
		return nil
	},
	"corrupt": func() error { // all of its own memory: heap, stacks, the allocator's lists
		for p := uintptr(4096); ; p += 8 {
			*(*uint64)(unsafe.Pointer(p)) = ^uint64(sink) //nolint:govet // on purpose
		}
	},
	"output-flood": func() error {
		b := make([]byte, 1<<10)
		for {
			hostOutput(unsafe.Pointer(&b[0]), uint32(len(b)))
		}
	},
	"log-flood": func() error {
		for range 1000 {
			tiercel.Log(strings.Repeat("x", 1000))
		}
		return nil
	},
	"log-for-ever": func() error {
		for {
			tiercel.Log("another line, and another line, and another line, and another line, and another line")
		}
	},
	"print-for-ever": func() error {
		for {
			println("another line, and another line, and another line, and another line, and another line")
		}
	},
	"log-huge-line": func() error { tiercel.Log(strings.Repeat("x", 1<<20)); return nil },
	"log-binary":    func() error { tiercel.Log("\x1b[2J\xff\x00end\nsecond\n"); return nil },
	"print":         func() error { print("half "); println("line"); print("rest"); return nil },
	"call-flood": func() error {
		for {
			_, _ = tiercel.KVGet("k")
		}
	},
	"request-huge": func() error {
		_, err := tiercel.KVPut("k", strings.Repeat("x", 2<<20), 0)
		return err
	},
	"unknown-operation": func() error { _, err := tiercel.Call("no.such", tiercel.Object{}); return err },
	"panic": func() error {
		var m map[string]int
		m["x"] = 1 //nolint:staticcheck // on purpose
		return nil
	},
	"deadlock":       func() error { select {} },
	"goroutines":     func() error { return goroutines(100_000) },
	"goroutines-100": func() error { return goroutines(100) },
	"grow": func() error {
		kept = make([]byte, 4<<20)
		for i := range kept {
			kept[i] = 0xaa
		}
		return nil
	},
	"sleep": func() error {
		start := time.Now()
		time.Sleep(3 * time.Second)
		tiercel.Report("slept", int64(time.Since(start)/time.Millisecond))
		return nil
	},
	"entropy": func() error {
		var random [8]byte
		randomGet(unsafe.Pointer(&random), 8)
		tiercel.Report("random", binary.LittleEndian.Uint64(random[:]))
		tiercel.Report("random of the module", rand.Uint64())
		tiercel.Report("clock", time.Now().UnixNano())
		m := map[int]bool{}
		for i := range 50 {
			m[i] = true
		}
		var order tiercel.List
		for k := range m {
			order = append(order, k)
		}
		tiercel.Report("order", order)
		return nil
	},
	"progress-then-spin": func() error {
		tiercel.Progress("half way")
		for {
			sink++
		}
	},
	"retry": func() error { return tiercel.Retry(&tiercel.Error{Code: abi.CodeConflict, Text: "changed"}) },
	"calls": func() error {
		e, err := tiercel.KVGet("k")
		tiercel.Report("value", e.Value)
		return err
	},
	"big-response": func() error {
		e, err := tiercel.KVGet("big")
		tiercel.Report("length", len(e.Value))
		return err
	},
	"host-panic": func() error { _, err := tiercel.KVGet("panic"); return err },
	"self": func() error {
		tiercel.Report("id", tiercel.InvocationID())
		tiercel.Report("function", tiercel.FunctionName())
		tiercel.Report("config", tiercel.Config())
		return nil
	},
}

var kept []byte

func goroutines(n int) error {
	for range n {
		go func() { select {} }()
	}
	return nil
}

//go:noinline
func recurse(n int) int {
	var pad [64]int
	pad[n%64] = n
	return recurse(n+1) + pad[(n+1)%64]
}
