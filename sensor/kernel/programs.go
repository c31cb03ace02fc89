package kernel

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// loadPrograms makes the maps of spec and loads its programs, several at a time: the verifier takes a second and more for all of them. Optional
// ones that the kernel refuses are left out.
func (s *Sensor) loadPrograms(spec *ebpf.CollectionSpec) error {
	coll, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables}, ebpf.CollectionOptions{Cache: s.types})
	if err != nil {
		return err
	}
	s.coll = coll
	failed := map[string]error{}
	var mu sync.Mutex // guards failed and coll.Programs
	var loads errgroup.Group
	loads.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		loads.Go(func() error {
			p, err := s.loadProgram(spec.Programs[name], name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[name] = err
				return nil
			}
			coll.Programs[name] = p
			return nil
		})
	}
	_ = loads.Wait() // what failed is in the map
	return s.leaveOut(failed)
}

// loadProgram loads one program, whose maps are those that have been made.
func (s *Sensor) loadProgram(spec *ebpf.ProgramSpec, name string) (*ebpf.Program, error) {
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		m := s.coll.Maps[ins.Reference()]
		if m == nil {
			return nil, fmt.Errorf("program %s: no map %s", name, ins.Reference())
		}
		if err := ins.AssociateMap(m); err != nil {
			return nil, fmt.Errorf("program %s: map %s: %w", name, m, err)
		}
	}
	return newProgram(spec, name, s.types)
}

// newProgram loads a program with what is known of the kernel's types: to parse them anew takes longer than to load most programs.
func newProgram(spec *ebpf.ProgramSpec, name string, types *btf.Cache) (*ebpf.Program, error) {
	coll, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: spec}}, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return nil, err
	}
	return coll.Programs[name], nil // there is nothing else in it
}

// leaveOut notes what is lost without the optional programs that failed to load, and returns why another one did. It is an error too if nothing
// may be loaded.
func (s *Sensor) leaveOut(failed map[string]error) error {
	names := slices.Sorted(maps.Keys(failed))
	for _, name := range names {
		if optionalPrograms[name] == "" || errors.Is(failed[name], unix.EPERM) {
			return failed[name]
		}
	}
	told := map[string]bool{}
	for _, name := range names {
		lost := optionalPrograms[name]
		hook := strings.HasPrefix(name, hookPrefix)
		if hook && told[lost] {
			continue
		}
		told[lost] = true
		s.lack("load %s: %v: %s", name, failed[name], lost)
		for other, same := range optionalPrograms {
			if p := s.coll.Programs[other]; p != nil && hook && same == lost {
				_ = p.Close() // what one hook of sockets is refused, all are
				delete(s.coll.Programs, other)
			}
		}
	}
	return nil
}
