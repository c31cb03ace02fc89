package sandbox

import (
	"context"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// fuelSlice is how many steps a guest may take until the host looks again: about a millisecond. Go's garbage collector waits for it.
const fuelSlice = 2_000_000

// A meter gives a guest its fuel by the slice.
type meter struct {
	fuel    api.MutableGlobal // the guest's; nil before it is known
	granted int64
}

func instantiateMeter(ctx context.Context, rt wazero.Runtime) error {
	tick := api.GoModuleFunc(func(ctx context.Context, m api.Module, _ []uint64) { current(ctx).tick(m) })
	_, err := rt.NewHostModuleBuilder(wasm.MeterModule).NewFunctionBuilder().WithGoModuleFunction(tick, nil, nil).
		Export(wasm.MeterTick).Instantiate(ctx)
	return err
}

// tick is called when a slice is used up. It is where every limit on time holds.
func (c *call) tick(m api.Module) {
	if c.meter.fuel == nil {
		c.meter.fuel = fuelOf(m)
	}
	if c.ctx.Err() != nil {
		panic(errEnd)
	}
	if c.clock.expired() {
		c.die(FaultDeadline, "it ran longer than %v%s", c.inv.Limits.Timeout, raise("timeout", time.Duration(abi.MaxTimeout)))
	}
	if !c.meter.grant(c.inv.Limits.Fuel) {
		c.die(FaultFuel, "it took more than %d steps%s", c.inv.Limits.Fuel, raise("fuel", nil))
	}
}

// grant gives a slice more, and reports false if there is none within the limit, of which 0 is none.
func (m *meter) grant(limit int64) bool {
	slice := int64(fuelSlice)
	if limit > 0 {
		if slice = min(slice, limit-m.granted); slice <= 0 {
			return false
		}
	}
	m.granted += slice
	m.fuel.Set(m.fuel.Get() + uint64(slice))
	return true
}

// fuelOf returns the global that wasm.Meter put into every module.
func fuelOf(instance api.Module) api.MutableGlobal {
	return instance.ExportedGlobal(wasm.FuelGlobal).(api.MutableGlobal)
}

// used returns the steps taken, when the guest stands.
func (m *meter) used() int64 { return m.granted - int64(m.fuel.Get()) }
