package wasm

import "fmt"

// A FuncType is a function's signature. Types are the format's bytes: 0x7f i32, 0x7e i64, 0x7d f32, 0x7c f64.
type FuncType struct{ Params, Results string }

var typeNames = map[byte]string{0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64", 0x7b: "v128", 0x70: "funcref", 0x6f: "externref"}

func (t FuncType) String() string { return list(t.Params) + " -> " + list(t.Results) }

func list(types string) string {
	s := "("
	for i := range len(types) {
		if i > 0 {
			s += ", "
		}
		s += typeNames[types[i]]
	}
	return s + ")"
}

// An Import is one import of a module.
type Import struct {
	Module, Name string
	Kind         byte
	Type         FuncType // of a function
}

// An Export is one export of a module.
type Export struct {
	Name  string
	Kind  byte
	Index uint32
	Type  FuncType // of a function
}

// maxEntries bounds each list of a module: a byte of a module must not become thirty of ours.
const maxEntries = 200_000

// count reads the length of a vector.
func (r *reader) count() uint32 {
	n := r.u32()
	if n > maxEntries {
		r.fail(fmt.Sprintf("%d entries, more than %d,", n, maxEntries))
		return 0
	}
	return n
}

// Info is what Inspect found.
type Info struct {
	Imports  []Import
	Exports  []Export
	Memories []Limits // in pages, imported ones first
	Tables   []Limits // in elements, imported ones first
	Start    bool     // has a start section
	Data     int      // data segments

	Functions int // of its own
}

// Export returns the export of that name, or nil.
func (i *Info) Export(name string) *Export {
	for k := range i.Exports {
		if i.Exports[k].Name == name {
			return &i.Exports[k]
		}
	}
	return nil
}

// Inspect reads a module's imports, exports, memories and tables.
func Inspect(sections []Section) (*Info, error) {
	in := inspector{info: &Info{}}
	for _, s := range sections {
		r := &reader{b: s.Body}
		switch s.ID {
		case SectionType:
			in.types(r)
		case SectionImport:
			in.imports(r)
		case SectionFunction:
			in.functions(r)
		case SectionTable:
			in.tables(r)
		case SectionMemory:
			for n := r.count(); n > 0 && r.err == nil; n-- {
				in.info.Memories = append(in.info.Memories, r.limits())
			}
		case SectionExport:
			in.exports(r)
		case SectionStart:
			in.info.Start = true
		case SectionData:
			in.info.Data = int(r.u32())
		}
		if r.err != nil {
			return nil, fmt.Errorf("section %d: %w", s.ID, r.err)
		}
	}
	for i := range in.info.Exports {
		e := &in.info.Exports[i]
		if e.Kind != KindFunction {
			continue
		}
		if int(e.Index) >= len(in.funcs) {
			return nil, malformed("export %q of function %d, of which there are %d", e.Name, e.Index, len(in.funcs))
		}
		e.Type = in.funcs[e.Index]
	}
	return in.info, nil
}

type inspector struct {
	info  *Info
	typ   []FuncType
	funcs []FuncType
}

func (in *inspector) types(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if f := r.byte(); f != 0x60 {
			r.fail(fmt.Sprintf("type of form %#x", f))
			return
		}
		in.typ = append(in.typ, FuncType{Params: r.name(), Results: r.name()})
	}
}

func (in *inspector) function(r *reader) FuncType {
	i := r.u32()
	if r.err == nil && int(i) >= len(in.typ) {
		r.fail(fmt.Sprintf("function of type %d", i))
	}
	if r.err != nil {
		return FuncType{}
	}
	in.funcs = append(in.funcs, in.typ[i])
	return in.typ[i]
}

func (in *inspector) functions(r *reader) {
	n := r.count()
	in.info.Functions = int(n)
	for ; n > 0 && r.err == nil; n-- {
		in.function(r)
	}
}

func (in *inspector) tables(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if t := r.byte(); t != 0x70 && t != 0x6f {
			r.fail(fmt.Sprintf("table of type %#x", t))
			return
		}
		in.info.Tables = append(in.info.Tables, r.limits())
	}
}

func (in *inspector) imports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		i := Import{Module: r.name(), Name: r.name(), Kind: r.byte()}
		switch i.Kind {
		case KindFunction:
			i.Type = in.function(r)
		case KindTable:
			r.byte()
			in.info.Tables = append(in.info.Tables, r.limits())
		case KindMemory:
			in.info.Memories = append(in.info.Memories, r.limits())
		case KindGlobal:
			r.byte()
			r.byte()
		default:
			r.fail(fmt.Sprintf("import of kind %d", i.Kind))
		}
		in.info.Imports = append(in.info.Imports, i)
	}
}

func (in *inspector) exports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		in.info.Exports = append(in.info.Exports, Export{Name: r.name(), Kind: r.byte(), Index: r.u32()})
	}
}

// CapTables gives every table of the module's own that has no maximum, or a larger one, the maximum most (or its own minimum, if that is
// more), so that table.grow cannot take the host's memory. Sections are replaced, not changed.
func CapTables(sections []Section, most uint32) ([]Section, error) {
	out := append([]Section(nil), sections...)
	for i, s := range out {
		if s.ID != SectionTable {
			continue
		}
		r := &reader{b: s.Body}
		n := r.count()
		b := appendU(nil, uint64(n))
		for ; n > 0 && r.err == nil; n-- {
			b = append(b, r.byte())
			l := r.limits()
			if limit := max(l.Min, most); !l.HasMax || l.Max > limit {
				l.Max, l.HasMax = limit, true
			}
			b = appendLimits(b, l)
		}
		if r.err != nil {
			return nil, r.err
		}
		out[i].Body = b
	}
	return out, nil
}
