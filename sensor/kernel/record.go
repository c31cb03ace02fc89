package kernel

import (
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// record adds the event types that the flight recorder wants to what rules want.
func (in *interest) record(types field.EventSet) {
	in.brief &^= kindsOf(types)
	for index := range in.layouts {
		l := &in.layouts[index]
		if l.Type == 0 || !types.Has(field.EventType(l.Type)) || l.Program == progExec {
			continue // programs that started come as process events
		}
		l.Record = uint8(bpf.SensorRecordInterestRECORD_TOO)
		l.DroppedShapes &^= filter.ShapesMakingFiles()
		l.BitsArg = 0
		if in.exact[index/64]>>(index%64)&1 != 0 {
			continue
		}
		l.Record = uint8(bpf.SensorRecordInterestRECORD_ONLY)
		nr := index
		switch {
		case index >= callsNative+callsCompat:
			nr = ia32Socketcall
			call := callsNative + ia32Socketcall
			in.exact[call/64] |= 1 << (call % 64)
		case index >= callsNative:
			nr = index - callsNative
		}
		in.exact[index/64] |= 1 << (index % 64)
		in.any[nr/64] |= 1 << (nr % 64)
	}
	for op, t := range uringTypes {
		if types.Has(t) && in.uring[op] == 0 {
			in.uring[op], in.uringRecorded[op] = uint16(t), 1
		}
	}
	if types.Has(field.EventConnect) {
		in.destinations = 1
		in.addresses[0] = true
	}
	in.addresses[1] = in.addresses[1] || types.Has(field.EventBind)
}
