package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bpf"
)

// Backends of a Sensor: where it takes the path arguments of system calls from.
const (
	BackendT = "T" // the program's memory, before the call and after it: tracepoints are all it needs
	BackendL = "L" // the kernel's own copy: needs programs that are attached to functions of the kernel
)

// pathPrograms are those of backend L that see paths; the first one that does is attached, and sourceProgram with it.
var pathPrograms = [...]string{bpf.SensorProgPathNamed, bpf.SensorProgPathCopied}

// addressPrograms are those of backend L that see the addresses of socket calls: all of them or none are attached.
var addressPrograms = [...]string{bpf.SensorProgConnectCopied, bpf.SensorProgBindCopied, bpf.SensorProgSendCopied}

const (
	sourceProgram        = bpf.SensorProgSourceCopied
	withoutCopies        = "paths of calls other than open are read from the program's memory, where its threads can change them (backend T)"
	withoutAddressCopies = "addresses of sockets that are no internet sockets are read from the program's memory, where its threads can change them"
)

// Backend returns the backend in use, BackendT or BackendL.
func (s *Sensor) Backend() string {
	if s.copies != "" {
		return BackendL
	}
	return BackendT
}

// prepareCopies leaves out backend L where the kernel refuses programs that are attached to functions. That a kernel has what they take, and
// lists BPF among its security modules, does not mean that it loads them, so it is tried.
func (s *Sensor) prepareCopies(spec *ebpf.CollectionSpec) {
	p, err := newProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceFExit, AttachTo: "getname_flags",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, License: "Dual BSD/GPL",
	}, "probe", s.types)
	if err == nil {
		_ = p.Close()
		if !s.cfg.NoBackendL {
			return
		}
	}
	for _, name := range slices.Concat(pathPrograms[:], addressPrograms[:], []string{sourceProgram, bpf.SensorProgUringOpened}) {
		delete(spec.Programs, name)
	}
	if err != nil {
		s.lack("programs attached to kernel functions, which it refuses: %s", withoutCopies)
	}
}

// chooseCopies chooses backend L if one of its programs sees the paths that this process passes.
func (s *Sensor) chooseCopies() error {
	if s.coll.Programs[sourceProgram] == nil {
		return nil
	}
	var errs []error
	for _, name := range pathPrograms {
		if s.coll.Programs[name] == nil {
			continue
		}
		err := s.probeCopies(name)
		if err == nil {
			s.copies = name
			return errors.Join(s.set(bpf.SensorVarPathsCopied, uint32(1)), s.chooseAddresses())
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	s.lack("%v: %s", errors.Join(errs...), withoutCopies)
	return nil
}

// chooseAddresses has backend L take addresses too, where all of its programs for that have loaded.
func (s *Sensor) chooseAddresses() error {
	for _, name := range addressPrograms {
		if s.coll.Programs[name] == nil {
			return nil
		}
	}
	s.addresses = true
	return s.set(bpf.SensorVarAddressesCopied, uint32(1))
}

// probeCopies attaches a program for as long as it takes to see whether it is called.
func (s *Sensor) probeCopies(name string) error {
	l, err := link.AttachTracing(link.TracingOptions{Program: s.coll.Programs[name]})
	if err != nil {
		return err
	}
	defer l.Close()
	path := []byte("/\x00")
	var pin runtime.Pinner
	pin.Pin(&path[0])
	defer pin.Unpin()
	at := unsafe.Pointer(&path[0])
	if err := s.set(bpf.SensorVarProbeAddress, uint64(uintptr(at))); err != nil {
		return err
	}
	cwd := unix.AT_FDCWD
	_, _, _ = unix.Syscall(unix.SYS_FACCESSAT, uintptr(cwd), uintptr(at), unix.F_OK)
	var seen uint32
	if err := s.coll.Variables[bpf.SensorVarProbeSeen].Get(&seen); err != nil {
		return fmt.Errorf("read %s: %w", bpf.SensorVarProbeSeen, err)
	}
	if seen == 0 {
		return errors.New("does not see the paths that programs pass")
	}
	return s.set(bpf.SensorVarProbeAddress, uint64(0))
}

// set sets a variable of the programs.
func (s *Sensor) set(name string, v any) error {
	if err := s.coll.Variables[name].Set(v); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}
