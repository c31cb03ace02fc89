package kernel

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"golang.org/x/sys/unix"
)

// An attachment is a program and the tracepoint it needs.
type attachment struct {
	program    string
	tracepoint string
}

var attachments = []attachment{
	{bpf.SensorProgProcessExec, "sched_process_exec"},
	{bpf.SensorProgProcessFork, "task_newtask"},
	{bpf.SensorProgProcessExit, "sched_process_exit"},
	{bpf.SensorProgCgroupMade, "cgroup_mkdir"},
	{bpf.SensorProgCgroupEntered, "cgroup_attach_task"},
	{bpf.SensorProgCgroupGone, "cgroup_release"},
}

// load loads the programs and maps the rings. Their memory is the cgroup's, not RLIMIT_MEMLOCK's (5.11).
func (s *Sensor) load() error {
	kernel, err := s.types.Kernel()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBTF, err)
	}
	spec, err := bpf.LoadSensor()
	if err != nil {
		return fmt.Errorf("read BPF object: %w", err)
	}
	if err := s.prepare(spec, kernel); err != nil {
		return err
	}
	if err := s.loadPrograms(spec); err != nil {
		return loadError(err)
	}
	if err := s.open(); err != nil {
		return err
	}
	return errors.Join(s.chooseCopies(), s.applyInterest(interestOf(&filter.Plan{}, nil)), s.fillPrograms(), s.exemptSelf())
}

// prepare sizes the rings, sets constants and leaves out what this kernel has no place for.
func (s *Sensor) prepare(spec *ebpf.CollectionSpec, kernel *btf.Spec) error {
	spec.Maps[bpf.SensorMapProcessRing].MaxEntries = uint32(s.cfg.ProcessRingBytes)
	spec.Maps[bpf.SensorMapEventRing].MaxEntries = uint32(s.cfg.RingBytes)
	spec.Maps[bpf.SensorMapCgroups].MaxEntries = cgroupsKept()
	spec.Maps[bpf.SensorMapCgroupKinds].MaxEntries = cgroupsKept()
	v1 := findV1Controller(kernel)
	s.v1, s.v1Hierarchy = int(v1.index), int(v1.hierarchy)
	var err error
	if s.offsets, err = filterOffsets(kernel); err != nil {
		return err
	}
	seed := rand.Uint64()
	for name, v := range map[string]any{
		bpf.SensorVarV1Controller: v1.index,
		bpf.SensorVarV1Hierarchy:  v1.hierarchy,
		bpf.SensorVarTypeExec:     uint16(field.EventExecve),
		bpf.SensorVarTypeExit:     uint16(field.EventProcexit),
		bpf.SensorVarTypeClone:    uint16(field.EventClone),
		bpf.SensorVarTypeBind:     uint16(field.EventBind),
		bpf.SensorVarTypeOpen:     uint16(field.EventOpen),
		bpf.SensorVarTypeOpenat:   uint16(field.EventOpenat),
		bpf.SensorVarHashSeed:     seed,
		bpf.SensorVarRecordRate:   uint64(s.cfg.RecordRate),
		bpf.SensorVarSampleEvery:  uint32(filter.SampleEvery),
		bpf.SensorVarRingBytes:    [...]uint64{uint64(s.cfg.ProcessRingBytes), uint64(s.cfg.RingBytes)},
	} {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, a := range attachments {
		if lost := optionalPrograms[a.program]; lost != "" && !hasTracepoint(kernel, a.tracepoint) {
			delete(spec.Programs, a.program)
			s.lack("no tracepoint %s: %s", a.tracepoint, lost)
		}
	}
	s.prepareEnter(kernel)
	s.prepareUring(spec, kernel)
	s.prepareCopies(spec)
	return prepareHooks(spec)
}

// prepareHooks has the hooks of sockets leave what they see in a hash table where they may not use the storage of tasks, whose room is saved
// elsewhere.
func prepareHooks(spec *ebpf.CollectionSpec) error {
	hashed := uint32(1)
	if features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnTaskStorageGet) == nil {
		hashed = 0
		spec.Maps[bpf.SensorMapDestinationsByTask].MaxEntries = 1
	}
	if err := spec.Variables[bpf.SensorVarDestinationsHashed].Set(hashed); err != nil {
		return fmt.Errorf("set %s: %w", bpf.SensorVarDestinationsHashed, err)
	}
	return nil
}

