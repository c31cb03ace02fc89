package wasm

import (
	"errors"
	"fmt"
)

// A metered module counts its instructions down in a global and calls a function of the host's whenever that falls below zero: so the
// host gets in without watching each step, and the count is the same for the same work.
const (
	MeterModule = "tiercel_meter"  // of the function, () -> ()
	MeterTick   = "tick"           //
	FuelGlobal  = "__tiercel_fuel" // the export: a mutable i64
)

// ErrMeter is the error of a module whose indices are out of range, wrapped: what is added must not make it valid.
var ErrMeter = errors.New("index out of range")

// bulkShift is the cost of bulk memory operations: one unit for 16 bytes.
const bulkShift = 4

// growCost is what memory.grow costs.
const growCost = 1000

// Meter returns the module as a metered one. The function's entry costs its instructions outside of loops, each turn of a loop those
// of its body outside of inner loops. Custom sections are left out, but for the names of functions. The module may import functions
// only, and each section may be there once.
func Meter(sections []Section) ([]Section, Traits, error) {
	m := meter{body: map[byte][]byte{}}
	for _, s := range sections {
		if s.ID == SectionCustom {
			m.custom(s.Body)
			continue
		}
		if _, twice := m.body[s.ID]; twice {
			return nil, Traits{}, malformed("section %d is there twice", s.ID)
		}
		m.body[s.ID] = s.Body
	}
	for _, step := range []func() error{m.index, m.addType, m.addImport, m.addGlobal, m.shiftExports, m.shiftStart, m.shiftElements, m.code} {
		if err := step(); err != nil {
			return nil, Traits{}, err
		}
	}
	var out []Section
	for _, id := range []byte{
		SectionType, SectionImport, SectionFunction, SectionTable, SectionMemory, SectionGlobal, SectionExport,
		SectionStart, SectionElement, SectionDataCount, SectionCode, SectionData,
	} {
		if b, ok := m.body[id]; ok {
			out = append(out, Section{id, b})
		}
	}
	if names := m.shiftedNames(); names != nil {
		out = append(out, Section{SectionCustom, names})
	}
	return out, m.traits, nil
}

// Traits are what a module's instructions may do to a state that is not in its memory and globals, and what metering them took.
type Traits struct {
	MutatesTables bool // table.set, grow, fill, copy, init
	DropsSegments bool // data.drop, elem.drop
	Checks        int  // places where steps are counted
}

func (t *Traits) note(in instruction) {
	switch {
	case in.op == 0x26, in.op == opPrefixMisc && (in.sub == 12 || in.sub == 14 || in.sub == 15 || in.sub == 17):
		t.MutatesTables = true
	case in.op == opPrefixMisc && (in.sub == 9 || in.sub == 13):
		t.DropsSegments = true
	}
}

type meter struct {
	traits   Traits
	body     map[byte][]byte
	names    []byte   // content of the name section
	params   []uint32 // number of parameters by type
	imported uint32   // functions
	types    []uint32 // of the module's own functions
	globals  uint32   // before ours: the index of ours
	tick     uint32   // index of the host's function
}

// section returns a reader of a section and, if there is one, its count.
func (m *meter) section(id byte) (r *reader, n uint32) {
	r = &reader{b: m.body[id]}
	if len(r.b) > 0 {
		n = r.count()
	}
	return r, n
}

// index counts what has an index.
func (m *meter) index() error {
	r, n := m.section(SectionType)
	for ; n > 0 && r.err == nil; n-- {
		r.byte()
		params := r.u32()
		r.bytes(params)
		r.name()
		m.params = append(m.params, params)
	}
	imports, n := m.section(SectionImport)
	for m.imported = n; n > 0 && imports.err == nil; n-- {
		imports.name()
		imports.name()
		if imports.byte() != KindFunction {
			imports.fail("import that is not a function")
		}
		imports.u32()
	}
	functions, n := m.section(SectionFunction)
	for ; n > 0 && functions.err == nil; n-- {
		t := functions.u32()
		if int(t) >= len(m.params) {
			functions.fail("type out of range")
			break
		}
		m.types = append(m.types, t)
	}
	globals, n := m.section(SectionGlobal)
	m.globals, m.tick = n, m.imported
	return errors.Join(r.err, imports.err, functions.err, globals.err)
}

// shift is a function's index after tick has been put behind the imports.
func (m *meter) shift(f uint32) uint64 {
	if f >= m.imported {
		return uint64(f) + 1
	}
	return uint64(f)
}

func (m *meter) addType() error {
	r, n := m.section(SectionType)
	m.body[SectionType] = append(appendU(nil, uint64(n)+1), append(append([]byte(nil), r.b[r.p:]...), 0x60, 0, 0)...)
	return r.err
}

func (m *meter) addImport() error {
	r, n := m.section(SectionImport)
	b := append(appendU(nil, uint64(n)+1), r.b[r.p:]...)
	b = append(appendName(appendName(b, MeterModule), MeterTick), KindFunction)
	m.body[SectionImport] = appendU(b, uint64(len(m.params)))
	return r.err
}

