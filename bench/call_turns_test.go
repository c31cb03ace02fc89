//go:build bench

package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What is attached comes and goes so many times a round, so that what the machine does besides falls upon each state alike; each time every
// caller makes so many batches.
const (
	turns       = 16
	turnBatches = 4
)

// A callState is what is attached while calls are timed. In the first three there is no sensor; in the last two there is, and its program at
// the end of system calls, of which it keeps all others, makes room for an empty one in turn.
type callState int

const (
	nothing callState = iota
	emptyAlone
	emptyBegun // and an empty program at the beginning of one call, if the sensor has such: all other calls then pay for looking whether it is theirs
	emptyInstead
	sensorWhole
	callStates
)

// A callRound is the least that a call of each caller took in each state, in nanoseconds.
type callRound [callStates][]float64

func newCallRound(callers int) callRound {
	var r callRound
	for s := range r {
		r[s] = make([]float64, callers)
		for i := range r[s] {
			r[s][i] = math.Inf(1)
		}
	}
	return r
}

// visit has all callers make batches in a state.
func (r *callRound) visit(b *testing.B, s callState, callers []*caller) {
	b.Helper()
	for range turnBatches {
		for i, c := range callers {
			r[s][i] = min(r[s][i], c.batch(b))
		}
	}
}

// withSensor takes turns while a sensor runs.
func (r *callRound) withSensor(b *testing.B, end *callsEnd, callers []*caller) {
	b.Helper()
	empty := newEmptyProgram(b, "sys_exit")
	defer empty.Close()
	for range turns {
		end.put(b, empty)
		r.visit(b, emptyInstead, callers)
		end.put(b, end.program)
		r.visit(b, sensorWhole, callers)
	}
}

// withoutSensor takes turns while none runs. begun is a call whose beginning one would watch; empty: none.
func (r *callRound) withoutSensor(b *testing.B, begun string, callers []*caller) {
	b.Helper()
	for range turns {
		r.visit(b, nothing, callers)
		stop := emptyProgram(b)
		r.visit(b, emptyAlone, callers)
		stopBegin := emptyBegin(b, begun)
		r.visit(b, emptyBegun, callers)
		stopBegin()
		stop()
	}
}

// cost is what caller i's calls take without anything, and what is added to that.
func (r *callRound) cost(i int) callCost {
	return callCost{
		none:   r[nothing][i],
		empty:  r[emptyAlone][i] - r[nothing][i],
		sensor: r[sensorWhole][i] - r[emptyInstead][i] + r[emptyBegun][i] - r[nothing][i],
	}
}

// callsEnd is the sensor's link to the end of all system calls. The sensor has its descriptor, which is made to mean another link.
type callsEnd struct {
	fd      int
	program *ebpf.Program
	begun   string // a call whose beginning the sensor watches; empty: none
}

// findCallsEnd finds the link of the sensor that runs in this process.
func findCallsEnd(b *testing.B) *callsEnd {
	b.Helper()
	end := &callsEnd{fd: -1}
	for fd, l := range tracepointLinks("self") {
		switch {
		case l.tracepoint == "sys_exit":
			p, err := ebpf.NewProgramFromID(l.program)
			if err != nil {
				b.Fatal(err)
			}
			end.fd, end.program = fd, p
		case strings.HasPrefix(l.tracepoint, "sys_enter_"):
			end.begun = l.tracepoint
		}
	}
	if end.fd < 0 {
		b.Fatal("the sensor has no program at the end of system calls")
	}
	return end
}

// put attaches p instead of what is there.
func (e *callsEnd) put(b *testing.B, p *ebpf.Program) {
	b.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, e.fd, unix.O_CLOEXEC); err != nil { // the last descriptor of the link: it is detached
		b.Fatal(err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := unix.Dup3(l.(interface{ FD() int }).FD(), e.fd, unix.O_CLOEXEC); err != nil {
		b.Fatal(err)
	}
}

func (e *callsEnd) Close() error { return e.program.Close() }

// A tracepointLink is a program that is attached to a tracepoint.
type tracepointLink struct {
	tracepoint string
	program    ebpf.ProgramID
}

// tracepointLinks are the links of which a process has descriptors.
func tracepointLinks(pid string) map[int]tracepointLink {
	links := map[int]tracepointLink{}
	files, _ := filepath.Glob(filepath.Join("/proc", pid, "fdinfo", "*")) // the pattern is fine
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has been closed
		}
		var l tracepointLink
		for line := range strings.Lines(string(text)) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); key {
			case "tp_name":
				l.tracepoint = value
			case "prog_id":
				n, _ := strconv.ParseUint(value, 10, 32)
				l.program = ebpf.ProgramID(n)
			}
		}
		if fd, err := strconv.Atoi(filepath.Base(name)); err == nil && l.tracepoint != "" {
			links[fd] = l
		}
	}
	return links
}

// otherWatchers are the processes that watch all system calls besides this one: calls are dearer with them, and the same programs add less.
func otherWatchers() []string {
	var who []string
	processes, _ := filepath.Glob("/proc/[0-9]*") // the pattern is fine
	for _, dir := range processes {
		pid := filepath.Base(dir)
		if pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, l := range tracepointLinks(pid) {
			if strings.HasPrefix(l.tracepoint, "sys_e") {
				comm, _ := os.ReadFile(filepath.Join(dir, "comm")) // gone: no name
				who = append(who, fmt.Sprintf("%s (%s)", pid, strings.TrimSpace(string(comm))))
				break
			}
		}
	}
	return who
}

// newEmptyProgram loads a program for a tracepoint of all system calls that does nothing.
func newEmptyProgram(b *testing.B, tracepoint string) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: tracepoint, License: "Dual BSD/GPL", Instructions: doNothing(),
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func doNothing() asm.Instructions { return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()} }

// emptyProgram attaches a program that does nothing to the end of all system calls until stop is called.
func emptyProgram(b *testing.B) (stop func()) {
	b.Helper()
	p := newEmptyProgram(b, "sys_exit")
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		b.Fatal(err)
	}
	return closeBoth(b, l, p)
}

// emptyBegin attaches a program that does nothing to the beginning of one call until stop is called.
func emptyBegin(b *testing.B, tracepoint string) (stop func()) {
	b.Helper()
	if tracepoint == "" {
		return func() {}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.TracePoint, License: "Dual BSD/GPL", Instructions: doNothing()})
	if err != nil {
		b.Fatal(err)
	}
	l, err := link.Tracepoint("syscalls", tracepoint, p, nil)
	if err != nil {
		b.Fatal(err)
	}
	return closeBoth(b, l, p)
}

func closeBoth(b *testing.B, l link.Link, p *ebpf.Program) func() {
	return func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
		p.Close()
	}
}

// leaveLastProcessor keeps this process from the last processor, which the callers have to themselves, until the benchmark ends. It returns that
// processor's number, or -1 if there is no other.
func leaveLastProcessor(b *testing.B) int {
	b.Helper()
	last := runtime.NumCPU() - 1
	var before, rest unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil || last < 1 || !before.IsSet(last) {
		return -1
	}
	rest = before
	rest.Clear(last)
	set := func(to *unix.CPUSet) {
		threads, _ := filepath.Glob("/proc/self/task/*") // the pattern is fine
		for _, t := range threads {
			if tid, err := strconv.Atoi(filepath.Base(t)); err == nil {
				_ = unix.SchedSetaffinity(tid, to) // a thread that is gone needs none
			}
		}
	}
	set(&rest)
	b.Cleanup(func() { set(&before) })
	return last
}
