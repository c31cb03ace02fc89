// Package sandbox runs functions: WebAssembly modules that get one event, may ask the host for operations, and give a result. Each
// event gets an instance of its own, so nothing passes from one to the next; whatever a module does, it ends as a [Fault] of that one
// invocation. The contract is functions/abi.
//
// What an operation does is the [Host]'s matter (runtime/capability), as are who is run when, and what is recorded (runtime/dispatch,
// runtime/journal). Read [Engine] first, then [Module.Handle].
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tetratelabs/wazero"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A Config says how an Engine works.
type Config struct {
	CacheDir string // where compiled modules are kept between processes; empty: in memory only
	Slots    int    // invocations running at one time. 1 to 1024. Default 8 per CPU: most of their time is waiting for the host
}

// DefaultConfig returns the defaults, without a cache folder.
func DefaultConfig() Config { return Config{Slots: min(8*runtime.GOMAXPROCS(0), 1024)} }

// Validate names what is wrong with c.
func (c Config) Validate() error {
	if c.Slots < 1 || c.Slots > 1024 {
		return fmt.Errorf("slots: %d is not within 1 and 1024", c.Slots)
	}
	return nil
}

// An Engine compiles modules and bounds how many of their invocations run at one time. It is safe for concurrent use.
type Engine struct {
	rt      wazero.Runtime
	cache   wazero.CompilationCache
	slots   chan struct{}
	memory  *regions
	metrics *metrics
}

// New returns an Engine; the caller closes it. reg may be nil.
func New(cfg Config, reg prometheus.Registerer) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cache := wazero.NewCompilationCache()
	if cfg.CacheDir != "" {
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(cfg.CacheDir); err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
	}
	ctx := context.Background()
	// Not WithCloseOnContextDone: modules are metered instead, at a tenth of the price.
	rc := wazero.NewRuntimeConfigCompiler().
		WithCompilationCache(cache).
		WithMemoryLimitPages(abi.MaxMemory / wasm.PageSize)
	e := &Engine{
		rt:     wazero.NewRuntimeWithConfig(ctx, rc),
		cache:  cache,
		slots:  make(chan struct{}, cfg.Slots),
		memory: newRegions(cfg.Slots),
	}
	e.metrics = newMetrics(reg, e)
	if err := errors.Join(instantiateABI(ctx, e.rt), instantiateWASI(ctx, e.rt), instantiateMeter(ctx, e.rt)); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Free returns how many more invocations could start now: no more events should be taken in.
func (e *Engine) Free() int { return cap(e.slots) - len(e.slots) }

// Slots returns how many invocations can run at one time.
func (e *Engine) Slots() int { return cap(e.slots) }

// Close frees what the engine holds. No invocation may be running, and the engine's modules can no longer be used.
func (e *Engine) Close() error {
	ctx := context.Background()
	err := errors.Join(e.rt.Close(ctx), e.cache.Close(ctx))
	e.memory.close()
	return err
}

// A Module is a compiled module. It is safe for concurrent use.
type Module struct {
	engine   *Engine
	compiled wazero.CompiledModule
	manifest abi.Manifest
	memory   int64 // bytes its memory begins with
}

// Compile checks a module and makes it ready to run. What the module has wrong is a *ModuleError, or several, joined; any other error
// is the machine's.
func (e *Engine) Compile(ctx context.Context, bin []byte) (*Module, error) {
	m, info, bin, err := validate(bin)
	if err != nil {
		return nil, err
	}
	compiled, err := e.rt.CompileModule(ctx, bin)
	if err != nil {
		return nil, &ModuleError{Text: fmt.Sprintf("it is not a valid module: %v", err), Hint: "the compiler that made it used a feature beyond WebAssembly 2.0, or is broken"}
	}
	mod := &Module{engine: e, compiled: compiled, manifest: m}
	for _, l := range info.Memories {
		mod.memory = int64(l.Min) * wasm.PageSize
	}
	return mod, nil
}

// Manifest returns the module's manifest.
func (m *Module) Manifest() abi.Manifest { return m.manifest }

// Memory returns the size in bytes that the module's memory begins with: the least Limits.Memory that it can run with.
func (m *Module) Memory() int64 { return m.memory }

// Close frees the compiled code. No invocation of m may be running or start afterwards. It may be called twice.
func (m *Module) Close() error { return m.compiled.Close(context.Background()) }

// Validate checks a module as Compile does, short of compiling it, and returns its manifest.
func Validate(bin []byte) (abi.Manifest, error) {
	m, _, _, err := validate(bin)
	return m, err
}