const hookPrefix = "hook_" // of the names of programs that are hooks of sockets

// optionalPrograms are those that the sensor can do without, and what it lacks then.
var optionalPrograms = map[string]string{
	bpf.SensorProgHookConnect4:  "destinations of sockets are read from the program's memory",
	bpf.SensorProgHookConnect6:  "destinations of sockets are read from the program's memory",
	bpf.SensorProgHookSendmsg4:  "destinations of sockets are read from the program's memory",
	bpf.SensorProgHookSendmsg6:  "destinations of sockets are read from the program's memory",
	bpf.SensorProgUringSubmit:   "requests of io_uring are not seen",
	bpf.SensorProgUringLook:     "a file that io_uring opens is looked at when the request completes, not before the next one",
	bpf.SensorProgUringOpened:   "a file that io_uring opens is looked at after that, not as soon as it is open",
	bpf.SensorProgUringWorked:   "a file that a thread of the kernel opens for io_uring is looked at when the request completes, or before the next one",
	bpf.SensorProgUringDone:     "requests of io_uring are reported without their result",
	bpf.SensorProgUringDoneV518: "requests of io_uring are reported without their result",
	bpf.SensorProgCgroupMade:    "a cgroup's path is read at its first event, not when it is made",
	bpf.SensorProgCgroupEntered: "a cgroup's path is read at its first event, not when it is entered",
	bpf.SensorProgCgroupGone:    "paths of removed cgroups are kept",
	bpf.SensorProgCallEnterOne:  "all system calls pay for those whose paths rules watch",
	bpf.SensorProgPathNamed:     withoutCopies,
	bpf.SensorProgPathCopied:    withoutCopies,
	bpf.SensorProgSourceCopied:  withoutCopies,
	bpf.SensorProgConnectCopied: withoutAddressCopies,
	bpf.SensorProgBindCopied:    withoutAddressCopies,
	bpf.SensorProgSendCopied:    withoutAddressCopies,
}

// loadError says what a refused program or map means.
func loadError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return &RequirementError{
			Missing: "the right to load BPF programs, though the capabilities are there",
			Hint: "something else refuses bpf(): in a container its seccomp profile, AppArmor or SELinux (securityContext.seccompProfile and " +
				"appArmorProfile {type: Unconfined}, seLinuxOptions {type: spc_t}); on the machine kernel lockdown",
			Err: fmt.Errorf("%w: %w", ErrNotPermitted, err),
		}
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		return &RequirementError{Missing: err.Error(), Hint: "boot a later kernel; Debian 12 has 6.1", Err: ErrKernelTooOld}
	}
	return fmt.Errorf("load BPF programs: %w", err)
}

// open maps the rings and the reader's state.
func (s *Sensor) open() error {
	var err error
	if s.state, err = openReaderState(s.coll.Maps[bpf.SensorMapReaders]); err != nil {
		return err
	}
	for i, name := range []string{bpf.SensorMapProcessRing, bpf.SensorMapEventRing} {
		r, err := openRing(ringNames[i], s.coll.Maps[name], ringNames[i] == EventRing)
		if err != nil {
			return err
		}
		s.rings = append(s.rings, r)
	}
	return nil
}

// fillPrograms tells the dispatcher where it jumps.
func (s *Sensor) fillPrograms() error {
	for i, name := range callPrograms {
		if err := s.coll.Maps[bpf.SensorMapCallPrograms].Put(uint32(i), s.coll.Programs[name]); err != nil {
			return fmt.Errorf("set program of calls %s: %w", name, err)
		}
	}
	for table, name := range lifeEmitters {
		if err := s.coll.Maps[table].Put(uint32(0), s.coll.Programs[name]); err != nil {
			return fmt.Errorf("set program of processes %s: %w", name, err)
		}
	}
	return nil
}