func (m *meter) addGlobal() error {
	r, n := m.section(SectionGlobal)
	b := appendU(nil, uint64(n)+1)
	for ; n > 0 && r.err == nil; n-- {
		b = append(b, r.byte(), r.byte())
		b = m.shiftExpression(b, r)
	}
	m.body[SectionGlobal] = append(b, typeI64, 1, opI64Const, 0, opEnd)
	return r.err
}

// shiftExpression copies a constant expression.
func (m *meter) shiftExpression(b []byte, r *reader) []byte {
	for r.err == nil {
		in := r.instruction()
		switch {
		case r.err != nil:
			return b
		case in.op == opGlobalGet && in.index >= m.globals:
			r.fail("global out of range")
		case in.op == opRefFunc:
			b = appendU(append(b, opRefFunc), m.shift(in.index))
		default:
			b = append(b, r.b[in.start:in.end]...)
		}
		if in.op == opEnd {
			return b
		}
	}
	return b
}

func (m *meter) shiftExports() error {
	r, n := m.section(SectionExport)
	b := appendU(nil, uint64(n)+1)
	for ; n > 0 && r.err == nil; n-- {
		b = appendName(b, r.name())
		kind, index := r.byte(), r.u32()
		b = append(b, kind)
		switch {
		case kind == KindFunction:
			b = appendU(b, m.shift(index))
		case kind == KindGlobal && index >= m.globals:
			return fmt.Errorf("%w: export of global %d", ErrMeter, index)
		default:
			b = appendU(b, uint64(index))
		}
	}
	m.body[SectionExport] = appendU(append(appendName(b, FuelGlobal), KindGlobal), uint64(m.globals))
	return r.err
}

func (m *meter) shiftStart() error {
	b, ok := m.body[SectionStart]
	if !ok {
		return nil
	}
	r := &reader{b: b}
	m.body[SectionStart] = appendU(nil, m.shift(r.u32()))
	return r.err
}

// Flags of element segments.
const (
	elementPassive  = 1 // or declarative
	elementExplicit = 2 // has a table's index, or is declarative
	elementExprs    = 4
)

func (m *meter) shiftElements() error {
	if _, ok := m.body[SectionElement]; !ok {
		return nil
	}
	r, n := m.section(SectionElement)
	b := appendU(nil, uint64(n))
	for ; n > 0 && r.err == nil; n-- {
		flags := r.u32()
		b = appendU(b, uint64(flags))
		if flags&elementPassive == 0 {
			if flags&elementExplicit != 0 {
				b = appendU(b, uint64(r.u32()))
			}
			b = m.shiftExpression(b, r)
		}
		if flags&(elementPassive|elementExplicit) != 0 {
			b = append(b, r.byte()) // kind or type
		}
		k := r.u32()
		b = appendU(b, uint64(k))
		for ; k > 0 && r.err == nil; k-- {
			if flags&elementExprs != 0 {
				b = m.shiftExpression(b, r)
			} else {
				b = appendU(b, m.shift(r.u32()))
			}
		}
	}
	m.body[SectionElement] = b
	return r.err
}

// code meters every function.
func (m *meter) code() error {
	if _, ok := m.body[SectionCode]; !ok {
		return nil
	}
	r, n := m.section(SectionCode)
	if int(n) != len(m.types) {
		return malformed("%d functions with %d bodies", len(m.types), n)
	}
	b := append(make([]byte, 0, len(r.b)+len(r.b)/8), appendU(nil, uint64(n))...)
	var f []byte
	for i := range n {
		body := r.bytes(r.u32())
		if r.err != nil {
			return r.err
		}
		var err error
		if f, err = m.function(f[:0], body, m.params[m.types[i]]); err != nil {
			return fmt.Errorf("function %d: %w", i, err)
		}
		b = append(appendU(b, uint64(len(f))), f...)
	}
	m.body[SectionCode] = b
	return nil
}

func (m *meter) custom(body []byte) {
	r := &reader{b: body}
	if r.name() == "name" && r.err == nil {
		m.names = r.b[r.p:]
	}
}

// shiftedNames returns a name section with the names of functions only, or nil if there are none or they cannot be read: they are
// for stack traces and nothing else.
func (m *meter) shiftedNames() []byte {
	const functionNames = 1
	for r := (&reader{b: m.names}); r.more(); {
		id, content := r.byte(), r.bytes(r.u32())
		if id != functionNames || r.err != nil {
			continue
		}
		names := &reader{b: content}
		n := names.count()
		b := appendU(nil, uint64(n))
		for ; n > 0 && names.err == nil; n-- {
			b = appendU(b, m.shift(names.u32()))
			b = appendName(b, names.name())
		}
		if names.err != nil {
			return nil
		}
		out := append(appendName(nil, "name"), functionNames)
		return append(appendU(out, uint64(len(b))), b...)
	}
	return nil
}
