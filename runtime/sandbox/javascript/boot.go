package javascript

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tetratelabs/wazero/api"

	sdk "github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// Flags of JS_Eval.
const (
	evalModule  = 1 << 0
	evalCompile = 1 << 5
)

const (
	// stackSize is how much of the engine's 1 MiB of stack calls of JavaScript may take: what is left is for the engine's own.
	stackSize = 512 << 10
	// collectAt is from how many bytes of objects on the engine looks for cycles: an event hardly ever gets there, and what it
	// leaves is put back with everything else.
	collectAt = 8 << 20
)

// A vm calls the engine in one instance. It is used while that is made ready, never while it handles an event.
type vm struct {
	ctx    context.Context //nolint:containedctx // of the initialisation that is under way
	mod    api.Module
	export func(name string) api.Function
	js     uint64 // JSContext
	err    error  // the first: what is called afterwards does nothing
}

// A Handle is the loaded SDK in one instance.
type Handle struct {
	vm  *vm
	sdk uint64 // the object that tiercel.js returns
}

// Boot starts the engine in an instance whose _initialize has been run and loads the SDK. export returns the instance's exports.
func Boot(ctx context.Context, mod api.Module, export func(name string) api.Function, table uint32) (*Handle, error) {
	v := &vm{ctx: ctx, mod: mod, export: export}
	if v.call("qjs_init") != 0 {
		return nil, v.fail("the engine cannot be started")
	}
	v.js = v.call("qjs_get_context_ptr")
	runtime := v.call("qjs_get_runtime_ptr")
	v.call("JS_SetMaxStackSize", runtime, stackSize)
	v.call("qjs_set_promise_rejection_handler", 1)
	v.set(globalContext, v.js)
	v.set(globalRuntime, runtime)
	v.set(globalBuffer, v.call("malloc", bufferSize))

	host := v.call("JS_NewObject", v.js)
	for slot, name := range []string{
		slotCall: "call", slotLog: "log", slotOutput: "output", slotRandom: "random", slotEvent: "event",
		slotQuote: "quote", slotLabelValue: "labelValue", slotBegin: "begin",
	} {
		text := v.text(name) // in this order: the state that is sealed is the same each time
		f := v.call("JS_NewCFunction2", v.js, uint64(table)+uint64(slot), text, 2, 0, 0)
		v.call("JS_SetPropertyStr", v.js, host, text, f)
	}
	load := v.eval(sdk.SDK, sdk.SDKName, 0)
	h := &Handle{vm: v, sdk: v.invoke(load, host)}
	v.set(globalDispatch, h.member("dispatch"))
	v.set(globalFinish, h.member("finish"))
	v.set(globalReject, h.member("reject"))
	if v.err == nil {
		v.invoke(h.member("warm"))
	}
	v.call("JS_RunGC", runtime)
	v.call("JS_SetGCThreshold", runtime, collectAt)
	if v.err != nil {
		return nil, fmt.Errorf("the SDK: %w", v.err)
	}
	return h, nil
}

// Load evaluates a program, which may call nothing yet, and makes its default export the handler. What is wrong with it is an *Error.
func (h *Handle) Load(p *sdk.Program) (Exports, error) {
	v := h.vm
	module := v.eval(p.Code(), p.File, evalModule|evalCompile)
	if v.err == nil {
		promise := v.value(v.call("JS_EvalFunction", v.js, module))
		v.run()
		v.settled(promise)
	}
	var out Exports
	if v.err == nil {
		exports := v.value(v.call("JS_GetModuleNamespace", v.js, module&math.MaxUint32)) // modules live as long as the engine
		out.Manifest = h.exported(exports, "manifest")
		out.Spec = h.exported(exports, "spec")
		v.invoke(h.member("load"), exports)
	}
	if e, ok := errors.AsType[*Error](v.err); ok && e.At == "" {
		e.At = p.File
	}
	return out, v.err
}

func (h *Handle) member(name string) uint64 { return h.vm.property(h.sdk, name) }

func (h *Handle) exported(exports uint64, name string) string {
	return h.vm.toString(h.vm.invoke(h.member("exported"), exports, h.vm.newString(name)))
}

func (v *vm) fail(text string) error {
	if v.err == nil {
		v.err = errors.New(text)
	}
	return v.err
}

// call calls an export of the engine. Numbers of 32 bits come back without what is in the upper half.
func (v *vm) call(name string, args ...uint64) uint64 {
	if v.err != nil {
		return undefined
	}
	f := v.export(name)
	out, err := f.Call(v.ctx, args...)
	if err != nil {
		v.err = err
		return undefined
	}
	if len(out) == 0 {
		return 0
	}
	if f.Definition().ResultTypes()[0] == api.ValueTypeI32 {
		return out[0] & math.MaxUint32
	}
	return out[0]
}

