package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(wasm.Header))
	f.Add(generate(f, []byte("seed")))
	f.Fuzz(func(t *testing.T, bin []byte) {
		sections, err := wasm.Parse(bin)
		if err != nil {
			if !errors.Is(err, wasm.ErrMalformed) || sections != nil {
				t.Fatalf("%v, %v", sections, err)
			}
			return
		}
		again, err := wasm.Parse(wasm.Encode(sections))
		if err != nil || len(again) != len(sections) {
			t.Fatalf("%d sections become %d, %v", len(sections), len(again), err)
		}
		info, err := wasm.Inspect(sections)
		if (info == nil) == (err == nil) {
			t.Fatal("Inspect: one of the two is nil")
		}
		if err != nil {
			return
		}
		if metered, _, err := wasm.Meter(sections); err == nil {
			_, _ = wasm.Strip(metered, info)
		}
	})
}

// A rewritten module does what the original does: same result, same memory, same globals, or a trap where it traps. Modules are
// generated from the fuzzer's bytes; all of them end.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{"", "a", "loop and memory", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		f.Add([]byte(seed))
	}
	random := rand.NewChaCha8([32]byte{})
	for range 300 {
		seed := make([]byte, 200)
		_, _ = random.Read(seed)
		f.Add(seed)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter()) // compiling takes longer than running
	f.Cleanup(func() { rt.Close(ctx) })
	tick := func(_ context.Context, m api.Module, _ []uint64) {
		g := m.ExportedGlobal(wasm.FuelGlobal).(api.MutableGlobal)
		g.Set(uint64(int64(g.Get()) + 1000))
	}
	if _, err := rt.NewHostModuleBuilder(wasm.MeterModule).NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(tick), nil, nil).
		Export(wasm.MeterTick).Instantiate(ctx); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		original := generate(t, seed)
		want := run(t, rt, original, nil)
		metered := rewrite(t, original)
		if got := run(t, rt, metered, nil); got != want {
			t.Errorf("metered:\ngot  %s\nwant %s", got, want)
		}
		sections, err := wasm.Parse(metered)
		if err != nil {
			t.Fatal(err)
		}
		info, err := wasm.Inspect(sections)
		if err != nil {
			t.Fatal(err)
		}
		stripped, err := wasm.Strip(sections, info)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, rt, wasm.Encode(stripped.Sections), stripped.Image); got != want {
			t.Errorf("metered and stripped:\ngot  %s\nwant %s", got, want)
		}
	})
}

func rewrite(t testing.TB, bin []byte) []byte {
	t.Helper()
	sections, err := wasm.Parse(bin)
	if err == nil {
		sections, _, err = wasm.Meter(sections)
	}
	if err != nil {
		t.Fatal(err)
	}
	return wasm.Encode(sections)
}

// run calls "run" and tells what came of it. image, if not nil, is put into the memory first.
func run(t testing.TB, rt wazero.Runtime, bin, image []byte) string {
	t.Helper()
	ctx := context.Background()
	m, err := rt.InstantiateWithConfig(ctx, bin, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatalf("instantiate: %v\n%x", err, bin)
	}
	defer m.Close(ctx)
	if image != nil && !m.Memory().Write(0, image) {
		t.Fatal("the image does not fit")
	}
	out, err := m.ExportedFunction("run").Call(ctx, 7)
	result := fmt.Sprint(out)
	if err != nil {
		result = "trap"
	}
	mem, _ := m.Memory().Read(0, m.Memory().Size())
	var h uint64 = 14695981039346656037
	for _, c := range mem {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return fmt.Sprintf("%s memory %d %x globals %d %x", result, len(mem), h, m.ExportedGlobal("g0").Get(), m.ExportedGlobal("g1").Get())
}

// TestMeterCounts holds the count against one made by hand.
func TestMeterCounts(t *testing.T) {
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	var calls []int64
	_, err := rt.NewHostModuleBuilder(wasm.MeterModule).NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
		g := m.ExportedGlobal(wasm.FuelGlobal).(api.MutableGlobal)
		calls = append(calls, int64(g.Get()))
		g.Set(math.MaxInt64)
	}), nil, nil).Export(wasm.MeterTick).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// run: loop { local 1 += 1; br_if 0 while local 1 != local 0 }; the loop's value: local 1
	g := &generator{}
	g.body = []byte{
		0x03, 0x40, // loop
		0x20, 1, 0x41, 1, 0x6a, 0x22, 1, // local.get, const, add, tee
		0x20, 0, 0x47, 0x0d, 0, // local.get, ne, br_if
		0x0b,    // end
		0x20, 1, // local.get
	}
	m, err := rt.InstantiateWithConfig(ctx, rewrite(t, g.module()), wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := m.ExportedFunction("run").Call(ctx, 10); err != nil || out[0] != 10 {
		t.Fatalf("got %v, %v", out, err)
	}
	used := int64(math.MaxInt64) - int64(m.ExportedGlobal(wasm.FuelGlobal).Get())
	// Entry: loop, local.get, end = 3, taken from 0, which calls for fuel. A turn: seven instructions, the end and one for the turn.
	if want := int64(10 * 9); used != want || len(calls) != 1 || calls[0] != -3 {
		t.Errorf("10 turns took %d steps, want %d; the host was called at %v, want at -3", used, want, calls)
	}
}

// A jump of a dispatch goes where it ends up at once: only backward ones turn its loop.
func TestMeterShortensJumps(t *testing.T) {
	const pc = 7
	jump := func(to, out byte) []byte { return []byte{0x41, to, 0x21, pc, 0x0c, out} }
	g := &generator{}
	g.emit(0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, pc, 0x0e, 2, 0, 1, 2, 0x0b)
	g.emit(jump(1, 2)...) // piece 0, forward
	g.emit(0x0b)
	g.emit(0x20, 1, 0x41, 1, 0x6a, 0x22, 1, 0x20, 0, 0x47, 0x04, 0x40) // piece 1: until local 1 is the argument
	g.emit(jump(0, 2)...)                                              // backward
	g.emit(0x0b)
	g.emit(jump(2, 1)...) // forward
	g.emit(0x0b, 0x0b)    // piece 2 is empty
	g.emit(0x20, 1)
	ctx := t.Context()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	_, err := rt.NewHostModuleBuilder(wasm.MeterModule).NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) {
		m.ExportedGlobal(wasm.FuelGlobal).(api.MutableGlobal).Set(math.MaxInt64)
	}), nil, nil).Export(wasm.MeterTick).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := rt.InstantiateWithConfig(ctx, rewrite(t, g.module()), wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := m.ExportedFunction("run").Call(ctx, 10); err != nil || out[0] != 10 {
		t.Fatalf("got %v, %v", out, err)
	}
	// A turn: 25 instructions, the end and one for the turn; there is one for each count.
	used := int64(math.MaxInt64) - int64(m.ExportedGlobal(wasm.FuelGlobal).Get())
	if want := int64(10 * 27); used != want {
		t.Errorf("it took %d steps, want %d", used, want)
	}
}

func TestMeterRefuses(t *testing.T) {
	g := &generator{body: []byte{0x41, 0}}
	sections, err := wasm.Parse(g.module())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		twice := append(append([]wasm.Section(nil), sections...), s)
		if _, _, err := wasm.Meter(twice); err == nil {
			t.Errorf("section %d twice is accepted", s.ID)
		}
	}
}

func TestEncode(t *testing.T) {
	g := &generator{body: []byte{0x41, 0}}
	bin := g.module()
	sections, err := wasm.Parse(bin)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wasm.Encode(sections), bin) {
		t.Error("a module is not encoded to itself")
	}
}
