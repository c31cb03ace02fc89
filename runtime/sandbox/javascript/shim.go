package javascript

import (
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

const (
	i32 = "\x7f"
	i64 = "\x7e"
)

// room is what a response is given at first; a longer one is fetched into memory of its own. The buffer's first bytes are scratch.
const (
	room        = 16 << 10
	bufferStart = 64
	bufferSize  = bufferStart + room + 1
)

// Values of the engine that have no address: a tag in the upper half.
const (
	undefined = 3 << 32
	exception = 6 << 32
)

// Globals of the shim.
const (
	globalContext  = "context"  // i32: JSContext
	globalRuntime  = "runtime"  // i32: JSRuntime
	globalBuffer   = "buffer"   // i32: of bufferSize bytes
	globalDispatch = "dispatch" // i64: functions of the SDK
	globalFinish   = "finish"
	globalReject   = "reject"
)

// Functions of the shim that JavaScript calls, by their places in the table.
const (
	slotCall = iota
	slotLog
	slotOutput
	slotRandom
	slotEvent
	slotQuote
	slotLabelValue
	slotBegin
)

// native is the signature of a C function that JavaScript calls: (context, this, argc, argv) -> value.
var native = wasm.FuncType{Params: i32 + i64 + i32 + i32, Results: i64}

// shim makes the engine a guest as functions/abi describes them: tiercel_handle, and functions for the SDK that call the imports. So the
// host never calls back into an engine that waits for it.
var shim = wasm.Extension{
	Imports: []wasm.Import{
		{Module: abi.ImportModule, Name: abi.ImportInput, Type: wasm.FuncType{Params: i32 + i32, Results: i32}},
		{Module: abi.ImportModule, Name: abi.ImportOutput, Type: wasm.FuncType{Params: i32 + i32}},
		{Module: abi.ImportModule, Name: abi.ImportCall, Type: wasm.FuncType{Params: i32 + i32 + i32 + i32 + i32 + i32, Results: i64}},
		{Module: abi.ImportModule, Name: abi.ImportResponse, Type: wasm.FuncType{Params: i32 + i32, Results: i32}},
		{Module: abi.ImportModule, Name: abi.ImportLog, Type: wasm.FuncType{Params: i32 + i32 + i32}},
	},
	Globals: map[string]byte{
		globalContext: i32[0], globalRuntime: i32[0], globalBuffer: i32[0],
		globalDispatch: i64[0], globalFinish: i64[0], globalReject: i64[0],
	},
	Replace: map[string]string{
		"env.host_get_timezone_offset": "zero2", // UTC
		"env.host_interrupt":           "zero0",
		"env.host_promise_rejection":   "rejection",
		"env.host_module_normalize":    "zero2",
		"env.host_module_load":         "zero2",
		"env.host_call":                "zero5",
	},
	Function: []wasm.Function{
		{Name: "js_call", Type: native, Locals: i32 + i32 + i64 + i32 + i32 + i64, Code: `
			;; 4 operation, 5 request, 6 answer, 7 length, 8 response, 9 value
			local.get 0  global.get buffer  local.get 3  i64.load 0  i32.const 0  call JS_ToCStringLen2  local.tee 4
			i32.eqz if i64.const 25769803776 return end
			local.get 0  global.get buffer i32.const 4 i32.add  local.get 3  i64.load 8  i32.const 0  call JS_ToCStringLen2  local.tee 5
			i32.eqz if i64.const 25769803776 return end
			global.get buffer i32.const 64 i32.add  local.set 8
			local.get 4  global.get buffer i32.load 0  local.get 5  global.get buffer i32.load 4  local.get 8  i32.const 16384  call tiercel_v1.call  local.set 6
			local.get 0 local.get 4 call JS_FreeCString
			local.get 0 local.get 5 call JS_FreeCString
			local.get 6 i32.wrap_i64 local.tee 7  i32.const 16384  i32.gt_u if
				local.get 7 i32.const 1 i32.add call malloc local.tee 8
				i32.eqz if local.get 0 call JS_ThrowOutOfMemory return end
				local.get 8 local.get 7 call tiercel_v1.response drop
			end
			local.get 8 local.get 7 i32.add i32.const 0 i32.store8 0  ;; the parser wants a zero behind the text
			local.get 0 local.get 8 local.get 7 i32.const 0 call JS_ParseJSON local.set 9
			local.get 7 i32.const 16384 i32.gt_u if local.get 8 call free end
			local.get 9 i64.const 25769803776 i64.ne if
				local.get 6 i64.const 32 i64.shr_u i32.wrap_i64 if
					local.get 0 local.get 9 call JS_Throw return
				end
			end
			local.get 9`},
		{Name: "js_log", Type: native, Locals: i32, Code: `
			;; 4 text
			local.get 0  global.get buffer  local.get 3 i64.load 8  i32.const 0  call JS_ToCStringLen2  local.tee 4
			i32.eqz if i64.const 25769803776 return end
			local.get 3 i64.load 0 i32.wrap_i64  local.get 4  global.get buffer i32.load 0  call tiercel_v1.log
			local.get 0 local.get 4 call JS_FreeCString
			i64.const 12884901888`},
		{Name: "js_output", Type: native, Locals: i32, Code: `
			;; 4 text
			local.get 0  global.get buffer  local.get 3 i64.load 0  i32.const 0  call JS_ToCStringLen2  local.tee 4
			i32.eqz if i64.const 25769803776 return end
			local.get 4  global.get buffer i32.load 0  call tiercel_v1.output
			local.get 0 local.get 4 call JS_FreeCString
			i64.const 12884901888`},
		{Name: "js_random", Type: native, Code: `
			global.get buffer i32.const 8 call wasi_snapshot_preview1.random_get drop
			local.get 0
			global.get buffer i64.load 0 i64.const 11 i64.shr_u f64.convert_i64_u f64.const.bits 0x3ca0000000000000 f64.mul  ;; 53 bits, times 2^-53
			call JS_NewNumber`},
		{Name: "js_event", Type: native, Locals: i32 + i32 + i64, Code: `
			;; 4 text, 5 length, 6 value
			global.get buffer i32.const 0 call tiercel_v1.input local.tee 5
			call malloc local.tee 4
			i32.eqz if local.get 0 call JS_ThrowOutOfMemory return end
			local.get 4 local.get 5 call tiercel_v1.input drop
			local.get 0 local.get 4 local.get 5 call JS_NewStringLen local.set 6
			local.get 4 call free
			local.get 6`},
		{Name: "js_quote", Type: native, Locals: i32 + i32 + i32 + i32 + i32 + i64, Code: `
			;; 4 text, 5 length, 6 quoted, 7 place in the text, 8 byte, 9 value
			local.get 0  global.get buffer  local.get 3 i64.load 0  i32.const 0  call JS_ToCStringLen2  local.tee 4
			i32.eqz if i64.const 25769803776 return end
			global.get buffer i32.load 0 local.tee 5
			i32.const 2 i32.add call malloc local.tee 6
			i32.eqz if local.get 0 local.get 4 call JS_FreeCString  local.get 0 call JS_ThrowOutOfMemory return end
			local.get 6 i32.const 34 i32.store8 0
			block loop
				local.get 7 local.get 5 i32.eq br_if 1
				local.get 4 local.get 7 i32.add i32.load8_u 0 local.tee 8
				i32.const 32 i32.lt_u  local.get 8 i32.const 34 i32.eq i32.or  local.get 8 i32.const 92 i32.eq i32.or
				local.get 8 i32.const 237 i32.eq i32.or if  ;; how halves of pairs of surrogates begin
					local.get 6 call free
					local.get 0 local.get 4 call JS_FreeCString
					i64.const 12884901888 return
				end
				local.get 6 local.get 7 i32.add local.get 8 i32.store8 1
				local.get 7 i32.const 1 i32.add local.set 7
				br 0
			end end
			local.get 6 local.get 7 i32.add i32.const 34 i32.store8 1
			local.get 0 local.get 4 call JS_FreeCString
			local.get 0 local.get 6 local.get 5 i32.const 2 i32.add call JS_NewStringLen local.set 9
			local.get 6 call free
			local.get 9`},
		{Name: "js_label_value", Type: native, Locals: i32 + i32 + i32 + i32 + i32 + i32, Code: `
			;; 4 text, 5 length, 6 place in the text, 7 byte, 8 where what is kept begins, 9 where it ends. The value is made in the buffer
			local.get 0  global.get buffer  local.get 3 i64.load 0  i32.const 0  call JS_ToCStringLen2  local.tee 4
			i32.eqz if i64.const 25769803776 return end
			global.get buffer i32.load 0 local.tee 5
			i32.const 63 i32.gt_u if i32.const 63 local.set 5 end
			block loop
				local.get 6 local.get 5 i32.eq br_if 1
				local.get 4 local.get 6 i32.add i32.load8_u 0 local.set 7
				block
					local.get 7 i32.const 48 i32.sub i32.const 10 i32.lt_u
					local.get 7 i32.const 32 i32.or i32.const 97 i32.sub i32.const 26 i32.lt_u i32.or if  ;; a digit or a letter
						local.get 9 i32.eqz if local.get 6 local.set 8 end
						local.get 6 i32.const 1 i32.add local.set 9
						br 1
					end
					local.get 7 i32.const 45 i32.eq  local.get 7 i32.const 46 i32.eq i32.or br_if 0
					i32.const 95 local.set 7
				end
				global.get buffer local.get 6 i32.add local.get 7 i32.store8 64
				local.get 6 i32.const 1 i32.add local.set 6
				br 0
			end end
			local.get 0 local.get 4 call JS_FreeCString
			local.get 0  global.get buffer i32.const 64 i32.add local.get 8 i32.add  local.get 9 local.get 8 i32.sub  call JS_NewStringLen`},
		{Name: "js_begin", Type: native, Locals: i32 + i32 + i32, Code: `
			;; 4 argument, 5 length of what is in the buffer, 6 the upper half of a value. It moves 3 on
			global.get buffer i32.const 123 i32.store8 64
			i32.const 1 local.set 5
			block loop
				local.get 4 i32.const 1 i32.add local.get 2 i32.lt_u i32.eqz br_if 1
				block
					local.get 3 i64.load 8 i64.const 32 i64.shr_u i32.wrap_i64 local.tee 6
					i32.const 3 i32.eq br_if 0  ;; undefined
					local.get 6 i32.const 7 i32.add i32.const 2 i32.lt_u i32.eqz if i64.const 12884901888 return end  ;; neither of the two kinds of strings
					local.get 5 i32.const 1 i32.gt_u if
						global.get buffer local.get 5 i32.add i32.const 44 i32.store8 64
						local.get 5 i32.const 1 i32.add local.set 5
					end
					local.get 0 local.get 3 i64.load 0 local.get 5 call append local.tee 5
					i32.eqz if i64.const 12884901888 return end
					global.get buffer local.get 5 i32.add i32.const 58 i32.store8 64
					local.get 0 local.get 3 i64.load 8 local.get 5 i32.const 1 i32.add call append local.tee 5
					i32.eqz if i64.const 12884901888 return end
				end
				local.get 3 i32.const 16 i32.add local.set 3
				local.get 4 i32.const 2 i32.add local.set 4
				br 0
			end end
			local.get 0  global.get buffer i32.const 64 i32.add  local.get 5  call JS_NewStringLen`},
		{Name: abi.ExportHandle, Export: true, Type: wasm.FuncType{Params: i32, Results: i32}, Locals: i32 + i64, Code: `
			;; 1 event, 2 value. What is called with the buffer for its arguments keeps them there: nothing else is written behind byte 40
			local.get 0 i32.const 1 i32.add call malloc local.tee 1
			i32.eqz if unreachable end
			local.get 1 local.get 0 call tiercel_v1.input drop
			local.get 1 local.get 0 i32.add i32.const 0 i32.store8 0
			global.get context local.get 1 local.get 0 i32.const 0 call JS_ParseJSON local.set 2
			local.get 1 call free
			local.get 2 i64.const 25769803776 i64.eq if i64.const 12884901888 local.set 2 end
			global.get buffer local.get 2 i64.store 40
			global.get context global.get dispatch i64.const 12884901888 i32.const 1 global.get buffer i32.const 40 i32.add call JS_Call drop
			loop
				global.get runtime global.get buffer call JS_ExecutePendingJob if br 1 end
			end
			global.get context global.get finish i64.const 12884901888 i32.const 0 global.get buffer call JS_Call local.tee 2
			i64.const 25769803776 i64.eq if unreachable end
			local.get 2 i32.wrap_i64`},
		{Name: "append", Type: wasm.FuncType{Params: i32 + i64 + i32, Results: i32}, Locals: i32 + i32 + i32 + i32 + i32, Code: `
			;; context, text, length: puts a text into the buffer, in quotes, and returns the length then; 0 if it needs more than that, or more
			;; room than there is. 3 text, 4 end, 5 where it is put, 6 byte, 7 place in the text
			local.get 0  global.get buffer  local.get 1  i32.const 0  call JS_ToCStringLen2  local.tee 3
			i32.eqz if i32.const 0 return end
			global.get buffer i32.load 0 local.set 4
			block
				local.get 4 i32.const 15000 i32.gt_u br_if 0
				local.get 2 local.get 4 i32.add i32.const 16000 i32.gt_u br_if 0
				local.get 3 local.get 4 i32.add local.set 4
				local.get 3 local.set 7
				global.get buffer local.get 2 i32.add local.tee 5
				i32.const 34 i32.store8 64
				loop
					local.get 7 local.get 4 i32.eq if
						local.get 5 i32.const 34 i32.store8 65
						local.get 0 local.get 3 call JS_FreeCString
						local.get 5 global.get buffer i32.sub i32.const 2 i32.add return
					end
					local.get 7 i32.load8_u 0 local.tee 6
					i32.const 32 i32.lt_u  local.get 6 i32.const 34 i32.eq i32.or  local.get 6 i32.const 92 i32.eq i32.or
					local.get 6 i32.const 237 i32.eq i32.or br_if 1
					local.get 5 local.get 6 i32.store8 65
					local.get 5 i32.const 1 i32.add local.set 5
					local.get 7 i32.const 1 i32.add local.set 7
					br 0
				end
			end
			local.get 0 local.get 3 call JS_FreeCString
			i32.const 0`},
		{Name: "rejection", Type: wasm.FuncType{Params: i32 + i32 + i32}, Code: `
			;; promise, reason, handled: the first two by their addresses
			global.get buffer local.get 0 i64.load 0 i64.store 8
			global.get buffer local.get 1 i64.load 0 i64.store 16
			global.get buffer i64.const 0 i64.store 24
			global.get buffer local.get 2 i32.store 24
			global.get context global.get reject i64.const 12884901888 i32.const 3 global.get buffer i32.const 8 i32.add call JS_Call drop`},
		{Name: "zero0", Type: wasm.FuncType{Results: i32}, Code: "i32.const 0"},
		{Name: "zero2", Type: wasm.FuncType{Params: i32 + i32, Results: i32}, Code: "i32.const 0"},
		{Name: "zero5", Type: wasm.FuncType{Params: i32 + i32 + i32 + i32 + i32, Results: i32}, Code: "i32.const 0"},
	},
}
