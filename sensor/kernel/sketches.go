package kernel

import (
	"fmt"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// everyByte is a number with a one in each byte.
const everyByte = 0x0101010101010101

// sketchOf is k as the kernel reads it.
func sketchOf(k *filter.Sketch) (out bpf.SensorSketch) {
	if k == nil {
		return out
	}
	out.Flags = uint32(bpf.SensorSketchFlagSKETCH_MADE)
	for flag, is := range map[bpf.SensorSketchFlag]bool{
		bpf.SensorSketchFlagSKETCH_NAMES:      len(k.Names) > 0,
		bpf.SensorSketchFlagSKETCH_EXEC:       k.Exec,
		bpf.SensorSketchFlagSKETCH_WHERE:      k.Where,
		bpf.SensorSketchFlagSKETCH_TAILS:      len(k.Tails) > 0,
		bpf.SensorSketchFlagSKETCH_PATH_PAIRS: k.PathPairs,
		bpf.SensorSketchFlagSKETCH_CHECK:      k.Check,
	} {
		if is {
			out.Flags |= uint32(flag)
		}
	}
	for i, pair := range k.Pairs {
		out.First[i], out.Second[i] = everyByte*uint64(pair[0]), everyByte*uint64(pair[1])
	}
	out.Pairs = uint32(len(k.Pairs))
	put := func(texts []string, long, short *[filter.SketchWords]uint64) {
		for _, text := range texts {
			if len(text) < filter.SketchLong {
				(*filter.SketchSet)(short).Add(text)
			} else {
				(*filter.SketchSet)(long).Add(text)
			}
		}
	}
	put(k.Heads, &out.Heads, &out.ShortHeads)
	put(k.Tails, &out.Tails, &out.ShortTails)
	put(k.Names, &out.Names, &out.Names)
	return out
}

// writeSketches writes those of an interest where none are that programs read now. It returns what is to be added to their places.
func (s *Sensor) writeSketches(in *interest) (bank uint8, err error) {
	m := s.coll.Maps[bpf.SensorMapSketches]
	types := len(in.sketches)
	shapes := int(m.MaxEntries()) / 2 / types
	bank = uint8(types) - s.sketchBank
	if s.sketched {
		settle() // programs that began when they were the ones to be read
	}
	for i, of := range in.sketches {
		for shape, k := range of {
			if err := m.Put(uint32((int(bank)+i)*shapes+shape), sketchOf(k)); err != nil {
				return 0, fmt.Errorf("write sketches of opens: %w", err)
			}
			s.sketched = true
		}
	}
	s.sketchBank = bank
	return bank, nil
}
