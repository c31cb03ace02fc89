package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/link"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// An interest is what the kernel is told of a set of event types.
type interest struct {
	any          [callsNative / 64]uint64       // by call number, whatever the ABI
	exact        [(callsTotal + 63) / 64]uint64 // by index in the call table
	enter        early                          // calls whose paths are read before the call as well
	copied       early                          // calls whose paths are taken as the kernel copies them, where it lets us
	layouts      []bpf.SensorCallLayout         // the call table
	wake         uint32                         // process events that wake the reader, by kind
	brief        uint32                         // process events that nobody wants but the process table, by kind
	connect      uint32                         // the type of connect, if it is wanted
	destinations uint32                         // 1: somebody wants to know where sockets go
	addresses    [len(addressPrograms)]bool     // whether somebody wants what each of them sees
	uring        [uringOps]uint16               // event types of the operations of io_uring
	// sketches are those of opens, by type
	sketches [len(filter.SketchTypes)][]*filter.Sketch
	// uringRecorded are the operations that the flight recorder alone wants
	uringRecorded [uringOps]uint8
}

// early are calls whose paths are read before their end: by index in the call table, and by number whatever the ABI.
type early struct {
	exact [(callsTotal + 63) / 64]uint64
	any   [callsNative / 64]uint64
}

func (e *early) add(index, nr int) {
	e.exact[index/64] |= 1 << (index % 64)
	e.any[nr/64] |= 1 << (nr % 64)
}

// interestOf works out which calls make the events of a plan, whose loaded programs l has.
func interestOf(p *filter.Plan, l *loadedFilter) interest {
	types := p.Types
	in := interest{layouts: make([]bpf.SensorCallLayout, callsTotal)}
	if types.Has(field.EventConnect) {
		in.connect = uint32(field.EventConnect)
	}
	var programs map[field.EventType]filterPrograms
	if l != nil {
		programs = l.programs
	}
	add := func(index, nr int, t field.EventType) {
		if t == 0 || index >= callsTotal {
			return
		}
		l, want := layout(t), types.Has(t)
		if !want && t == field.EventIoUringEnter {
			want = opensThrough(types) // at its end the programs look at what has been opened
			l.Type = 0
		}
		if !want && in.connect != 0 && (t == field.EventSendto || t == field.EventSendmsg) {
			l.Flags |= onlyFastopen // they connect with MSG_FASTOPEN
			want = true
		}
		if programs != nil && programs[t].late != nil {
			l.Texts = 1
		}
		if programs != nil && programs[t].early != nil {
			l.DroppedShapes, l.KeptShapes = p.Filters[t].Shapes(p)
			if index < callsNative && l.Program == progGeneric {
				l.BitsArg, l.Bits = neededBits(p.Filters[t], p)
			}
		}
		in.sketch(p, t, programs[t].late != nil, &l)
		in.layouts[index] = l
		if want {
			in.exact[index/64] |= 1 << (index % 64)
			in.any[nr/64] |= 1 << (nr % 64)
		}
		if want && l.Program == progGeneric && l.Path != 0 && p.Paths.Has(t) {
			in.enter.add(index, nr)
		}
		if want && l.Path != 0 && (l.Program != progGeneric || p.Paths.Has(t)) {
			in.copied.add(index, nr)
		}
	}
	for nr, t := range decode.NativeCalls() {
		add(nr, nr, t)
	}
	if hasIA32 {
		for nr, t := range decode.IA32Calls() {
			add(callsNative+nr, nr, t)
		}
		for nr, t := range decode.SocketCalls() {
			add(callsNative+callsCompat+nr, ia32Socketcall, t)
		}
		in.socketcall()
	}
	in.wake = kindsOf(types)
	if p.Filters != nil { // else all there is is wanted
		in.brief = mayBeBrief &^ in.wake
	}
	for op, t := range uringTypes {
		if types.Has(t) {
			in.uring[op] = uint16(t)
		}
	}
	for _, t := range []field.EventType{field.EventConnect, field.EventSendto, field.EventSendmsg, field.EventSendmmsg} {
		if types.Has(t) {
			in.destinations = 1
		}
	}
	in.addresses = [...]bool{
		types.Has(field.EventConnect),
		types.Has(field.EventBind),
		types.Has(field.EventSendto) || types.Has(field.EventSendmsg),
	}
	return in
}

// neededBits are those that the dispatcher looks for in an argument, whose position it returns; 0 if there are none.
func neededBits(f *filter.Filter, p *filter.Plan) (position uint8, mask uint32) {
	const second, third = 1, 2 // which it has at hand
	arg, mask, ok := f.NeededBits(p)
	if !ok || arg != second && arg != third {
		return 0, 0
	}
	return uint8(arg + 1), mask
}