func (v *vm) set(global string, value uint64) {
	if v.err == nil {
		v.mod.ExportedGlobal(wasm.GlobalExport(global)).(api.MutableGlobal).Set(value)
	}
}

// text puts a text with a zero behind it into the engine's memory, where it stays.
func (v *vm) text(s string) uint64 {
	p := v.call("malloc", uint64(len(s)+1))
	if v.err == nil && (p == 0 || !v.mod.Memory().Write(uint32(p), append([]byte(s), 0))) {
		_ = v.fail("the engine has no memory left")
	}
	return p
}

func (v *vm) newString(s string) uint64 {
	p := v.text(s)
	value := v.value(v.call("JS_NewStringLen", v.js, p, uint64(len(s))))
	v.call("free", p)
	return value
}

// value returns a value that an API function gave, having noted what was thrown.
func (v *vm) value(x uint64) uint64 {
	if v.err == nil && x == exception {
		v.thrown(v.call("JS_GetException", v.js))
	}
	return x
}

func (v *vm) eval(source, file string, flags uint64) uint64 {
	src, name := v.text(source), v.text(file)
	x := v.value(v.call("JS_Eval", v.js, src, uint64(len(source)), name, flags))
	if v.err == nil {
		v.call("free", src)
		v.call("free", name)
	}
	return x
}

// invoke calls a function of JavaScript.
func (v *vm) invoke(f uint64, args ...uint64) uint64 {
	list := v.call("malloc", uint64(8*len(args)+8))
	for i, a := range args {
		if v.err == nil && !v.mod.Memory().WriteUint64Le(uint32(list)+uint32(8*i), a) {
			_ = v.fail("the engine has no memory left")
		}
	}
	x := v.value(v.call("JS_Call", v.js, f, undefined, uint64(len(args)), list))
	v.call("free", list)
	return x
}

func (v *vm) property(object uint64, name string) uint64 {
	p := v.text(name)
	x := v.value(v.call("JS_GetPropertyStr", v.js, object, p))
	v.call("free", p)
	return x
}

func (v *vm) toString(value uint64) string {
	length := v.call("malloc", 4)
	p := v.call("JS_ToCStringLen2", v.js, length, value, 0)
	if v.err != nil {
		return ""
	}
	var s string
	if n, ok := v.mod.Memory().ReadUint32Le(uint32(length)); ok && p != 0 {
		b, _ := v.mod.Memory().Read(uint32(p), n)
		s = string(b)
	}
	v.call("JS_FreeCString", v.js, p)
	v.call("free", length)
	return s
}

// run runs the jobs that are left.
func (v *vm) run() {
	runtime, where := v.call("qjs_get_runtime_ptr"), v.call("malloc", 4)
	for v.err == nil && v.call("JS_ExecutePendingJob", runtime, where) != 0 {
		continue
	}
	v.call("free", where)
}

// settled notes what a program's top level threw.
func (v *vm) settled(promise uint64) {
	const pending, rejected = 0, 2
	if v.err != nil || v.call("JS_IsPromise", promise) == 0 {
		return
	}
	switch v.call("JS_PromiseState", v.js, promise) {
	case pending:
		v.err = &Error{Text: "its top level waits for a promise that nothing will settle"}
	case rejected:
		v.thrown(v.call("JS_PromiseResult", v.js, promise))
	}
}

// thrown makes an *Error of what was thrown. The SDK describes it; while that is loaded there is only its text.
func (v *vm) thrown(value uint64) {
	e := &Error{Text: v.toString(value)}
	if value>>32 == undefined>>32 || value>>32 == undefined>>32-1 { // undefined, null
		v.err = e
		return
	}
	if stack := v.toString(v.property(value, "stack")); strings.Contains(stack, " at ") {
		e.Stack = stack
		e.At = position(stack)
	}
	v.err = e
}

// position returns the place that the first frame of a stack names which is neither the SDK's nor the engine's.
func position(stack string) string {
	for line := range strings.Lines(stack) {
		line = strings.TrimSpace(line)
		place := strings.TrimSuffix(line[strings.LastIndexAny(line, " (")+1:], ")")
		if strings.HasPrefix(line, "at ") && place != "native" && !strings.HasPrefix(place, sdk.SDKName) {
			return place
		}
	}
	return ""
}
