//go:build kernel

package kernel

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"golang.org/x/sys/unix"
)

func init() {
	// cost CALL FILE: for each byte on standard input, times a batch of calls in thread CPU time and answers with nanoseconds a call.
	children["cost"] = func(args []string) error {
		runtime.LockOSThread()
		call := map[string]func(){
			"getppid":    func() { unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0) },
			"open+close": func() { openClose(args[1]) },
			"absent":     func() { _, _ = unix.Open("/nonexistent/a/b", unix.O_RDONLY, 0) },
			"create":     func() { create(args[1]) },
		}[args[0]]
		var one [1]byte
		for {
			if _, err := io.ReadFull(stdin{}, one[:]); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			best := math.Inf(1)
			for range 20 {
				from := threadTime()
				for range batchCalls {
					call()
				}
				best = min(best, float64(threadTime()-from)/batchCalls)
			}
			if err := binary.Write(stdout{}, binary.LittleEndian, best); err != nil {
				return err
			}
		}
	}
	// open1 FILE N: opens a file N times, one a millisecond.
	children["paced"] = func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		tick := time.NewTicker(time.Millisecond)
		for range n {
			<-tick.C
			openClose(args[0])
		}
		return nil
	}
}

const batchCalls = 5000

type stdin struct{}

func (stdin) Read(b []byte) (int, error) {
	n, err := unix.Read(0, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

type stdout struct{}

func (stdout) Write(b []byte) (int, error) { return unix.Write(1, b) }

func openClose(name string) {
	if fd, err := unix.Open(name, unix.O_RDONLY, 0); err == nil {
		_ = unix.Close(fd)
	}
}

func create(name string) {
	if fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600); err == nil {
		_ = unix.Close(fd)
	}
}

func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

// deepFile has seven components.
const deepFile = "/sys/devices/system/cpu/cpu0/topology/core_id"

// BenchmarkCost gives what the sensor adds to a system call, each mode against none in the same run.
func BenchmarkCost(b *testing.B) {
	opens := field.NewEventSet(openTypes...)
	for _, call := range []string{"getppid", "open+close", "absent"} {
		for _, mode := range []struct {
			name string
			set  field.EventSet
		}{
			{"process events only", field.EventSet{}},
			{"connect watched", field.NewEventSet(field.EventConnect)},
			{"opens watched", opens},
			{"opens and unlinks watched", opens.Union(field.NewEventSet(field.EventUnlinkat))},
		} {
			b.Run(call+"/"+mode.name, func(b *testing.B) {
				benchCost(b, call, deepFile, func() (stop func()) { return background(b, filter.Everything(mode.set)) })
			})
		}
	}
}

// BenchmarkFilter is BenchmarkCost with the filters of Falco's rules: stable, as they come; all, the disabled ones too.
func BenchmarkFilter(b *testing.B) {
	dir := b.TempDir()
	for name, programs := range map[string][]*match.Program{"stable": stable(b), "all": everyStock(b)} {
		p := filter.Compile(programs, 1, filter.Options{})
		for call, file := range map[string]string{"getppid": "", "open+close": deepFile, "absent": "", "create": dir + "/file"} {
			b.Run(call+"/"+name, func(b *testing.B) {
				benchCost(b, call, file, func() (stop func()) { return background(b, p) })
			})
		}
	}
}

// benchCost times a call on a file without the sensor and with the one that start starts, in turn.
func benchCost(b *testing.B, call, file string, start func() (stop func())) {
	cmd := child(b, "cost", call, file)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	measure := func() float64 {
		if _, err := in.Write([]byte{1}); err != nil {
			b.Fatal(err)
		}
		var ns float64
		if err := binary.Read(out, binary.LittleEndian, &ns); err != nil {
			b.Fatal(err)
		}
		return ns
	}
	var without, added []float64
	for b.Loop() {
		base := measure()
		stop := start()
		with := measure()
		stop()
		without, added = append(without, base), append(added, with-base)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	slices.Sort(without)
	slices.Sort(added)
	b.ReportMetric(without[len(without)/2], "ns-without")
	b.ReportMetric(added[len(added)/2], "ns-added")
	b.ReportMetric(0, "ns/op")
}

// background runs a sensor by a plan until the function that it returns is called.
func background(b *testing.B, p *filter.Plan) (stop func()) {
	s, err := Open(backend())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Use(p, p); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(*event.Event) {}) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkLatency gives the time from the kernel's record to the handler, for single opens, one a millisecond.
func BenchmarkLatency(b *testing.B) {
	const n = 1000
	var took []float64
	w := start(b, func(ev *event.Event) bool {
		if ev.Type == field.EventOpenat && ev.Open.Path.Raw == deepFile {
			took = append(took, float64(bootNS()-ev.BootNS)/1e3)
		}
		return false
	}, openTypes...)
	for b.Loop() {
		run(b, child(b, "paced", deepFile, strconv.Itoa(n)))
	}
	_ = w
	slices.Sort(took)
	if len(took) == 0 {
		b.Fatal("no event")
	}
	b.ReportMetric(took[len(took)/2], "µs-p50")
	b.ReportMetric(took[len(took)*99/100], "µs-p99")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkExec gives what fork, exec and exit of a program cost with the sensor and without, wall time.
func BenchmarkExec(b *testing.B) {
	for _, set := range []struct {
		name string
		on   bool
	}{{"without", false}, {"with", true}} {
		b.Run(set.name, func(b *testing.B) {
			if set.on {
				defer background(b, filter.Everything(field.NewEventSet(field.EventExecve)))()
			}
			for b.Loop() {
				if err := exec.Command("/bin/true").Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