// sketch notes the sketches of opens of type t, which has a filter program that looks at paths if late is set. Opens that have one need not be
// looked at by the program before.
func (in *interest) sketch(p *filter.Plan, t field.EventType, late bool, l *bpf.SensorCallLayout) {
	i := slices.Index(filter.SketchTypes[:], t)
	if i < 0 || !late {
		return
	}
	if in.sketches[i] == nil {
		of := p.Filters[t].Sketches(p)
		in.sketches[i] = of[:]
	}
	for shape, k := range in.sketches[i] {
		if k == nil {
			continue
		}
		l.Sketches = uint8(i + 1)
		if l.OpenFlags != 0 { // else its shape is not in its registers
			l.KeptShapes |= 1 << shape
		}
	}
}

// mayBeBrief are the kinds of process records of which there is a brief make.
const mayBeBrief = 1<<bpf.SensorKindKIND_FORK | 1<<bpf.SensorKindKIND_EXIT

// kindsOf are the kinds of process records that tell of types, as bits.
func kindsOf(types field.EventSet) uint32 {
	var bits uint32
	for kind, of := range map[bpf.SensorKind]field.EventSet{
		bpf.SensorKindKIND_EXEC: field.NewEventSet(field.EventExecve, field.EventExecveat),
		bpf.SensorKindKIND_FORK: field.NewEventSet(field.EventClone, field.EventClone3, field.EventFork, field.EventVfork),
		bpf.SensorKindKIND_EXIT: field.NewEventSet(field.EventProcexit),
	} {
		if !types.Intersect(of).Empty() {
			bits |= 1 << kind
		}
	}
	return bits
}

// ia32Socketcall is the number of the call that stands for all socket calls.
const ia32Socketcall = 102

// socketcall lets that call through if one behind it is wanted.
func (in *interest) socketcall() {
	i := callsNative + ia32Socketcall
	in.layouts[i].Flags |= socketcall
	for n := range callsSocket {
		j := callsNative + callsCompat + n
		if in.exact[j/64]>>(j%64)&1 != 0 {
			in.exact[i/64] |= 1 << (i % 64)
		}
	}
}

// applyInterest writes in to the call table and the programs' variables.
func (s *Sensor) applyInterest(in interest) error {
	bank, err := s.writeSketches(&in)
	if err != nil {
		return err
	}
	m := s.coll.Maps[bpf.SensorMapCallLayouts]
	for i, l := range in.layouts {
		if l.Sketches != 0 {
			l.Sketches += bank
		}
		if l == s.layouts[i] {
			continue
		}
		if err := m.Put(uint32(i), l); err != nil {
			return fmt.Errorf("write call table: %w", err)
		}
		s.layouts[i] = l
	}
	s.wake.Store(in.wake)
	early := in.enter
	if s.copies != "" {
		early = in.copied
	}
	for name, v := range map[string]any{
		bpf.SensorVarInterest:          in.exact,
		bpf.SensorVarInterestAny:       in.any,
		bpf.SensorVarInterestEnter:     early.exact,
		bpf.SensorVarInterestEnterAny:  early.any,
		bpf.SensorVarProcessWake:       in.wake,
		bpf.SensorVarProcessBrief:      in.brief,
		bpf.SensorVarTypeConnect:       in.connect,
		bpf.SensorVarWatchDestinations: in.destinations,
		bpf.SensorVarUringTypes:        in.uring,
		bpf.SensorVarUringRecorded:     in.uringRecorded,
	} {
		if err := s.coll.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// attachCalls attaches the programs at both ends of system calls while there is a call that somebody wants.
func (s *Sensor) attachCalls(in interest) error {
	none := [len(in.any)]uint64{}
	err := s.attachWhile(&s.callExit, bpf.SensorProgCallExit, in.any != none)
	if s.copies == "" {
		return errors.Join(err, s.attachEnter(in))
	}
	for i, name := range [...]string{s.copies, sourceProgram} {
		err = errors.Join(err, s.attachWhile(&s.copying[i], name, in.copied.any != none))
	}
	for i, name := range addressPrograms {
		err = errors.Join(err, s.attachWhile(&s.addressing[i], name, s.addresses && in.addresses[i]))
	}
	return err
}

// attachWhile attaches the program called name if it is wanted and detaches it if it is not. l is its link, nil if it is detached.
func (s *Sensor) attachWhile(l *link.Link, name string, wanted bool) error {
	switch {
	case wanted && *l == nil:
		attached, err := link.AttachTracing(link.TracingOptions{Program: s.coll.Programs[name]})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		*l = attached
	case !wanted && *l != nil:
		err := (*l).Close()
		*l = nil
		return err
	}
	return nil
}
