package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// A loadedFilter is a plan in the kernel.
type loadedFilter struct {
	plan     *filter.Plan
	programs map[field.EventType]filterPrograms
	names    *ebpf.Map
	tries    map[string]*ebpf.Map      // lists that are too long to be compared one by one
	refused  map[field.EventType]error // types whose filter could not be loaded: all of their events leave the kernel
}

type filterPrograms struct {
	early, late *ebpf.Program // of calls
	life        *ebpf.Program // of records about processes
}

func (p filterPrograms) close() {
	_ = p.early.Close() // nil is fine
	_ = p.late.Close()
	_ = p.life.Close()
}

// maxTrieEntries bounds the lists of all filters. An entry takes some 300 bytes of the kernel's memory.
const maxTrieEntries = 65536

var errTries = fmt.Errorf("lists of more than %d values in all", maxTrieEntries)

func (l *loadedFilter) close() {
	if l == nil {
		return
	}
	for _, p := range l.programs {
		p.close()
	}
	for _, m := range l.tries {
		_ = m.Close()
	}
	_ = l.names.Close()
}

// SetInterest makes types the event types that leave the kernel, whatever they say. Those that maintain the process table (fork, exec,
// exit, cgroups) always do; for them the set says only which of them wake the reader at once.
func (s *Sensor) SetInterest(types field.EventSet) error {
	p := filter.Everything(types)
	return s.Use(p, p)
}

// Use makes next decide what leaves the kernel. Until no program runs that has seen what decided before, that is wide, which must let out
// whatever the plan before or next would. Then events begin to carry next's generation, and each that does was let out by wide or by next.
// A filter that the kernel refuses is left out: all events of its type leave.
func (s *Sensor) Use(wide, next *filter.Plan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return ErrClosed
	}
	if wide != next {
		if err := s.install(wide); err != nil {
			return err
		}
		settle()
	}
	if err := s.coll.Variables[bpf.SensorVarGeneration].Set(next.Generation); err != nil {
		return fmt.Errorf("set generation: %w", err)
	}
	if wide != next {
		settle()
	}
	return s.install(next)
}

// settle waits until every program that runs now has ended.
func settle() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL: the kernel's synchronize_rcu, under which programs run
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // no membarrier with nohz_full; programs run for microseconds, with preemption off
	}
}

// install puts a plan in the place of the one before.
func (s *Sensor) install(p *filter.Plan) error {
	l, err := s.loadFilter(p)
	if err != nil {
		return err
	}
	in := interestOf(p, l)
	in.record(s.cfg.Record)
	if err := errors.Join(s.applyInterest(in), s.attachCalls(in), s.attachUring(in)); err != nil {
		l.close()
		return err
	}
	before := s.filter
	s.filter = l
	err = s.fillFilters(before)
	before.close()
	return err
}

// loadFilter loads the programs of a plan, several at a time: the verifier takes a second and more for all of Falco's rules.
func (s *Sensor) loadFilter(p *filter.Plan) (*loadedFilter, error) {
	l := &loadedFilter{
		plan: p, programs: map[field.EventType]filterPrograms{}, tries: map[string]*ebpf.Map{}, refused: map[field.EventType]error{},
	}
	env, err := s.filterEnv(l)
	if err != nil {
		l.close()
		return nil, err
	}
	types := s.types
	if types == nil {
		types = btf.NewCache()
	}
	var mu sync.Mutex
	var loads errgroup.Group
	loads.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range p.Sorted() {
		loads.Go(func() error {
			programs, err := loadOne(p, f, env, types)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				l.programs[f.Type] = programs
				return nil
			}
			l.refused[f.Type] = err
			s.filterRefused.Add(1)
			s.cfg.Log.Warn("kernel filter refused: all events of the type are read", "event_type", f.Type.String(), "err", err)
			return nil
		})
	}
	return l, loads.Wait()
}