var callPrograms = map[uint8]string{
	progOpen:     bpf.SensorProgCallOpen,
	progExec:     bpf.SensorProgCallExec,
	progSocket:   bpf.SensorProgCallSocket,
	progMessages: bpf.SensorProgCallMessages,
	progGeneric:  bpf.SensorProgCallGeneric,

	progRecord:      bpf.SensorProgCallRecord,
	progOpenEmit:    bpf.SensorProgCallOpenEmit,
	progGenericEmit: bpf.SensorProgCallGenericEmit,
	progSocketEmit:  bpf.SensorProgCallSocketEmit,
	progOpenTexts:   bpf.SensorProgCallOpenTexts,
	progSketch:      bpf.SensorProgCallSketch,
	progUring:       bpf.SensorProgCallUring,
}

// lifeEmitters send records about processes, by the table in whose first place they stand (PROCESS_EMIT in bpf/c/life.h).
var lifeEmitters = map[string]string{
	bpf.SensorMapExecPrograms: bpf.SensorProgProcessExecEmit, bpf.SensorMapForkPrograms: bpf.SensorProgProcessForkEmit,
	bpf.SensorMapExitPrograms: bpf.SensorProgProcessExitEmit,
}

// attach attaches everything but the dispatcher of system calls.
func (s *Sensor) attach() error {
	s.attachHooks()
	for _, a := range attachments {
		p, ok := s.coll.Programs[a.program]
		if !ok {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		switch {
		case err == nil:
			s.links = append(s.links, l)
		case optionalPrograms[a.program] != "":
			s.lack("attach %s: %v: %s", a.tracepoint, err, optionalPrograms[a.program])
		default:
			return fmt.Errorf("attach %s: %w", a.tracepoint, err)
		}
	}
	return nil
}

// attachHooks attaches the programs that see where sockets go. Without them destinations are what the program passed, read after the call.
func (s *Sensor) attachHooks() {
	root := s.cfg.CgroupRoot
	if root == "" {
		var err error
		if root, err = FindCgroup2(s.cfg.HostRoot); err != nil {
			s.lack("%v: destinations of sockets are read from the program's memory", err)
			return
		}
	}
	for name, typ := range map[string]ebpf.AttachType{
		bpf.SensorProgHookConnect4: ebpf.AttachCGroupInet4Connect,
		bpf.SensorProgHookConnect6: ebpf.AttachCGroupInet6Connect,
		bpf.SensorProgHookSendmsg4: ebpf.AttachCGroupUDP4Sendmsg,
		bpf.SensorProgHookSendmsg6: ebpf.AttachCGroupUDP6Sendmsg,
	} {
		p := s.coll.Programs[name]
		if p == nil {
			continue
		}
		l, err := link.AttachCgroup(link.CgroupOptions{Path: root, Attach: typ, Program: p})
		if err != nil {
			s.lack("attach %s to %s: %v: %s", name, root, err, optionalPrograms[name])
			continue
		}
		s.links = append(s.links, l)
	}
}

// lack notes something that the sensor does without.
func (s *Sensor) lack(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.missing = append(s.missing, what)
	s.cfg.Log.Warn("kernel feature missing", "missing", what)
}

// cgroupsKept is of how many cgroups the kernel side keeps the state, the least recently used going first: ten times what a full node has.
// Each processor of a map of this kind has up to 128 free places of its own, so many processors need more.
func cgroupsKept() uint32 {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		cpus = runtime.NumCPU()
	}
	return uint32(max(4096, 256*cpus))
}

// ringBytes is the default size of a ring: a share of memory, as a power of two within bounds.
func ringBytes(share, least, most uint64) int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return int(least)
	}
	n := info.Totalram * uint64(info.Unit) / share
	n = min(max(n, least), most)
	return 1 << (bits.Len64(n) - 1)
}
