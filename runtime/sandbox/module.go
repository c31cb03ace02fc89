package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// Limits of a module's initialisation.
const (
	initTimeout = 2 * time.Second
	initMemory  = abi.MaxInitial
)

// A Module is a compiled module. It is safe for concurrent use.
//
// Its initialisation is run once, when it is compiled; the state it comes to is what every event finds: an instance that has handled one
// without fault is brought back into it, any other is thrown away. A module whose state is not all in memory and globals gets a new
// instance for each event, which is initialised by itself.
type Module struct {
	engine   *Engine
	compiled wazero.CompiledModule
	manifest abi.Manifest
	image    *image

	pages   uint32 // of memory that an instance begins with
	start   bool   // has a start function
	init    bool   // has _initialize
	warm    bool   // has tiercel_warm
	names   []string
	globals []uint64 // values by names, after initialisation
	each    bool     // every instance is initialised by itself

	mu      sync.Mutex
	idle    map[int64][]*instance // by the size of their region; guarded by mu, nil once closed
	running int                   // invocations; guarded by mu
}

// ErrClosed is the cause of a *Stop that Handle returns for a module that has been closed.
var ErrClosed = errors.New("the module has been closed")

// Validate checks a module as Compile does, short of compiling and initialising it, and returns its manifest.
func Validate(bin []byte) (abi.Manifest, error) {
	m, info, sections, err := validate(bin)
	if err != nil {
		return m, err
	}
	_, _, err = rewrite(sections, info)
	return m, err
}

// rewrite makes a module one that is bounded and begins empty: its tables have a maximum, its steps are metered, its data and start function
// are beside it.
func rewrite(sections []wasm.Section, info *wasm.Info) (*wasm.Stripped, wasm.Traits, error) {
	sections, err := wasm.CapTables(sections, maxTableElements/maxTables)
	var traits wasm.Traits
	if err == nil {
		sections, traits, err = wasm.Meter(sections)
	}
	var stripped *wasm.Stripped
	if err == nil {
		stripped, err = wasm.Strip(sections, info)
	}
	if err != nil {
		return nil, traits, &ModuleError{Text: err.Error(), Hint: "functions are WebAssembly 2.0 without threads"}
	}
	return stripped, traits, nil
}

// Compile checks a module, compiles it and initialises it. What the module has wrong is a *ModuleError, or several, joined; any other
// error is the machine's.
func (e *Engine) Compile(ctx context.Context, bin []byte) (*Module, error) {
	manifest, info, sections, err := validate(bin)
	if err != nil {
		return nil, err
	}
	stripped, traits, err := rewrite(sections, info)
	if err != nil {
		return nil, err
	}
	compiled, err := e.rt.CompileModule(ctx, wasm.Encode(stripped.Sections))
	if err != nil {
		if _, ok := errors.AsType[*fs.PathError](err); ok { // of the cache
			return nil, fmt.Errorf("compile: %w", err)
		}
		return nil, &ModuleError{Text: fmt.Sprintf("it is not a valid module: %v", err), Hint: "the compiler that made it used a feature beyond WebAssembly 2.0, or is broken"}
	}
	m := &Module{
		engine: e, compiled: compiled, manifest: manifest,
		pages: uint32(len(stripped.Image) / wasm.PageSize),
		start: stripped.Start, init: info.Export(abi.ExportInitialize) != nil, warm: info.Export(abi.ExportWarm) != nil,
		names: stripped.Globals,
		each:  traits.MutatesTables || traits.DropsSegments,
		idle:  map[int64][]*instance{},
	}
	if m.image, err = newImage(stripped.Image, e.Slots()); err != nil {
		return nil, err
	}
	if !m.each {
		err = m.initialise(ctx, sha256.Sum256(bin))
	}
	if err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// Manifest returns the module's manifest.
func (m *Module) Manifest() abi.Manifest { return m.manifest }

// Memory returns the size in bytes that the module's memory begins with: the least Limits.Memory that it can run with.
func (m *Module) Memory() int64 { return int64(m.pages) * wasm.PageSize }

// Close frees the compiled code and the memory, once the last running invocation has ended. None starts afterwards. It may be called
// twice.
func (m *Module) Close() error {
	m.mu.Lock()
	idle, last := m.idle, m.running == 0
	m.idle = nil
	m.mu.Unlock()
	for _, l := range idle {
		for _, in := range l {
			in.discard()
		}
	}
	if !last {
		return nil
	}
	return m.free()
}

func (m *Module) free() error {
	m.image.close()
	return m.compiled.Close(context.Background())
}

// begin counts an invocation in, unless m is closed.
func (m *Module) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idle == nil {
		return ErrClosed
	}
	m.running++
	return nil
}

// end counts an invocation out; the last one of a closed module frees it.
func (m *Module) end() {
	m.mu.Lock()
	m.running--
	last := m.idle == nil && m.running == 0
	m.mu.Unlock()
	if last {
		_ = m.free() // closing compiled code does not fail
	}
}

// initialise runs the initialisation and makes the state it comes to the one that instances begin from. It has the same clock and random
// numbers on every machine, so that it comes to the same state.
func (m *Module) initialise(ctx context.Context, seed [32]byte) error {
	inv := &Invocation{Seed: seed, Time: time.Unix(1, 0), Limits: Limits{Timeout: initTimeout, Memory: initMemory}.withDefaults()}
	c := &call{ctx: ctx, inv: inv, report: &Report{}, clock: newStopwatch(initTimeout)}
	r, err := m.image.take(initMemory)
	if err != nil {
		return err
	}
	in := &instance{memory: r}
	defer in.discard()
	guest := context.WithValue(ctx, callKey{}, c)
	if err = m.instantiate(guest, in); err == nil {
		err = m.runInit(guest, in.mod)
	}
	if err == nil && m.warm {
		err = export(guest, in.mod, abi.ExportWarm)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.flush()
		return &ModuleError{Text: fmt.Sprintf("its initialisation: %v", c.reason(ctx, r, err)), Hint: "what needs an event belongs into the handler"}
	}
	image, err := newImage(r.base[:r.size], m.engine.Slots())
	if err != nil {
		return err
	}
	m.image.close() // r is freed when it is given back
	m.image, m.pages = image, uint32(r.size/wasm.PageSize)
	for _, name := range m.names {
		m.globals = append(m.globals, in.mod.ExportedGlobal(name).Get())
	}
	return nil
}
