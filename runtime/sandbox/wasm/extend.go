package wasm

import "fmt"

// An Extension is what Extend adds to a module: imports, globals and functions that use them and the module's own exports. It may replace
// functions that the module imports.
type Extension struct {
	Imports  []Import          // of functions
	Globals  map[string]byte   // mutable ones of the Extension's own, by name: their type. Exported under GlobalExport(name)
	Function []Function        // in the order of their places in the table
	Replace  map[string]string // imports as module.name, by the name of the function that takes their place
}

// A Function is one that Extend adds. Its name is not exported unless Export says so.
type Function struct {
	Name   string
	Type   FuncType
	Export bool
	Locals string // types of its locals, behind its parameters
	Code   string // instructions, see assemble
}

// GlobalExport is the name that a global of an Extension is exported under.
func GlobalExport(name string) string { return "__ext_" + name }

// Extend returns the module with e added, and where in its table the functions of e begin. The module has one table, exports what e
// calls, and keeps no custom sections.
func Extend(sections []Section, e Extension) (out []Section, table uint32, err error) {
	x := extender{ext: e, functions: map[string]uint32{}, globals: map[string]uint32{}}
	x.body = map[byte][]byte{}
	for _, s := range sections {
		if s.ID != SectionCustom {
			x.body[s.ID] = s.Body
		}
	}
	for _, step := range []func() error{x.types, x.imports, x.functionSection, x.table, x.globalSection, x.exports, x.elements, x.code} {
		if err := step(); err != nil {
			return nil, 0, fmt.Errorf("extend: %w", err)
		}
	}
	for _, id := range []byte{
		SectionType, SectionImport, SectionFunction, SectionTable, SectionMemory, SectionGlobal, SectionExport,
		SectionStart, SectionElement, SectionDataCount, SectionCode, SectionData,
	} {
		if b, ok := x.body[id]; ok {
			out = append(out, Section{id, b})
		}
	}
	return out, x.slots, nil
}

type extender struct {
	ext  Extension
	body map[byte][]byte

	typeCount uint32
	remap     []uint32          // of the imported functions: their new indices
	imported  uint32            // functions, before
	kept      uint32            // imports that stay
	defined   uint32            // functions of the module's own
	functions map[string]uint32 // new indices by name: imports as module.name, exports, functions of the Extension
	globals   map[string]uint32
	slots     uint32 // where in the table the added functions begin
}

func (x *extender) section(id byte) (*reader, uint32) {
	r := &reader{b: x.body[id]}
	if len(r.b) == 0 {
		return r, 0
	}
	return r, r.count()
}

// added returns the index of the i-th function that is added.
func (x *extender) added(i int) uint32 {
	return x.kept + uint32(len(x.ext.Imports)) + x.defined + uint32(i)
}

func (x *extender) index(f uint32) uint32 {
	if f < x.imported {
		return x.remap[f]
	}
	return f - x.imported + x.kept + uint32(len(x.ext.Imports))
}

// types appends a type for each import and function.
func (x *extender) types() error {
	r, n := x.section(SectionType)
	b := append(appendU(nil, uint64(n)+uint64(len(x.ext.Imports)+len(x.ext.Function))), r.b[r.p:]...)
	add := func(t FuncType) { b = appendName(appendName(append(b, 0x60), t.Params), t.Results) }
	for _, i := range x.ext.Imports {
		add(i.Type)
	}
	for _, f := range x.ext.Function {
		add(f.Type)
	}
	x.typeCount, x.body[SectionType] = n, b
	return r.err
}

func (x *extender) imports() error {
	_, x.defined = x.section(SectionFunction)
	r, n := x.section(SectionImport)
	var kept []byte
	replaced := map[int]string{}
	for i := 0; i < int(n) && r.err == nil; i++ {
		start := r.p
		name := r.name() + "." + r.name()
		if r.byte() != KindFunction {
			return malformed("import %s is not a function", name)
		}
		r.u32()
		if by, ok := x.ext.Replace[name]; ok {
			replaced[i] = by
			x.remap = append(x.remap, 0)
			continue
		}
		x.functions[name] = x.kept
		x.remap = append(x.remap, x.kept)
		x.kept++
		kept = append(kept, r.b[start:r.p]...)
	}
	x.imported = n
	b := append(appendU(nil, uint64(x.kept)+uint64(len(x.ext.Imports))), kept...)
	for i, imp := range x.ext.Imports {
		b = append(appendName(appendName(b, imp.Module), imp.Name), KindFunction)
		b = appendU(b, uint64(x.typeCount)+uint64(i))
		x.functions[imp.Module+"."+imp.Name] = x.kept + uint32(i)
	}
	x.body[SectionImport] = b
	for i, f := range x.ext.Function {
		x.functions[f.Name] = x.added(i)
	}
	for i, by := range replaced {
		f, ok := x.functions[by]
		if !ok {
			return fmt.Errorf("there is no function %q to take an import's place", by)
		}
		x.remap[i] = f
	}
	return r.err
}

