package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/host"
)

// prepareEnter finds out whether the beginnings of single system calls can be watched.
func (s *Sensor) prepareEnter(kernel *btf.Spec) {
	s.enterAll = !beginsAsKnown(kernel)
	if s.enterAll {
		return
	}
	tracefs, err := openTracefs(s.cfg.HostRoot)
	if err != nil {
		s.enterAll = true
		s.lack("tracepoints of single system calls: %v (mount -t tracefs tracefs %s): all calls pay for those whose paths rules watch", err, tracing)
		return
	}
	_ = unix.Close(tracefs)
}

// attachEnter attaches a program to the beginning of each call whose paths are read early. The kernel has a tracepoint for each call, which
// costs the other calls a fifth of what a program at the beginning of all calls does; that is attached where there are none.
func (s *Sensor) attachEnter(in interest) error {
	if !s.enterAll && s.coll.Programs[bpf.SensorProgCallEnterOne] != nil {
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
	tracefs, err := openTracefs(s.cfg.HostRoot)
	if err != nil {
		return err
	}
	defer unix.Close(tracefs)
	for nr, t := range decode.NativeCalls()[:min(firstX32, len(decode.NativeCalls()))] {
		if !wanted(nr) || s.entering[nr] != nil {
			continue
		}
		l, err := attachBegin(tracefs, kernelName(t), s.coll.Programs[bpf.SensorProgCallEnterOne])
		if err != nil {
			return fmt.Errorf("attach to the beginning of %s: %w", t, err)
		}
		s.entering[nr] = l
	}
	return s.detachEach(wanted)
}

// tracing is where a host has its tracefs.
const tracing = "/sys/kernel/tracing"

// openTracefs opens the root of a tracefs of its own, which is mounted nowhere: containers have none, nor some hosts. Without CAP_SYS_ADMIN
// it is the host's.
func openTracefs(r host.Root) (int, error) {
	fs, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		for _, place := range []string{tracing, r.Path(tracing)} {
			var st unix.Statfs_t
			if unix.Statfs(place, &st) != nil || st.Type != unix.TRACEFS_MAGIC {
				continue
			}
			if fd, err := unix.Open(place, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
				return fd, nil
			}
		}
		return -1, fmt.Errorf("no tracefs at %s, and making one: %w", tracing, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("make tracefs: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("mount tracefs: %w", err)
	}
	return root, nil
}

// A beginning is a program at the beginning of one call.
type beginning struct {
	link.Link
	event int
}

func (b *beginning) Close() error { return errors.Join(b.Link.Close(), unix.Close(b.event)) }

// attachBegin attaches p to the beginning of the call that the kernel calls name. The tracepoint's number stands in the tracefs.
func attachBegin(tracefs int, name string, p *ebpf.Program) (*beginning, error) {
	fd, err := unix.Openat(tracefs, "events/syscalls/sys_enter_"+name+"/id", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("find tracepoint: %w", err)
	}
	var text [16]byte
	n, err := unix.Read(fd, text[:])
	_ = unix.Close(fd)
	if err != nil {
		return nil, fmt.Errorf("read number of tracepoint: %w", err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read number of tracepoint: %w", err)
	}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Config: id, Sample: 1, Sample_type: unix.PERF_SAMPLE_RAW, Wakeup: 1}
	event, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC) // the program runs on all processors
	if err != nil {
		return nil, fmt.Errorf("open tracepoint: %w", err)
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: event, Program: p, Attach: ebpf.AttachPerfEvent}) // 5.15
	if err != nil {
		_ = unix.Close(event)
		return nil, err
	}
	return &beginning{l, event}, nil
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
	return ok && id == 8
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
