package sandbox

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// An instance is one of a module's with the memory it lives in. One that is idle is in the state after initialisation.
type instance struct {
	memory  *region
	mod     api.Module // nil until it is prepared
	exports map[string]api.Function
	fuel    api.MutableGlobal
	globals []api.MutableGlobal // in the order of code.globals
	stack   [1]uint64           // of a call of its handler: the argument, then the result

	owner        *Module   // while it waits in the pool
	older, newer *instance // the same: those that have waited just longer, and just shorter
}

// export returns an exported function of the instance, or nil. It is not to be called while a call of the same function goes on.
func (in *instance) export(name string) api.Function {
	f, ok := in.exports[name]
	if !ok {
		f = in.mod.ExportedFunction(name) // which makes a stack each time
		in.exports[name] = f
	}
	return f
}

// take returns an instance whose memory is bounded by size: an idle one, or one that is still to be prepared.
func (m *Module) take(size int64) (*instance, error) {
	if in := m.engine.pool.take(m, size); in != nil {
		return in, nil
	}
	r, err := m.image.take(size)
	if err != nil {
		return nil, err
	}
	return &instance{memory: r}, nil
}

// give takes an instance back. Only one that came to its end by itself, and whose state is known to be all in memory and globals, is
// brought back into its first state; any other is thrown away.
func (m *Module) give(in *instance, sound bool) {
	if !sound || m.code.each() || !m.reset(in) {
		in.discard()
		return
	}
	if in = m.engine.pool.give(m, in); in != nil {
		in.discard()
	}
}

// discard closes the instance and gives its memory back. It may be called twice.
func (in *instance) discard() {
	if in.mod != nil {
		_ = in.mod.Close(context.Background())
		in.mod = nil
	}
	if in.memory != nil {
		in.memory.give()
		in.memory = nil
	}
}

// reset brings an instance into the sealed state and reports whether it is. Memories cannot shrink.
func (p *published) reset(in *instance) bool {
	if in.memory.size != p.image.size || !in.memory.reset() {
		return false
	}
	for i, g := range in.globals {
		g.Set(p.globals[i])
	}
	in.fuel.Set(0)
	return true
}

// prepare makes a new instance ready for an event.
func (p *published) prepare(ctx context.Context, in *instance) error {
	if err := p.instantiate(ctx, in); err != nil {
		return err
	}
	if p.code.each() {
		if err := p.runInit(ctx, in); err != nil || !p.shared {
			return err // tiercel_warm would cost more than it saves
		}
		return p.driver.seal(ctx, current(ctx), in)
	}
	mem := in.mod.Memory()
	if more := uint32(p.image.size/wasm.PageSize) - mem.Size()/wasm.PageSize; more > 0 {
		if _, ok := mem.Grow(more); !ok {
			return fmt.Errorf("its memory cannot grow by %d pages", more)
		}
	}
	for i, name := range p.code.globals {
		g := in.mod.ExportedGlobal(name).(api.MutableGlobal) // wasm.Strip exports mutable ones
		g.Set(p.globals[i])
		in.globals = append(in.globals, g)
	}
	in.fuel.Set(0)
	return nil
}

var instanceConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions()

// instantiate makes the engine's instance, without running anything.
func (p *published) instantiate(ctx context.Context, in *instance) (err error) {
	defer recoverTo(&err)
	mod, err := p.engine.rt.InstantiateModule(experimental.WithMemoryAllocator(ctx, in.memory), p.code.compiled, instanceConfig)
	if err != nil {
		return err
	}
	in.mod, in.exports, in.fuel = mod, map[string]api.Function{}, fuelOf(mod)
	return nil
}