func (x *extender) functionSection() error {
	r, n := x.section(SectionFunction)
	b := append(appendU(nil, uint64(n)+uint64(len(x.ext.Function))), r.b[r.p:]...)
	for i := range x.ext.Function {
		b = appendU(b, uint64(x.typeCount)+uint64(len(x.ext.Imports)+i))
	}
	x.body[SectionFunction] = b
	return r.err
}

func (x *extender) table() error {
	r, n := x.section(SectionTable)
	if n != 1 {
		return malformed("%d tables, want one", n)
	}
	kind, l := r.byte(), r.limits()
	x.slots = l.Min
	l.Min += uint32(len(x.ext.Function))
	l.Max = max(l.Max, l.Min)
	x.body[SectionTable] = appendLimits([]byte{1, kind}, l)
	return r.err
}

func (x *extender) globalSection() error {
	r, n := x.section(SectionGlobal)
	b := append(appendU(nil, uint64(n)+uint64(len(x.ext.Globals))), r.b[r.p:]...)
	for _, name := range sortedKeys(x.ext.Globals) {
		x.globals[name] = n
		n++
		op := byte(opI32Const)
		if x.ext.Globals[name] == typeI64 {
			op = opI64Const
		}
		b = append(b, x.ext.Globals[name], 1, op, 0, opEnd)
	}
	x.body[SectionGlobal] = b
	return r.err
}

func (x *extender) exports() error {
	r, n := x.section(SectionExport)
	var b []byte
	for range n {
		name, kind, index := r.name(), r.byte(), r.u32()
		if kind == KindFunction {
			index = x.index(index)
			if _, taken := x.functions[name]; !taken {
				x.functions[name] = index
			}
		}
		b = appendU(append(appendName(b, name), kind), uint64(index))
	}
	for i, f := range x.ext.Function {
		if f.Export {
			b = appendU(append(appendName(b, f.Name), KindFunction), uint64(x.added(i)))
			n++
		}
	}
	for _, name := range sortedKeys(x.globals) {
		b = appendU(append(appendName(b, GlobalExport(name)), KindGlobal), uint64(x.globals[name]))
		n++
	}
	x.body[SectionExport] = append(appendU(nil, uint64(n)), b...)
	return r.err
}

// elements moves the indices of the segments there are, which are active ones of function indices, and adds one.
func (x *extender) elements() error {
	r, n := x.section(SectionElement)
	b := appendU(nil, uint64(n)+1)
	for ; n > 0 && r.err == nil; n-- {
		if flags := r.u32(); flags != 0 {
			return malformed("element segment of kind %d", flags)
		}
		offset := r.constantI32()
		b = append(appendS(append(b, 0, opI32Const), int64(int32(offset))), opEnd)
		k := r.count()
		b = appendU(b, uint64(k))
		for ; k > 0 && r.err == nil; k-- {
			b = appendU(b, uint64(x.index(r.u32())))
		}
	}
	b = append(appendS(append(b, 0, opI32Const), int64(x.slots)), opEnd)
	b = appendU(b, uint64(len(x.ext.Function)))
	for i := range x.ext.Function {
		b = appendU(b, uint64(x.added(i)))
	}
	x.body[SectionElement] = b
	return r.err
}

func (x *extender) code() error {
	r, n := x.section(SectionCode)
	if n != x.defined {
		return malformed("%d functions with %d bodies", x.defined, n)
	}
	b := appendU(make([]byte, 0, len(r.b)+4<<10), uint64(n)+uint64(len(x.ext.Function)))
	var f []byte
	for ; n > 0 && r.err == nil; n-- {
		body := r.bytes(r.u32())
		var err error
		if f, err = x.move(f[:0], body); err != nil {
			return err
		}
		b = append(appendU(b, uint64(len(f))), f...)
	}
	for _, fn := range x.ext.Function {
		body, err := x.assemble(fn)
		if err != nil {
			return fmt.Errorf("%s: %w", fn.Name, err)
		}
		b = append(appendU(b, uint64(len(body))), body...)
	}
	x.body[SectionCode] = b
	return r.err
}

// move appends a function's body with the indices of functions as they are now.
func (x *extender) move(dst, body []byte) ([]byte, error) {
	r := &reader{b: body}
	for groups := r.u32(); groups > 0 && r.err == nil; groups-- {
		r.u32()
		r.byte()
	}
	done := 0
	for r.more() {
		in := r.instruction()
		if in.op == opCall || in.op == opRefFunc {
			dst = append(dst, body[done:in.start]...)
			dst = appendU(append(dst, in.op), uint64(x.index(in.index)))
			done = in.end
		}
	}
	return append(dst, body[done:]...), r.err
}
