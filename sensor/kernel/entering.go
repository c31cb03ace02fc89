package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
)

// attachEnter attaches a program to the beginning of each call whose paths are read early. The kernel has a tracepoint for each call, which
// costs the other calls a fifth of what a program at the beginning of all calls does; that is attached where there are none.
func (s *Sensor) attachEnter(in interest) error {
	if !s.enterAll {
		err := s.attachEach(in)
		if err == nil {
			return nil
		}
		s.enterAll = true
		s.cfg.Log.Info("no tracepoints of single system calls: all calls pay for those whose paths rules watch", "err", err)
		if err := s.detachEach(func(int) bool { return false }); err != nil {
			return err
		}
	}
	return s.attachWhile(&s.callEnter, bpf.SensorProgCallEnter, in.enter.any != [len(in.enter.any)]uint64{})
}

// attachEach attaches a program to the beginning of each native call of in.enter, and detaches it from those that are not in it.
func (s *Sensor) attachEach(in interest) error {
	wanted := func(nr int) bool { return in.enter.exact[nr/64]>>(nr%64)&1 != 0 }
	for nr, t := range decode.NativeCalls()[:min(firstX32, len(decode.NativeCalls()))] {
		if !wanted(nr) || s.entering[nr] != nil {
			continue
		}
		l, err := link.Tracepoint("syscalls", "sys_enter_"+kernelName(t), s.coll.Programs[bpf.SensorProgCallEnterOne], nil)
		if err != nil {
			return fmt.Errorf("attach to the beginning of %s: %w", t, err)
		}
		s.entering[nr] = l
	}
	return s.detachEach(wanted)
}

func (s *Sensor) detachEach(keep func(nr int) bool) error {
	var errs []error
	for nr, l := range s.entering {
		if !keep(nr) {
			errs = append(errs, l.Close())
			delete(s.entering, nr)
		}
	}
	return errors.Join(errs...)
}

// beginsAsKnown reports whether the context of a call's tracepoint is struct call_begins of bpf/c/kernel.h: it is in all kernels but some with
// real-time patches.
func beginsAsKnown(kernel *btf.Spec) bool {
	var t *btf.Struct
	if err := kernel.TypeByName("trace_event_raw_sys_enter", &t); err != nil {
		return false
	}
	id, ok := memberOffset(t.Members, "id", 0)
	args, also := memberOffset(t.Members, "args", 0)
	return ok && also && id == 8 && args == 16
}

// firstX32 is the first number that x32 alone uses.
const firstX32 = 512

// kernelName is what the kernel calls the function of a system call.
func kernelName(t field.EventType) string {
	if t == field.EventUmount2 {
		return "umount"
	}
	return t.String()
}
