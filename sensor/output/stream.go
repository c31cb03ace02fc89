package output

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// NewStream returns an Output that writes lines to w. queue is how many alerts may wait. onError is told about failed writes.
func NewStream(w io.Writer, format Format, queue int, onError func(error)) *Output {
	return newOutput("stdout", format, &streamSink{w: w}, true, queue, onError)
}

type streamSink struct{ w io.Writer }

// tryWrite implements taker.
func (s *streamSink) tryWrite(b []byte) int { return TryWrite(s.w, b) }

func (s *streamSink) write(_ context.Context, b []byte) error {
	_, err := s.w.Write(b)
	return err
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
	torn  bool // the file ends in the middle of a line: there was no room for the rest
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
	s.f, s.torn = f, false
	return nil
}

func (s *fileSink) write(_ context.Context, b []byte) error {
	if s.stale.Swap(false) {
		if err := s.open(); err != nil {
			s.stale.Store(true) // try again with the next write; the old file takes this one
			_ = s.append(b)
			return err
		}
	}
	return s.append(b)
}

// append writes b behind what is there, on a line of its own.
func (s *fileSink) append(b []byte) error {
	if s.torn {
		if _, err := s.f.WriteString("\n"); err != nil {
			return err
		}
		s.torn = false
	}
	n, err := s.f.Write(b)
	s.torn = n > 0 && b[n-1] != '\n'
	return err
}

func (s *fileSink) close() error { return s.f.Close() }
