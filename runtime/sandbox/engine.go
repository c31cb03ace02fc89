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
	"io/fs"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tetratelabs/wazero"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A Config says how an Engine works.
type Config struct {
	CacheDir string // where compiled and initialised modules are kept between processes, at most 4 GiB; empty: in memory only
	Slots    int    // invocations running at one time. 1 to 1024. Default 8 per CPU: most of their time is waiting for the host
	Idle     int    // instances kept ready for their next event, of all functions together. Up to 65536. 0: the default, 4 per slot
}

// DefaultConfig returns the defaults, without a cache folder.
func DefaultConfig() Config {
	return Config{Slots: min(8*runtime.GOMAXPROCS(0), 1024)}
}

// Validate names what is wrong with c.
func (c Config) Validate() error {
	if c.Slots < 1 || c.Slots > 1024 {
		return fmt.Errorf("slots: %d is not within 1 and 1024", c.Slots)
	}
	if c.Idle < 0 || c.Idle > 65536 {
		return fmt.Errorf("idle: %d is not within 0 and 65536", c.Idle)
	}
	return nil
}

// An Engine compiles modules and bounds how many of their invocations run at one time. It is safe for concurrent use.
type Engine struct {
	rt      wazero.Runtime
	cache   wazero.CompilationCache
	slots   chan struct{}
	metrics *metrics
	way     *way // of resetting memories

	pool     pool
	cacheDir string

	programs shelf[[32]byte, *published] // by the digest of the file
	engines  shelf[[32]byte, *code]      // of engine modules, by the digest of the module
	kept     sync.Map                    // those of engines that e itself has taken
}

// New returns an Engine; the caller closes it. reg may be nil.
func New(cfg Config, reg prometheus.Registerer) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cache := wazero.NewCompilationCache()
	if cfg.CacheDir != "" {
		err := prune(cfg.CacheDir, maxCache)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
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
		rt:    wazero.NewRuntimeWithConfig(ctx, rc),
		cache: cache,
		slots: make(chan struct{}, cfg.Slots),
	}
	e.cacheDir, e.pool.most, e.pool.perModule = cfg.CacheDir, cfg.Idle, runtime.GOMAXPROCS(0)
	if cfg.Idle == 0 {
		e.pool.most = 4 * cfg.Slots
	}
	_, e.way = selfTest()
	e.programs.free, e.engines.free = (*published).free, (*code).free
	e.metrics = newMetrics(reg, e)
	err := errors.Join(instantiateABI(ctx, e.rt), instantiateWASI(ctx, e.rt), instantiateMeter(ctx, e.rt))
	for _, f := range formats {
		err = errors.Join(err, f.host(ctx, e.rt))
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Free returns how many more invocations could start now: no more events should be taken in.
func (e *Engine) Free() int { return cap(e.slots) - len(e.slots) }

// Slots returns how many invocations can run at one time.
func (e *Engine) Slots() int { return cap(e.slots) }

// Close waits for the invocations that run and frees what the engine holds. It is called once, after the modules have been closed;
// none may be compiled and no event handled afterwards.
func (e *Engine) Close() error {
	for range cap(e.slots) {
		e.slots <- struct{}{} // code must not be freed under a guest that runs
	}
	ctx := context.Background()
	return errors.Join(e.rt.Close(ctx), e.cache.Close(ctx))
}
