//go:build bench

package bench

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { children["calls"] = callChild }

// callChild times calls: CALL FILE BATCH PAUSE PROCESSOR. It stays on that processor, if that is none below zero. For each byte on its standard
// input it pauses, makes BATCH calls on FILE and answers with the nanoseconds of the thread's CPU time that a call took. The calls go past Go's
// scheduler.
func callChild(args []string) error {
	runtime.LockOSThread()
	file, err := unix.BytePtrFromString(args[1])
	if err != nil {
		return err
	}
	batch, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	if err := stayOn(args[4]); err != nil {
		return err
	}
	call := calls[args[0]](file)
	var one [1]byte
	for {
		switch _, err := os.Stdin.Read(one[:]); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		time.Sleep(pause) // the reader of the ring comes along
		call()
		from := threadTime()
		for range batch {
			call()
		}
		if err := binary.Write(os.Stdout, binary.LittleEndian, float64(threadTime()-from)/float64(batch)); err != nil {
			return err
		}
	}
}

// stayOn keeps the calling thread on a processor.
func stayOn(processor string) error {
	n, err := strconv.Atoi(processor)
	if err != nil || n < 0 {
		return err
	}
	var set unix.CPUSet
	set.Set(n)
	return unix.SchedSetaffinity(0, &set)
}

func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

// A caller is a process that makes one call.
type caller struct {
	in  io.WriteCloser
	out io.Reader
	n   int // calls of one batch

	stop func() // may be called twice, and is when the benchmark ends
}

// startCaller starts a process that times a call on a file, on a processor unless that is below zero, in the cgroup at dir unless that is empty.
func startCaller(b *testing.B, call, file string, batch int, pause time.Duration, processor int, dir string) *caller {
	b.Helper()
	cmd := child(b, "calls", call, file, strconv.Itoa(batch), pause.String(), strconv.Itoa(processor))
	if dir != "" {
		f, err := os.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	}
	return startCommand(b, cmd, batch)
}

// startCommand starts a process that answers as callChild does.
func startCommand(b *testing.B, cmd *exec.Cmd, batch int) *caller {
	b.Helper()
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
	c := &caller{in: in, out: out, n: batch, stop: sync.OnceFunc(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})}
	b.Cleanup(c.stop)
	return c
}

// batch has the process make one batch of its calls, and returns what each took in nanoseconds.
func (c *caller) batch(b *testing.B) (ns float64) {
	b.Helper()
	if _, err := c.in.Write([]byte{1}); err != nil {
		b.Fatal(err)
	}
	if err := binary.Read(c.out, binary.LittleEndian, &ns); err != nil {
		b.Fatal(err)
	}
	return ns
}
