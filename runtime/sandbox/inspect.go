package sandbox

import (
	"encoding/hex"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// An Inspection is what can be said of a file without running it.
type Inspection struct {
	Format   string       `json:"format"` // WebAssembly, or the language whose text it is
	Digest   string       `json:"digest"` // sha256:…, how it is named once it is stored
	Size     int          `json:"size"`   // bytes of the file
	Manifest abi.Manifest `json:"manifest"`
	Engine   bool         `json:"engine,omitempty"` // it runs on an engine module of the runtime's, which is what follows describes

	Imports   []string `json:"imports"`        // module.name and signature
	Exports   []string `json:"exports"`        // functions: name and signature
	Functions int      `json:"functions"`      // of its own
	Data      int      `json:"data"`           // bytes its memory begins with that are not zero
	Memory    int64    `json:"memory"`         // bytes its memory begins with, before its initialisation
	Most      int64    `json:"most,omitempty"` // bytes its memory may grow to by its own word; 0: it does not say
	Code      int      `json:"code"`           // bytes of instructions
	Metered   int      `json:"metered"`        // the same, with its steps counted
	Checks    int      `json:"checks"`         // places where steps are counted: functions, loops, bulk operations
	Start     bool     `json:"start,omitempty"`
	Warm      bool     `json:"warm,omitempty"` // it exports tiercel_warm

	Reset    Reset    `json:"reset"`
	ResetWhy []string `json:"resetWhy"`
}

// Reset says how a fresh state is made for an event.
type Reset string

// Ways to a fresh state, the cheapest first.
const (
	ResetInPlace Reset = "in place"         // the pages that were written to are put back
	ResetAnew    Reset = "initialised anew" // a new instance, whose initialisation is run again
)

// Inspect reads a file as Compile would, short of compiling it. What it has wrong is the error, a *ModuleError or several, joined; what
// could be read all the same is in the Inspection, which is never nil.
func Inspect(bin []byte) (*Inspection, error) {
	f := formatOf(bin)
	digest := digestOf(bin)
	in := &Inspection{Format: f.name(), Digest: "sha256:" + hex.EncodeToString(digest[:]), Size: len(bin)}
	p, err := f.open(bin)
	if err != nil {
		if m, merr := manifest.Read(bin); merr == nil {
			in.Manifest = m
		}
		in.describe(bin)
		return in, err
	}
	in.Manifest, in.Engine = p.manifest, p.shared
	in.describe(p.module)
	r, err := rewrite(p.module)
	if err != nil {
		return in, err
	}
	in.rewritten(r)
	return in, nil
}

// describe takes over what module says of itself, if it can be read.
func (in *Inspection) describe(module []byte) {
	sections, err := wasm.Parse(module)
	if err != nil {
		return
	}
	info, err := wasm.Inspect(sections)
	if err != nil {
		return
	}
	for _, i := range info.Imports {
		if i.Kind == wasm.KindFunction {
			in.Imports = append(in.Imports, i.Module+"."+i.Name+" "+i.Type.String())
		}
	}
	for _, e := range info.Exports {
		if e.Kind == wasm.KindFunction {
			in.Exports = append(in.Exports, e.Name+" "+e.Type.String())
		}
	}
	if len(info.Memories) > 0 {
		m := info.Memories[0]
		in.Memory = int64(m.Min) * wasm.PageSize
		if m.HasMax {
			in.Most = int64(m.Max) * wasm.PageSize
		}
	}
	in.Functions, in.Code = info.Functions, codeSize(sections)
	in.Start, in.Warm = info.Start, info.Export(abi.ExportWarm) != nil
}

func codeSize(sections []wasm.Section) int {
	for _, s := range sections {
		if s.ID == wasm.SectionCode {
			return len(s.Body)
		}
	}
	return 0
}

func (in *Inspection) rewritten(r *rewritten) {
	if sections, err := wasm.Parse(r.module); err == nil {
		in.Metered = codeSize(sections)
	}
	in.Checks = r.traits.Checks
	for _, b := range r.data {
		if b != 0 {
			in.Data++
		}
	}
	if r.traits.MutatesTables {
		in.ResetWhy = append(in.ResetWhy, "its instructions change tables, which cannot be put back")
	}
	if r.traits.DropsSegments {
		in.ResetWhy = append(in.ResetWhy, "its instructions drop segments, which cannot be put back")
	}
	in.Reset = ResetAnew
	if len(in.ResetWhy) == 0 {
		in.Reset = ResetInPlace
		in.ResetWhy = []string{"all of its state is in memory and globals; after a fault, and when its memory has grown, the next event gets a new instance of the sealed state"}
	}
}
