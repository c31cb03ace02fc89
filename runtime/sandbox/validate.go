package sandbox

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

const (
	wasiModule = "wasi_snapshot_preview1"

	maxTables        = 8
	maxTableElements = 1 << 18 // of all tables; the host pays 8 bytes each
)

const (
	i32 = "\x7f"
	i64 = "\x7e"
)

// abiImports are the signatures of the imports in abi.ImportModule.
var abiImports = map[string]wasm.FuncType{
	abi.ImportInput:    {Params: i32 + i32, Results: i32},
	abi.ImportOutput:   {Params: i32 + i32},
	abi.ImportCall:     {Params: i32 + i32 + i32 + i32 + i32 + i32, Results: i64},
	abi.ImportResponse: {Params: i32 + i32, Results: i32},
	abi.ImportLog:      {Params: i32 + i32 + i32},
}

const buildHint = "build it with: tiercel fn build (Go: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared)"

// validate checks what the sandbox asks of a module beyond its being valid. The error is every problem found, joined, each a *ModuleError.
func validate(bin []byte) (m abi.Manifest, err error) {
	if err := recognise(bin); err != nil {
		return m, err
	}
	sections, err := wasm.Parse(bin)
	if err != nil {
		return m, &ModuleError{Text: err.Error()}
	}
	info, err := wasm.Inspect(sections)
	if err != nil {
		return m, &ModuleError{Text: err.Error()}
	}
	var c checker
	c.exports(info)
	c.imports(info)
	c.sizes(info)
	m, err = manifest.Read(bin)
	switch {
	case errors.Is(err, manifest.ErrNoManifest):
		c.bad("it has no manifest section", "put a manifest.json beside the source and build with tiercel fn build")
	case err != nil:
		c.bad(fmt.Sprintf("its manifest: %v", err), "")
	}
	return m, errors.Join(c.errs...)
}

// recognise says what bin is if it is no module.
func recognise(bin []byte) error {
	switch {
	case len(bin) > abi.MaxModule:
		return &ModuleError{fmt.Sprintf("%d bytes, more than %d", len(bin), abi.MaxModule), "strip it (Go: -ldflags='-s -w') or leave out what it does not use"}
	case strings.HasPrefix(string(bin), wasm.Header):
		return nil
	case strings.HasPrefix(string(bin), "\x00asm\x0d\x00\x01\x00"):
		return &ModuleError{"it is a WebAssembly component", "a function is a core module: " + buildHint}
	case strings.HasPrefix(string(bin), "\x7fELF"):
		return &ModuleError{"it is a Linux program, not WebAssembly", buildHint}
	case len(bin) == 0:
		return &ModuleError{"it is empty", buildHint}
	}
	return &ModuleError{fmt.Sprintf("it is not WebAssembly (it begins with %q)", bin[:min(len(bin), 8)]), buildHint}
}

type checker struct{ errs []error }

func (c *checker) bad(text, hint string) { c.errs = append(c.errs, &ModuleError{text, hint}) }

func (c *checker) exports(info *wasm.Info) {
	handle := info.Export(abi.ExportHandle)
	switch {
	case handle == nil && info.Export("_start") != nil:
		c.bad("it is a command (it exports _start), not a reactor", buildHint)
	case handle == nil:
		c.bad("it does not export "+abi.ExportHandle, "call the SDK's Handle; "+buildHint)
	case handle.Kind != wasm.KindFunction || handle.Type != wasm.FuncType{Params: i32, Results: i32}:
		c.bad(fmt.Sprintf("its export %s is %s", abi.ExportHandle, exportType(handle)), "it must be (i32) -> (i32)")
	}
	for _, name := range []string{abi.ExportInitialize, abi.ExportWarm} {
		if e := info.Export(name); e != nil && (e.Kind != wasm.KindFunction || e.Type != wasm.FuncType{}) {
			c.bad(fmt.Sprintf("its export %s is %s", name, exportType(e)), "it must be () -> ()")
		}
	}
	for _, e := range info.Exports {
		if strings.HasPrefix(e.Name, wasm.ReservedPrefix) {
			c.bad(fmt.Sprintf("it exports %q", e.Name), "names that begin with "+wasm.ReservedPrefix+" are the runtime's own")
		}
	}
	if mem := info.Export(abi.ExportMemory); mem == nil || mem.Kind != wasm.KindMemory {
		c.bad("it does not export its memory", `export it as "memory"`)
	}
}

func exportType(e *wasm.Export) string {
	switch e.Kind {
	case wasm.KindFunction:
		return e.Type.String()
	case wasm.KindTable:
		return "a table"
	case wasm.KindMemory:
		return "a memory"
	}
	return "a global"
}

func (c *checker) imports(info *wasm.Info) {
	for _, i := range info.Imports {
		if i.Kind != wasm.KindFunction {
			c.bad(fmt.Sprintf("it imports %s.%s, which is not a function", i.Module, i.Name), "functions are all that can be imported")
			continue
		}
		switch i.Module {
		case abi.ImportModule:
			c.imported(i, abiImports)
		case wasiModule:
			c.imported(i, wasiImports)
		default:
			c.bad(fmt.Sprintf("it imports %s.%s", i.Module, i.Name), "only "+abi.ImportModule+" and "+wasiModule+" can be imported")
		}
	}
}

func (c *checker) imported(i wasm.Import, known map[string]wasm.FuncType) {
	want, ok := known[i.Name]
	switch {
	case !ok:
		c.bad(fmt.Sprintf("it imports %s.%s, which does not exist", i.Module, i.Name), "")
	case want != i.Type:
		c.bad(fmt.Sprintf("it imports %s.%s as %s", i.Module, i.Name, i.Type), "it is "+want.String())
	}
}

func (c *checker) sizes(info *wasm.Info) {
	if len(info.Memories) > 1 {
		c.bad(fmt.Sprintf("it has %d memories", len(info.Memories)), "one is supported")
	}
	for _, m := range info.Memories {
		if int64(m.Min)*wasm.PageSize > initMemory {
			c.bad(fmt.Sprintf("its memory begins with %d MiB", m.Min/16), fmt.Sprintf("it may begin with %d MiB, and grow", initMemory>>20))
		}
	}
	var elements uint64
	for _, t := range info.Tables {
		elements += uint64(t.Min)
	}
	if len(info.Tables) > maxTables || elements > maxTableElements {
		c.bad(fmt.Sprintf("it has %d tables with %d elements", len(info.Tables), elements),
			fmt.Sprintf("at most %d tables with %d elements can be had", maxTables, maxTableElements))
	}
}
