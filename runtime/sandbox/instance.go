package sandbox

import (
	"context"
	"fmt"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// An instance is one of a module's with the memory it lives in. One that is idle is in the state after initialisation.
type instance struct {
	memory  *region
	mod     api.Module // nil until it is prepared
	handle  api.Function
	fuel    api.MutableGlobal
	globals []api.MutableGlobal // in the order of Module.names
}

// take returns an instance whose memory is bounded by size: an idle one, or one that is still to be prepared.
func (m *Module) take(size int64) (*instance, error) {
	m.mu.Lock()
	if l := m.idle[size]; len(l) > 0 {
		in := l[len(l)-1]
		m.idle[size] = l[:len(l)-1]
		m.mu.Unlock()
		return in, nil
	}
	m.mu.Unlock()
	r, err := m.image.take(size)
	if err != nil {
		return nil, err
	}
	return &instance{memory: r}, nil
}

// give takes an instance back. Only one that came to its end by itself, and whose state is known to be all in memory and globals, is
// brought back into its first state; any other is thrown away.
func (m *Module) give(in *instance, sound bool) {
	if !sound || m.each || !m.reset(in) {
		in.discard()
		return
	}
	size := int64(len(in.memory.base))
	m.mu.Lock()
	keep := m.idle != nil && len(m.idle[size]) < runtime.GOMAXPROCS(0) && (m.idle[size] != nil || len(m.idle) < maxRegionSizes)
	if keep {
		m.idle[size] = append(m.idle[size], in)
	}
	m.mu.Unlock()
	if !keep {
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

// reset brings an instance into the state after initialisation and reports whether it is. Memories cannot shrink.
func (m *Module) reset(in *instance) bool {
	if in.memory.size != m.image.size || !in.memory.reset() {
		return false
	}
	for i, g := range in.globals {
		g.Set(m.globals[i])
	}
	in.fuel.Set(0)
	return true
}

// prepare makes a new instance ready for an event.
func (m *Module) prepare(ctx context.Context, in *instance) error {
	if err := m.instantiate(ctx, in); err != nil {
		return err
	}
	if m.each {
		return m.runInit(ctx, in.mod)
	}
	mem := in.mod.Memory()
	if more := m.pages - mem.Size()/wasm.PageSize; more > 0 {
		if _, ok := mem.Grow(more); !ok {
			return fmt.Errorf("its memory cannot grow by %d pages", more)
		}
	}
	for i, name := range m.names {
		g := in.mod.ExportedGlobal(name).(api.MutableGlobal) // wasm.Strip exports mutable ones
		g.Set(m.globals[i])
		in.globals = append(in.globals, g)
	}
	in.fuel.Set(0)
	return nil
}

var instanceConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions()

// instantiate makes the engine's instance, without running anything.
func (m *Module) instantiate(ctx context.Context, in *instance) (err error) {
	defer recoverTo(&err)
	mod, err := m.engine.rt.InstantiateModule(experimental.WithMemoryAllocator(ctx, in.memory), m.compiled, instanceConfig)
	if err != nil {
		return err
	}
	in.mod, in.handle, in.fuel = mod, mod.ExportedFunction(abi.ExportHandle), fuelOf(mod)
	return nil
}

// runInit runs what an instance has to run before it is used.
func (m *Module) runInit(ctx context.Context, mod api.Module) error {
	if m.start {
		if err := export(ctx, mod, wasm.StartExport); err != nil {
			return err
		}
	}
	if m.init {
		return export(ctx, mod, abi.ExportInitialize)
	}
	return nil
}

// export calls an export of the type () -> ().
func export(ctx context.Context, mod api.Module, name string) (err error) {
	defer recoverTo(&err)
	_, err = mod.ExportedFunction(name).Call(ctx)
	return err
}
