package host

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestRoot: files and sockets below another root are found by the names that they have there, links among them, and none leads out.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	r := Root(dir)
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"run-of-old": "/run", "out": "/../../../etc"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "run", "x.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "here")
			_ = conn.Close()
		}
	}()
	for _, name := range []string{"/run/x.sock", "/run-of-old/x.sock"} {
		conn, err := r.Dial(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, err := io.ReadAll(conn); err != nil || string(b) != "here" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
		_ = conn.Close()
	}
	for _, name := range []string{"/run/none.sock", "/out/passwd"} {
		if conn, err := r.Dial(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, %v", name, conn, err)
		}
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	if err := Root(filepath.Join(dir, "none")).Check(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for in, want := range map[Root]string{"": "/run", "/": "/run", "/proc/1/root": "/proc/1/root/run"} {
		if got := in.Path("/run"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if got := in.Here(); got != (in != "/proc/1/root") {
			t.Errorf("%q: Here is %v", in, got)
		}
	}
}

// TestCapabilities: those of a status file are read, and one without them is an error.
func TestCapabilities(t *testing.T) {
	file := filepath.Join(t.TempDir(), "status")
	for text, want := range map[string]uint64{"Name:\tx\nCapEff:\t000000c000280004\nCapBnd:\t1\n": 0xc000280004, "CapEff:\tzz\n": 0, "Name:\tx\n": 0} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := EffectiveCapabilities(file); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: got %x, %v", text, got, err)
		}
	}
}