// filterEnv says what the programs of a filter refer to, and makes the map of its names.
func (s *Sensor) filterEnv(l *loadedFilter) (*filter.Env, error) {
	names, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "filter_names", Type: ebpf.Hash, KeySize: 16, ValueSize: 32, MaxEntries: uint32(max(1, len(l.plan.Names))),
	})
	if err != nil {
		return nil, fmt.Errorf("make map of names: %w", err)
	}
	l.names = names
	for text, bits := range l.plan.Names {
		var name [16]byte
		copy(name[:], text)
		if err := names.Put(name, bits); err != nil {
			return nil, fmt.Errorf("write map of names: %w", err)
		}
	}
	fd := func(name string) int { return s.coll.Maps[name].FD() }
	return &filter.Env{
		Calls: fd(bpf.SensorMapCurrentCalls), Texts: fd(bpf.SensorMapFilterTexts), Scratches: fd(bpf.SensorMapScratches),
		Counts: fd(bpf.SensorMapFilterCounts), Programs: fd(bpf.SensorMapCallPrograms), Processes: fd(bpf.SensorMapProcesses),
		CgroupKinds: fd(bpf.SensorMapCgroupKinds), Destinations: fd(bpf.SensorMapDestinationsOf), Names: names.FD(),
		Lives: map[filter.Life]int{
			filter.Exec: fd(bpf.SensorMapExecPrograms), filter.Fork: fd(bpf.SensorMapForkPrograms), filter.Exit: fd(bpf.SensorMapExitPrograms),
		},
		Kernel: s.offsets, V1Controller: s.v1, Trie: l.trie,
	}, nil
}

// trie returns a map of a trie, which it makes at first.
func (l *loadedFilter) trie(t *filter.Trie) (int, error) {
	if m := l.tries[t.Key]; m != nil {
		return m.FD(), nil
	}
	n := len(t.Entries)
	for _, m := range l.tries {
		n += int(m.MaxEntries())
	}
	if n > maxTrieEntries {
		return 0, errTries
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "filter_trie", Type: ebpf.LPMTrie, KeySize: 4 + t.KeyBytes, ValueSize: 4, MaxEntries: uint32(max(1, len(t.Entries))),
		Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return 0, fmt.Errorf("make trie: %w", err)
	}
	l.tries[t.Key] = m
	key := make([]byte, 4+t.KeyBytes)
	for _, e := range t.Entries {
		clear(key)
		binary.NativeEndian.PutUint32(key, e.Bits)
		copy(key[4:], e.Data)
		if err := m.Put(key, e.Value); err != nil {
			return 0, fmt.Errorf("write trie: %w", err)
		}
	}
	return m.FD(), nil
}

// loadOne loads the programs of one filter: if the kernel refuses them, or they are too long, those of another make, which are shorter.
func loadOne(p *filter.Plan, f *filter.Filter, env *filter.Env, types *btf.Cache) (filterPrograms, error) {
	next := nextOf(f.Type)
	out, err := loadFilterPrograms(p, f, env, next, types)
	if err == nil || errors.Is(err, unix.EPERM) {
		return out, err
	}
	for _, shorter := range []func(){func() { next.Whole = true }, func() { next.Short = true }} {
		shorter()
		if out, again := loadFilterPrograms(p, f, env, next, types); again == nil {
			return out, nil
		}
	}
	return filterPrograms{}, err
}

// nextOf says where the programs of a filter go on.
func nextOf(t field.EventType) filter.Next {
	l := layout(t)
	next := filter.Next{Capture: l.Program, Emit: progGenericEmit, Socket: l.Program == progSocket || l.Program == progMessages}
	switch l.Program {
	case progOpen:
		next.Capture, next.Emit, next.Texts = progSketch, progOpenEmit, progOpenTexts
	case progUring:
		next.Capture = progGeneric
	case progSocket:
		next.Emit = progSocketEmit
		if l.Data != 0 {
			next.Flags = int(l.OpenFlags)
		}
	}
	return next
}

