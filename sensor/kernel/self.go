package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// Reasons why a process cannot be exempt, tested for with errors.Is.
var (
	// ErrExemptMany: as many processes are exempt as may be.
	ErrExemptMany = errors.New("too many processes are exempt")
	// ErrExemptGone: the process ended or became another program meanwhile, or is not in this pid namespace.
	ErrExemptGone = errors.New("no such process, or another program by now")
	// ErrExemptTwice: the process is exempt already.
	ErrExemptTwice = errors.New("process is exempt already")
)

const (
	selvesMax = 4 // SELVES in bpf/c/maps.h
	ownPlace  = 0 // of this process
)

// MaxExempt is how many processes may be exempt at once, besides the sensor's own.
const MaxExempt = selvesMax - 1

// A self is a process whose calls are no events, as the kernel knows it: one of struct self in bpf/c/maps.h. A program that it starts is
// another one, also one that takes its place by exec.
type self struct {
	PID, Exec uint32
	Start     uint64
}

type selves [selvesMax]self

// A passing is what Run needs of selves: those of now, and of each place the one before, of whose end the record may still be on its way.
type passing struct{ now, before selves }

func (p *passing) place(ev *event.Event) (int, bool) {
	is := self{PID: ev.Task.PID, Exec: ev.Task.ExecGen, Start: ev.Task.StartNS}
	for i := range p.now {
		if p.now[i] == is || ev.Type == field.EventProcexit && p.before[i] == is {
			return i, true
		}
	}
	return 0, false
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
	var all selves
	if err := s.coll.Variables[bpf.SensorVarSelves].Get(&all); err != nil {
		return fmt.Errorf("exempt own process: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.selves = all
	s.passing.Store(&passing{now: all})
	return nil
}

// An Exemption keeps the calls of a process from being events until Close. It is safe for concurrent use.
type Exemption struct {
	s     *Sensor
	place int
	self  self
	calls uint64 // guarded by s.mu; those of the place before this exemption, and after its end those during it
	ended bool   // guarded by s.mu
}

// Exempt passes over the calls of process pid, until it ends, runs another program by exec, or the exemption is closed; the processes that
// it starts are not passed over. check is called once the process is known and says whether it may be: what it finds out is of the very
// process and program that is exempt if it can rule out that the process ended before check returned. The error of a refusal is check's, or
// one of ErrExemptMany, ErrExemptGone and ErrExemptTwice.
func (s *Sensor) Exempt(pid uint32, check func() error) (*Exemption, error) {
	before, err := s.identify(pid)
	if err != nil {
		return nil, err
	}
	if err := check(); err != nil {
		return nil, err
	}
	// What check saw was of this program: a later one counts as another.
	if after, err := s.identify(pid); err != nil || after != before {
		return nil, errors.Join(ErrExemptGone, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	place := 0
	for i, have := range s.selves {
		if have == before {
			return nil, ErrExemptTwice
		}
		if place == 0 && have == (self{}) {
			place = i
		}
	}
	if place == 0 {
		return nil, fmt.Errorf("%w: %d", ErrExemptMany, MaxExempt)
	}
	e := &Exemption{s: s, place: place, self: before}
	if e.calls, err = s.exempted(place); err != nil {
		return nil, err
	}
	return e, s.setSelf(place, before)
}

// Close ends the exemption. It may be called twice.
func (e *Exemption) Close() error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.ended || e.s.closed.Load() {
		return nil
	}
	now, err := e.s.exempted(e.place)
	e.calls, e.ended = now-e.calls, true
	return errors.Join(err, e.s.setSelf(e.place, self{}))
}

// Calls is how many calls and forks were passed over because of the exemption.
func (e *Exemption) Calls() uint64 {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.ended || e.s.closed.Load() {
		return e.calls
	}
	now, err := e.s.exempted(e.place)
	if err != nil {
		return 0
	}
	return now - e.calls
}

// setSelf has the kernel side pass over the process. The caller holds mu.
func (s *Sensor) setSelf(place int, to self) error {
	all, before := s.selves, s.passing.Load().before
	before[place], all[place] = all[place], to
	// A program that runs meanwhile may see half of it, which is nobody: no two processes have had the same start.
	if err := s.coll.Variables[bpf.SensorVarSelves].Set(all); err != nil {
		return fmt.Errorf("set exempt processes: %w", err)
	}
	s.selves = all
	s.passing.Store(&passing{now: all, before: before})
	return nil
}

// exempted is how many calls and forks were passed over because of a place in selves.
func (s *Sensor) exempted(place int) (uint64, error) {
	n, err := perCPUSum(s.coll.Maps[bpf.SensorMapExempted], uint32(place))
	return n + s.passed[place].Load(), err
}

// identify returns what the kernel side tells process pid and its program by.
func (s *Sensor) identify(pid uint32) (self, error) {
	if s.closed.Load() {
		return self{}, ErrClosed
	}
	records, err := s.iterate()
	if err != nil {
		return self{}, err
	}
	for _, b := range records {
		var ev event.Event
		if err := decode.Record(b, &ev); err != nil {
			return self{}, fmt.Errorf("iterate tasks: %w", err)
		}
		if ev.Cgroup == (event.Cgroup{}) && ev.Task.PID == pid {
			return self{PID: pid, Exec: ev.Task.ExecGen, Start: ev.Task.StartNS}, nil
		}
	}
	return self{}, fmt.Errorf("%w: pid %d", ErrExemptGone, pid)
}

// pass keeps rules from an event of a process that is exempt: a fork, or its end. These always leave the kernel, for the process table lives
// on them. What a program does that it starts is an event, its exec first of all.
func (s *Sensor) pass(ev *event.Event) {
	if ev.Flags&event.ProcessOnly != 0 {
		return
	}
	switch ev.Type {
	case field.EventClone, field.EventClone3, field.EventFork, field.EventVfork, field.EventProcexit:
		if i, ok := s.passing.Load().place(ev); ok {
			ev.Flags |= event.ProcessOnly
			s.passed[i].Add(1)
		}
	}
}
