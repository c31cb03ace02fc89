package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A rewritten module is one that is bounded and begins empty: its tables have a maximum, its steps are metered, its data and start function
// are beside it.
type rewritten struct {
	module  []byte
	data    []byte   // what its memory begins with
	globals []string // the exports that its mutable globals got
	start   bool     // its start function is exported as wasm.StartExport
	init    bool     // it has _initialize
	traits  wasm.Traits
}

// rewrite rewrites a module that validate would accept, or one of ours.
func rewrite(bin []byte) (*rewritten, error) {
	refused := func(err error) (*rewritten, error) {
		return nil, &ModuleError{Text: err.Error(), Hint: "functions are WebAssembly 2.0 without threads"}
	}
	sections, err := wasm.Parse(bin)
	if err != nil {
		return refused(err)
	}
	info, err := wasm.Inspect(sections)
	if err != nil {
		return refused(err)
	}
	if sections, err = wasm.CapTables(sections, maxTableElements/maxTables); err != nil {
		return refused(err)
	}
	sections, traits, err := wasm.Meter(sections)
	if err != nil {
		return refused(err)
	}
	stripped, err := wasm.Strip(sections, info)
	if err != nil {
		return refused(err)
	}
	return &rewritten{
		module: wasm.Encode(stripped.Sections), data: stripped.Image, globals: stripped.Globals,
		start: stripped.Start, init: info.Export(abi.ExportInitialize) != nil, traits: traits,
	}, nil
}

// code is a compiled module. That of an engine of ours is shared by all programs that run on it, see [Engine.engineCode].
type code struct {
	compiled wazero.CompiledModule
	*rewritten
}

// each reports whether every instance is to be initialised by itself: its state is not all in memory and globals.
func (c *code) each() bool { return c.traits.MutatesTables || c.traits.DropsSegments }

func (c *code) free() error { return c.compiled.Close(context.Background()) }

// compile compiles a rewritten module, or finds it in the cache.
func (e *Engine) compile(ctx context.Context, r *rewritten) (*code, error) {
	compiled, err := e.rt.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), r.module)
	if _, ok := errors.AsType[*fs.PathError](err); ok { // of the cache
		return nil, fmt.Errorf("compile: %w", err)
	}
	if err != nil {
		return nil, &ModuleError{Text: fmt.Sprintf("it is not a valid module: %v", err), Hint: "the compiler that made it used a feature beyond WebAssembly 2.0, or is broken"}
	}
	return &code{compiled, r}, nil
}

// engineCode returns the compiled code of an engine of ours and what gives it back. It stays until e is closed: the next program in its
// language is not to wait for it.
func (e *Engine) engineCode(ctx context.Context, module []byte) (*code, func() error, error) {
	key := sha256.Sum256(module)
	build := func() (*code, error) {
		r, err := rewrite(module)
		if err != nil {
			return nil, err
		}
		return e.compile(context.WithoutCancel(ctx), r)
	}
	c, err := e.engines.get(key, build)
	if err == nil {
		if _, kept := e.kept.LoadOrStore(key, true); !kept {
			_, err = e.engines.get(key, build)
		}
	}
	return c, func() error { return e.engines.put(key) }, err
}