// loadFilterPrograms makes and loads the programs of one filter.
func loadFilterPrograms(p *filter.Plan, f *filter.Filter, env *filter.Env, next filter.Next, types *btf.Cache) (out filterPrograms, err error) {
	code, err := f.Assemble(p, env, next)
	if err != nil {
		return filterPrograms{}, err
	}
	for _, part := range []struct {
		to         **ebpf.Program
		name, hook string
		code       asm.Instructions
	}{
		{&out.early, "e_", "sys_exit", code.Early},
		{&out.late, "l_", "sys_exit", code.Late},
		{&out.life, "p_", lifeHooks[filter.LifeOf(f.Type)], code.Life},
	} {
		if *part.to, err = loadFilterProgram(part.name+f.Type.String(), part.hook, part.code, types); err != nil {
			out.close()
			return filterPrograms{}, err
		}
	}
	return out, nil
}

// lifeHooks are the tracepoints of the records about processes, in whose tables only programs of the same fit.
var lifeHooks = map[filter.Life]string{filter.Exec: "sched_process_exec", filter.Fork: "task_newtask", filter.Exit: "sched_process_exit"}

// loadFilterProgram loads instructions; none make no program.
func loadFilterProgram(name, hook string, code asm.Instructions, types *btf.Cache) (*ebpf.Program, error) {
	if code == nil {
		return nil, nil
	}
	p, err := newProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: hook, License: "Dual BSD/GPL", Instructions: code,
	}, name, types)
	if err != nil {
		return nil, fmt.Errorf("load filter: %w", err)
	}
	return p, nil
}

// fillFilters writes the tables of programs, and empties the places that were the last filter's alone.
func (s *Sensor) fillFilters(before *loadedFilter) error {
	early, late := s.coll.Maps[bpf.SensorMapFilterEarly], s.coll.Maps[bpf.SensorMapFilterLate]
	put := func(m *ebpf.Map, t field.EventType, p *ebpf.Program) error {
		if p != nil {
			return m.Put(uint32(t), p)
		}
		if err := m.Delete(uint32(t)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	}
	types := map[field.EventType]bool{}
	for t := range s.filter.programs {
		types[t] = true
	}
	if before != nil {
		for t := range before.programs {
			types[t] = true
		}
	}
	for t := range types {
		p := s.filter.programs[t]
		err := errors.Join(put(early, t, p.early), put(late, t, p.late))
		if life := lifeTables[filter.LifeOf(t)]; life != "" {
			err = errors.Join(err, put(s.coll.Maps[life], t, p.life))
		}
		if err != nil {
			return fmt.Errorf("set filter of %s: %w", t, err)
		}
	}
	return nil
}

// lifeTables are the tables of programs that look at records about processes.
var lifeTables = map[filter.Life]string{
	filter.Exec: bpf.SensorMapExecPrograms, filter.Fork: bpf.SensorMapForkPrograms, filter.Exit: bpf.SensorMapExitPrograms,
}

// noteCgroup tells the filter whether a cgroup is that of a container.
func (s *Sensor) noteCgroup(ev *event.Event) {
	if ev.Cgroup.ID == 0 || ev.Cgroup.Path == "" {
		return
	}
	kind := uint32(bpf.SensorCgroupKindCGROUP_HOST)
	if _, ok := container.ParsePath(ev.Cgroup.Path); ok {
		kind = uint32(bpf.SensorCgroupKindCGROUP_CONTAINER)
	}
	key := bpf.SensorCgroupKey{Id: ev.Cgroup.ID}
	if ev.Cgroup.V1 {
		key.Hierarchy = uint32(s.v1Hierarchy)
	}
	if err := s.coll.Maps[bpf.SensorMapCgroupKinds].Put(key, kind); err != nil {
		s.cfg.Log.Debug("kind of cgroup not noted: events of it all pass the filter", "err", err)
	}
}
