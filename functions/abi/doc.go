// Package abi is the contract between a function's WebAssembly module (the guest) and the runtime (the host): names, signatures,
// request and response types, error codes, limits. It is written to be enough to make an SDK or a host from, and testdata/README.md says how
// either is run against the cases there; tiercel.wit says the same in WIT for readers. The package uses no other and no encoding/json, so a
// guest that imports it pays nothing; reading and writing the manifest section is
// [github.com/tiercel-project/tiercel/functions/abi/manifest]. Read [Operations] first.
//
// # Module
//
// A guest is a core WebAssembly 1.0 module with the extensions of release 2.0 (no threads, no memory64, no second memory). It is a
// WASI preview 1 reactor: it exports its linear memory as "memory", may export "_initialize" () -> () and must export
// "tiercel_handle" (i32) -> i32. It may export "tiercel_warm" () -> (). It may import functions from [ImportModule] and from
// "wasi_snapshot_preview1" and nothing else.
//
// Initialisation, that is the start section, then _initialize, then tiercel_warm, if there are any, is run once when the module is made ready. The state
// it comes to is what every event finds: for each event the host makes a fresh instance with that state and calls tiercel_handle once,
// with the event's length in bytes. No state passes from one event to the next but through the kv operations. Initialisation may not call
// operations (every call answers the error [CodeInvalid]); its clock and random numbers are the same each time. A module whose
// instructions change tables or drop segments is initialised for each event instead, without tiercel_warm, which is for what would
// otherwise be done for the first time in every event: growing the memory, filling tables.
//
// # Imports of tiercel_v1
//
// All pointers and lengths are unsigned 32-bit values. The host reads and writes guest memory only during an import's own call, never
// allocates in the guest and never calls back into it. A range outside the memory ends the invocation (outcome failed, fault trap), also one of
// no bytes that begins behind the memory, and before anything else is done.
//
//	input(ptr, cap) -> len
//	    Copies min(cap, len) bytes of the event to ptr and returns len, the whole length. May be called again. The event is a
//	    CloudEvent 1.0 in JSON, structured mode.
//	output(ptr, len)
//	    Appends len bytes to the result. More than the output limit ends the invocation (fault output).
//	call(op, oplen, req, reqlen, resp, respcap) -> i64
//	    Performs the operation named by op (see Operations) on the JSON request. The answer's high 32 bits are the status: 0 for an
//	    answer, 1 for an Error; its low 32 bits are the length of the response in bytes. The first min(respcap, length) bytes are
//	    at resp; when the response is longer than respcap, response fetches the whole. More calls than the call limit end the
//	    invocation (fault calls). A request above the request limit is answered with CodeTooLarge.
//	response(ptr, cap) -> len
//	    Copies min(cap, len) bytes of the last call's response to ptr and returns len; 0 before the first call. Asks nothing anew.
//	log(level, ptr, len)
//	    Appends to the invocation's log. level is 0 debug, 1 info, 2 warn, 3 error; others count as info. A line feed begins another
//	    line. A text above the line limit is cut, what is above the log limit is dropped and counted; neither ends the invocation, but
//	    64 times the log limit does (fault log).
//
// Requests and responses are JSON objects in UTF-8. An SDK writes what is optional and has no value by leaving it out, and takes null in a
// response as left out; 64-bit numbers may have more digits than a double holds. For each operation, [Operations] names the types of its
// request and response in this package, whose tags are the keys. Unknown keys in a request are [CodeInvalid]; a guest ignores unknown keys in a
// response. A request that names one key twice is [CodeInvalid].
//
// # Result of tiercel_handle
//
// [StatusOK]: handled. The output is empty (the outcome is succeeded) or a [Result].
// [StatusFailed]: not handled. The output is a [Result] whose outcome is failed, or text, which becomes the result's text.
// Any other value, or output that is not what these say, ends as failed with the fault garbage.
//
// Before it returns, a guest may say how far it has come with the operation outcome; what the output says replaces it, and it is
// what is reported if the guest is stopped.
//
// # WASI
//
// The functions of preview 1 exist but there is nothing behind them: clock_time_get starts at the event's time, for every clock, and
// moves one nanosecond a reading and by the guest's own sleeping (poll_oneoff returns at once); random_get is seeded by the invocation;
// fd_write to 1 and 2 goes into the invocation's log (levels info and error); arguments and environment are empty; there are no files and
// no sockets; proc_exit ends the invocation. So the same event, config and answers give the same calls and the same result, which is
// what replay rests on. What a language's library seeded during initialisation (Go's math/rand, the order of its maps) is the same for
// every event of a module; random_get (Go's crypto/rand) is not.
//
// # Steps
//
// The host rewrites a module to count its steps: a function's entry takes as many as it has instructions outside of loops, each turn of
// a loop as many as its body has outside of inner loops, memory.copy, fill and init one for 16 bytes, memory.grow a thousand more. The
// count is the same for the same work on every machine, and is what a limit on fuel means. Names that begin with "__tiercel" are the
// host's own.
//
// # Faults
//
// A guest that breaks a rule is stopped, and its invocation ends as failed with one of: trap (it trapped, exited, or gave a range
// outside its memory), deadline, fuel, memory, output, calls, log (a limit was met) and garbage (the result is not what this page says).
//
// # Manifest
//
// The custom section [ManifestSection] holds one JSON object, [Manifest], readable without running the module. A module without one is
// refused when it is deployed. It says who the module is, what it needs and which configuration it takes.
package abi

//go:generate sh testdata/make.sh

// ImportModule is the name of the module that holds the host's functions. A contract that a v1 guest could not live with would be
// tiercel_v2, beside it.
const ImportModule = "tiercel_v1"

// Names of the imports, all in [ImportModule].
const (
	ImportInput    = "input"
	ImportOutput   = "output"
	ImportCall     = "call"
	ImportResponse = "response"
	ImportLog      = "log"
)

// Names of the exports.
const (
	ExportMemory     = "memory"
	ExportInitialize = "_initialize"
	ExportHandle     = "tiercel_handle"
	ExportWarm       = "tiercel_warm"
)

// Statuses that tiercel_handle returns.
const (
	StatusOK     = 0
	StatusFailed = 1
)

// Statuses in the high 32 bits of what call returns.
const (
	CallOK    = 0 // the response is the operation's
	CallError = 1 // the response is an [Error]
)

// A Level is the first argument of log.
type Level int32

// Levels of log.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

func (l Level) String() string {
	switch l {
	case LevelDebug:
		return "debug"
	case LevelWarn:
		return "warn"
	case LevelError:
		return "error"
	}
	return "info"
}
