package wasm

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// extendable is a module with one import, a function that calls it through a table, and an element segment.
func extendable(t *testing.T) []Section {
	t.Helper()
	bin := Header +
		"\x01\x0a\x02\x60\x01\x7f\x01\x7f\x60\x00\x01\x7f" + // (i32) -> i32, () -> i32
		"\x02\x0b\x01\x03env\x03old\x00\x00" + // env.old
		"\x03\x03\x02\x00\x01" +
		"\x04\x04\x01\x70\x00\x01" + // table of 1
		"\x05\x03\x01\x00\x01" +
		"\x06\x06\x01\x7f\x01\x41\x07\x0b" + // a global: 7
		"\x07\x0e\x02\x05twice\x00\x01\x02go\x00\x02" +
		"\x09\x07\x01\x00\x41\x00\x0b\x01\x01" + // table[0] = twice
		"\x0a\x15\x02\x09\x00\x20\x00\x10\x00\x20\x00\x6a\x0b\x09\x00\x41\x05\x41\x00\x11\x00\x00\x0b"
	sections, err := Parse([]byte(bin))
	if err != nil {
		t.Fatal(err)
	}
	return sections
}

func TestExtend(t *testing.T) {
	i32 := "\x7f"
	sections, table, err := Extend(extendable(t), Extension{
		Imports: []Import{{Module: "host", Name: "new", Type: FuncType{Params: i32, Results: i32}}},
		Globals: map[string]byte{"base": typeI32, "wide": typeI64},
		Replace: map[string]string{"env.old": "add_base"},
		Function: []Function{
			{Name: "add_base", Type: FuncType{Params: i32, Results: i32}, Code: "local.get 0 call host.new global.get base i32.add ;; a comment"},
			{Name: "sum", Export: true, Type: FuncType{Params: i32, Results: i32}, Locals: i32, Code: `
				loop
					local.get 1 local.get 0 i32.add local.set 1
					local.get 0 i32.const -1 i32.add local.tee 0 br_if 0
				end
				local.get 1 call twice`},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if table != 1 {
		t.Errorf("its functions begin at %d of the table", table)
	}
	ctx := context.Background()
	rt := wazero.NewRuntime(ctx)
	defer rt.Close(ctx)
	times10 := api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) { s[0] = uint64(uint32(s[0]) * 10) })
	if _, err := rt.NewHostModuleBuilder("host").NewFunctionBuilder().WithGoModuleFunction(times10, []byte{typeI32}, []byte{typeI32}).Export("new").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	mod, err := rt.Instantiate(ctx, Encode(sections))
	if err != nil {
		t.Fatal(err)
	}
	mod.ExportedGlobal(GlobalExport("base")).(api.MutableGlobal).Set(3)
	for name, c := range map[string]struct{ arg, want uint64 }{
		"twice": {4, 10*4 + 3 + 4},
		"sum":   {4, 10*10 + 3 + 10},
	} {
		got, err := mod.ExportedFunction(name).Call(ctx, c.arg)
		if err != nil || got[0] != c.want {
			t.Errorf("%s: got %v, %v, want %d", name, got, err, c.want)
		}
	}
	if got, err := mod.ExportedFunction("go").Call(ctx); err != nil || got[0] != 10*5+3+5 {
		t.Errorf("through the table: got %v, %v", got, err)
	}
}

func TestExtendRefuses(t *testing.T) {
	for name, e := range map[string]Extension{
		"no such name":    {Function: []Function{{Name: "f", Code: "call nothing"}}},
		"no such global":  {Function: []Function{{Name: "f", Code: "global.get nothing"}}},
		"not a number":    {Function: []Function{{Name: "f", Code: "i32.const x"}}},
		"no instruction":  {Function: []Function{{Name: "f", Code: "i32.frob 1"}}},
		"cut short":       {Function: []Function{{Name: "f", Code: "i32.const"}}},
		"no such replace": {Replace: map[string]string{"env.old": "f"}},
	} {
		if _, _, err := Extend(extendable(t), e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := Extend(nil, Extension{}); err == nil {
		t.Error("a module without a table: no error")
	}
}
