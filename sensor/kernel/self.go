package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A self is this process as the kernel knows it: one of struct self in bpf/c/call.h. A program that it starts is another one.
type self struct {
	PID, _ uint32
	Start  uint64
}

// exemptSelf runs a program in this process that enters it among those whose calls are no events.
func (s *Sensor) exemptSelf() error {
	ret, err := s.coll.Programs[bpf.SensorProgExemptSelf].Run(&ebpf.RunOptions{})
	if err != nil {
		return fmt.Errorf("exempt own process: %w", err)
	}
	if ret != 0 {
		return fmt.Errorf("exempt own process: returned %d", ret)
	}
	var selves [4]self
	if err := s.coll.Variables[bpf.SensorVarSelves].Get(&selves); err != nil {
		return fmt.Errorf("exempt own process: %w", err)
	}
	s.self = selves[0]
	return nil
}

// pass keeps rules from an event of this process's own: a fork, or its end. These always leave the kernel, for the process table lives on
// them. What a program does that it starts is an event, its exec first of all.
func (s *Sensor) pass(ev *event.Event) {
	if ev.Task.PID != s.self.PID || ev.Task.StartNS != s.self.Start || ev.Flags&event.ProcessOnly != 0 {
		return
	}
	switch ev.Type {
	case field.EventClone, field.EventClone3, field.EventFork, field.EventVfork, field.EventProcexit:
		ev.Flags |= event.ProcessOnly
		s.passed.Add(1)
	}
}
