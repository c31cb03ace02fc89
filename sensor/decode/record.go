package decode

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"reflect"
	"unsafe"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
)

const (
	typeOffset  = int(unsafe.Offsetof(bpf.SensorHead{}.Type))
	flagsOffset = int(unsafe.Offsetof(bpf.SensorHead{}.Flags))
)

// AppendSection appends a section to the record b. v is at most 65535 bytes long.
func AppendSection(b []byte, tag bpf.SensorTag, v []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}

// SetFlag sets a flag in the head of the record b, which is long enough to have one.
func SetFlag(b []byte, flag bpf.SensorHeadFlag) {
	f := binary.LittleEndian.Uint32(b[flagsOffset:]) | uint32(flag)
	binary.LittleEndian.PutUint32(b[flagsOffset:], f)
}

// ClearFlags clears flags in the head of the record b; it does nothing if b is too short to have one.
func ClearFlags(b []byte, flags bpf.SensorHeadFlag) {
	if len(b) >= headSize {
		binary.LittleEndian.PutUint32(b[flagsOffset:], binary.LittleEndian.Uint32(b[flagsOffset:])&^uint32(flags))
	}
}

// SetTime changes the kernel time of the record b, which is long enough to have one.
func SetTime(b []byte, bootNS uint64) { binary.LittleEndian.PutUint64(b[timeOffset:], bootNS) }

// CgroupRecord is the record of a cgroup's first sight at boot time bootNS.
func CgroupRecord(id uint64, v1 bool, path string, bootNS uint64) []byte {
	h := bpf.SensorHead{Kind: uint16(bpf.SensorKindKIND_CGROUP), Time: bootNS, Cgroup: id}
	if v1 {
		h.Flags = uint32(bpf.SensorHeadFlagHEAD_CGROUP_V1)
	}
	b := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&h)), headSize)...)
	return AppendSection(b, bpf.SensorTagTAG_CGROUP, []byte(path))
}

// Type returns the event type that the head of record b names; 0 if it is too short.
func Type(b []byte) field.EventType {
	if len(b) < headSize {
		return 0
	}
	return field.EventType(binary.LittleEndian.Uint16(b[typeOffset:]))
}

// SetType changes the event type in the head of the record b, which is long enough to have one.
func SetType(b []byte, t field.EventType) { binary.LittleEndian.PutUint16(b[typeOffset:], uint16(t)) }

// Layout names the layout of records: two programs can read each other's if it is the same. New tags do not change it, for they are passed
// over by who does not know them.
func Layout() string {
	h := fnv.New64a()
	for _, v := range []any{
		bpf.SensorHead{}, bpf.SensorSection{}, bpf.SensorOpenInfo{}, bpf.SensorSocketInfo{}, bpf.SensorExecInfo{}, bpf.SensorForkInfo{},
	} {
		t := reflect.TypeOf(v)
		_, _ = fmt.Fprintf(h, "%d", t.Size())
		for f := range t.Fields() {
			_, _ = fmt.Fprintf(h, " %s %d %d", f.Name, f.Offset, f.Type.Size())
		}
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
