package output

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// severe is an alert with a severity.
type severe struct{ alert }

func (severe) Severity() int { return 4 }

func listenSyslog(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receiveLine(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestSyslog: alerts arrive as the daemon expects them, and after it went and came again.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	first := listenSyslog(t, path)
	failed := make(chan error, 10)
	o := NewSyslog(SyslogConfig{Format: Text, Queue: 10, Socket: path}, func(err error) { failed <- err })
	finish := run(t, o)
	o.Send(severe{1})
	if got := receiveLine(t, first); !regexp.MustCompile(`^<12>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d tiercel\[\d+\]: alert 1$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	_ = first.Close()
	o.Send(severe{2}) // nobody there
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	_ = os.Remove(path)
	second := listenSyslog(t, path)
	o.Send(severe{3})
	if got := receiveLine(t, second); !regexp.MustCompile(`: alert 3$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	finish()
	if st := o.Stats(); st.Written != 2 || st.Failed != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSyslogStuck: a daemon that does not read holds an alert up for a second, not for ever.
func TestSyslogStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listenSyslog(t, path)
	failed := make(chan error, 1)
	o := NewSyslog(SyslogConfig{Format: Text, Queue: 4096, Socket: path}, func(err error) {
		select {
		case failed <- err:
		default:
		}
	})
	run(t, o)
	for i := range 2000 { // more than the socket's queue holds
		o.Send(alert(i))
	}
	select {
	case <-failed:
	case <-time.After(time.Minute):
		t.Error("the output is stuck")
	}
}

// TestSyslogDirect: once there is a connection, Send itself gives the daemon what it has room for; the rest is queued.
func TestSyslogDirect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon := listenSyslog(t, path)
	o := NewSyslog(SyslogConfig{Format: Text, Queue: 4096, Socket: path}, nil)
	connect(t, o)
	receiveLine(t, daemon)
	o.Send(severe{1})
	if got := receiveLine(t, daemon); !regexp.MustCompile(`^<12>.*: alert 1$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	n := 2
	for ; behindOf(o) == 0; n++ {
		if n == 4096 {
			t.Fatal("a socket without end")
		}
		o.Send(alert(n))
	}
	finish := run(t, o)
	for i := 2; i < n; i++ {
		if got := receiveLine(t, daemon); !strings.HasSuffix(got, fmt.Sprintf(": alert %d", i)) {
			t.Fatalf("got %q, want alert %d", got, i)
		}
	}
	finish()
	if st := o.Stats(); st.Written != uint64(n-1) {
		t.Errorf("%+v of %d", st, n-1)
	}
}
