package output

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// NewStream returns an Output that writes lines to w. queue is how many alerts may wait. onError is told about failed writes.
func NewStream(w io.Writer, format Format, queue int, onError func(error)) *Output {
	return newOutput("stdout", format, &streamSink{w: w}, true, queue, onError)
}

type streamSink struct {
	w      io.Writer
	noWait time.Time // before it, processors are too busy to give way
}

// tryWrite implements taker.
func (s *streamSink) tryWrite(b []byte) int {
	n := TryWrite(s.w, b)
	if n > 0 {
		s.giveWay()
	}
	return n
}

func (s *streamSink) write(_ context.Context, b []byte) error {
	_, err := s.w.Write(b)
	return err
}

const (
	// longWait is what giving way may take on a machine where only the reader of the stream was waiting for the processor.
	longWait = time.Millisecond
	// busyPause is how long nobody is given way to after it took longer: a thread that computes got a slice of several milliseconds.
	busyPause = time.Second
)

// giveWay lets the process that reads the stream run. The kernel takes a write to a pipe for the last thing that the writer does before it sleeps,
// and puts whom it wakes on the writer's processor (fs/pipe.c, the sync wake-up), where it would wait until the sensor has published the event.
func (s *streamSink) giveWay() {
	begin := time.Now()
	if begin.Before(s.noWait) {
		return
	}
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // always succeeds
	if end := time.Now(); end.Sub(begin) > longWait {
		s.noWait = end.Add(busyPause)
	}
}

func (*streamSink) close() error { return nil }

// A File is an Output to a file.
type File struct {
	*Output
	sink *fileSink
}

// NewFile opens the file name for appending, making it if needed with mode 0600, and returns an Output that writes lines to it.
func NewFile(name string, format Format, queue int, onError func(error)) (*File, error) {
	s := &fileSink{name: name}
	if err := s.open(); err != nil {
		return nil, err
	}
	return &File{Output: newOutput("file", format, s, true, queue, onError), sink: s}, nil
}

// Reopen makes the next write open the file anew: after it was renamed or removed. It is safe for concurrent use.
func (f *File) Reopen() { f.sink.stale.Store(true) }

type fileSink struct {
	name  string
	f     *os.File
	stale atomic.Bool
}

func (s *fileSink) open() error {
	f, err := os.OpenFile(s.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open file output: %w", err)
	}
	if s.f != nil {
		_ = s.f.Close()
	}
	s.f = f
	return nil
}

func (s *fileSink) write(_ context.Context, b []byte) error {
	if s.stale.Swap(false) {
		if err := s.open(); err != nil {
			s.stale.Store(true) // try again with the next write; the old file takes this one
			_, _ = s.f.Write(b)
			return err
		}
	}
	_, err := s.f.Write(b)
	return err
}

func (s *fileSink) close() error { return s.f.Close() }
