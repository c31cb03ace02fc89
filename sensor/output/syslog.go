package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// syslogSockets are where a syslog daemon listens.
var syslogSockets = []string{"/dev/log", "/run/systemd/journal/syslog", "/var/run/syslog"}

const (
	facilityUser = 1 // LOG_USER, as Falco sends with
	// maxDatagram bounds a message: what does not fit into the socket's buffer would be refused whole.
	maxDatagram = 64 << 10
	// syslogTimeout bounds the wait for a daemon that does not read.
	syslogTimeout = time.Second
)

// A SyslogConfig configures a syslog output.
type SyslogConfig struct {
	Format Format
	Queue  int    // alerts that may wait. Positive
	Socket string // default: the usual places
	Tag    string // default: tiercel
}

// leveled is an alert that knows its severity, as syslog numbers them.
type leveled interface{ Severity() int }

// NewSyslog returns an Output that sends each alert to the syslog daemon of this machine, with the facility user and the priority of its
// rule, as Falco's syslog_output does. The daemon may come later, and go.
func NewSyslog(cfg SyslogConfig, onError func(error)) *Output {
	sockets := syslogSockets
	if cfg.Socket != "" {
		sockets = []string{cfg.Socket}
	}
	if cfg.Tag == "" {
		cfg.Tag = "tiercel"
	}
	o := newOutput("syslog", cfg.Format, &syslogSink{sockets: sockets}, false, cfg.Queue, onError)
	tail := " " + cfg.Tag + "[" + strconv.Itoa(os.Getpid()) + "]: "
	o.head = func(dst []byte, a Alert) []byte {
		severity := 5 // notice
		if l, ok := a.(leveled); ok {
			severity = l.Severity()
		}
		dst = append(dst, '<')
		dst = strconv.AppendInt(dst, int64(facilityUser<<3|severity), 10)
		dst = append(dst, '>')
		dst = time.Now().AppendFormat(dst, time.Stamp)
		return append(dst, tail...)
	}
	return o
}

type syslogSink struct {
	sockets []string
	conn    net.Conn // nil: not connected
}

// tryWrite implements taker.
func (s *syslogSink) tryWrite(b []byte) int {
	conn, ok := s.conn.(*net.UnixConn)
	if ok && trySend(conn, message(b)) > 0 {
		return len(b)
	}
	return 0
}

// message is b as one datagram.
func message(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return b[:min(len(b), maxDatagram)]
}

// write sends one message. A connection that broke is made anew once.
func (s *syslogSink) write(ctx context.Context, b []byte) error {
	b = message(b)
	var err error
	for range 2 {
		if s.conn == nil {
			if s.conn, err = s.connect(ctx); err != nil {
				return err
			}
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
		if _, err = s.conn.Write(b); err == nil {
			return nil
		}
		_ = s.close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return fmt.Errorf("write to syslog: %w", err)
}

func (s *syslogSink) connect(ctx context.Context) (net.Conn, error) {
	var errs []error
	for _, path := range s.sockets {
		conn, err := (&net.Dialer{Timeout: syslogTimeout}).DialContext(ctx, "unixgram", path)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("connect to syslog: %w", errors.Join(errs...))
}

func (s *syslogSink) close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
