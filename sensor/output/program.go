package output

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// A ProgramConfig configures a program output.
type ProgramConfig struct {
	// Program is a command line for /bin/sh. Required.
	Program string
	// KeepAlive has one process take all alerts, a line each. Otherwise each alert has a process of its own, whose input it is.
	KeepAlive bool
	Format    Format
	Queue     int           // alerts that may wait. Positive
	Timeout   time.Duration // of one process, or with KeepAlive of one line. Default 10s
	Backoff   time.Duration // before a program that ended is started again, doubled up to 30s while it ends at once. Default 250ms
}

// A Program is an Output to a program.
type Program struct {
	*Output
	sink *programSink
}

// NewProgram returns an Output that gives alerts to a program, as Falco's program_output does. Output of the program goes to standard error.
// A program that ended is started again, with pauses; alerts that find it gone count as failed. onError is told of its end too, with KeepAlive.
func NewProgram(cfg ProgramConfig, onError func(error)) *Program {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 250 * time.Millisecond
	}
	if onError == nil {
		onError = func(error) {}
	}
	s := &programSink{cfg: cfg, pause: cfg.Backoff, onError: onError}
	return &Program{Output: newOutput("program", cfg.Format, s, cfg.KeepAlive, cfg.Queue, onError), sink: s}
}

// Reopen has the next alert start the program anew, with KeepAlive. It is safe for concurrent use.
func (p *Program) Reopen() { p.sink.stale.Store(true) }

// maxPause bounds the pause between two starts of a program that ends at once.
const maxPause = 30 * time.Second

// stable is how long a program must run before its end is no reason for longer pauses.
const stable = 10 * time.Second

type programSink struct {
	cfg     ProgramConfig
	onError func(error)
	stale   atomic.Bool

	run     *child // nil: not running
	started time.Time
	pause   time.Duration // before the next start
	next    time.Time     // no start before
}

// A child is a process of the program.
type child struct {
	cmd   *exec.Cmd
	in    *os.File
	ended chan struct{} // closed when it has ended
	err   error         // why, once ended is closed
	asked atomic.Bool   // it is to end
}

// start starts the program. It leads a process group, so that what it starts ends with it.
func (s *programSink) start() (*child, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	defer in.Close()
	cmd := exec.Command("/bin/sh", "-c", s.cfg.Program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("start program: %w", err)
	}
	r := &child{cmd: cmd, in: out, ended: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		if s.cfg.KeepAlive && !r.asked.Load() {
			s.onError(fmt.Errorf("program ended by itself (%v): what it had taken and not used is lost; the next alert starts it again", cmd.ProcessState))
		}
		close(r.ended)
	}()
	return r, nil
}

// stop closes the input and waits for the end, which it brings about after the timeout.
func (r *child) stop(ctx context.Context, timeout time.Duration) error {
	r.asked.Store(true)
	_ = r.in.Close()
	after := time.NewTimer(timeout)
	defer after.Stop()
	select {
	case <-r.ended:
		return r.err
	case <-after.C:
	case <-ctx.Done():
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.ended
	return errors.New("killed: it did not end in time")
}

// tryWrite implements taker: a program that runs gets a line through its pipe.
func (s *programSink) tryWrite(b []byte) int {
	if s.run == nil || s.stale.Load() {
		return 0
	}
	select {
	case <-s.run.ended:
		return 0
	default:
		return TryWrite(s.run.in, b)
	}
}

func (s *programSink) write(ctx context.Context, b []byte) error {
	if !s.cfg.KeepAlive {
		return s.once(ctx, b)
	}
	if s.stale.Swap(false) {
		_ = s.close()
		s.next = time.Time{}
	}
	if s.run != nil {
		select {
		case <-s.run.ended:
			s.over()
		default:
		}
	}
	if s.run == nil {
		if err := s.restart(ctx); err != nil {
			return err
		}
	}
	_ = s.run.in.SetWriteDeadline(time.Now().Add(s.cfg.Timeout))
	if _, err := s.run.in.Write(b); err != nil {
		_ = s.run.stop(ctx, 0)
		s.over()
		return fmt.Errorf("write to program: %w", err)
	}
	return nil
}

// once has a process of its own take b.
func (s *programSink) once(ctx context.Context, b []byte) error {
	r, err := s.start()
	if err != nil {
		return err
	}
	_ = r.in.SetWriteDeadline(time.Now().Add(s.cfg.Timeout))
	_, werr := r.in.Write(b)
	if errors.Is(werr, syscall.EPIPE) {
		werr = nil // it did not want to read all of it
	}
	if err := errors.Join(werr, r.stop(ctx, s.cfg.Timeout)); err != nil {
		return fmt.Errorf("program: %w", err)
	}
	return nil
}

// over notes that the program has ended, and when it may be started again.
func (s *programSink) over() {
	_ = s.run.in.Close()
	if time.Since(s.started) >= stable {
		s.pause = s.cfg.Backoff
	}
	s.next = time.Now().Add(s.pause)
	s.pause = min(2*s.pause, maxPause)
	s.run = nil
}

// restart waits for its time and starts the program.
func (s *programSink) restart(ctx context.Context) error {
	if d := time.Until(s.next); d > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
		}
	}
	r, err := s.start()
	if err != nil {
		s.next = time.Now().Add(s.pause)
		s.pause = min(2*s.pause, maxPause)
		return err
	}
	s.run, s.started = r, time.Now()
	return nil
}

// close ends the program.
func (s *programSink) close() error {
	if s.run == nil {
		return nil
	}
	err := s.run.stop(context.Background(), s.cfg.Timeout)
	s.run = nil
	return err
}
