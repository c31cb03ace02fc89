package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

func TestCgroupMemory(t *testing.T) {
	for _, tt := range []struct {
		name, self string
		files      map[string]string
		want       int64
	}{
		{"v2", "0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "300000000\n"}, 300000000},
		{"v2, the inner one is less", "0::/a/b\n", map[string]string{"a/b/memory.max": "1000\n", "a/memory.max": "2000\n"}, 1000},
		{"v2, the root of a namespace", "0::/\n", map[string]string{"memory.max": "5000\n"}, 5000},
		{"v2, a path from outside", "0::/../x\n", nil, 0},
		{"v1", "3:cpu:/x\n2:memory:/x\n", map[string]string{"memory/x/memory.limit_in_bytes": "7000\n"}, 7000},
		{"v1 without a limit", "2:memory:/x\n", map[string]string{"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"none", "", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			self := filepath.Join(dir, "self")
			if err := os.WriteFile(self, []byte(tt.self), 0o600); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				path := filepath.Join(dir, "cg", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := cgroupMemory(self, filepath.Join(dir, "cg")); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// Dropping the program's pages leaves them as they are: what runs goes on, with its constants, and less of the file is mapped in memory.
func TestDropProgram(t *testing.T) {
	texts := func() (n int) {
		for _, c := range newRoot(cli.Streams{Out: io.Discard, Err: io.Discard}).Commands() {
			n += len(c.Long)
		}
		return n
	}
	mapped := func() (kib int) {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "RssFile:")
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before, size := texts(), mapped()
	if err := dropProgram("/proc/self/smaps"); err != nil {
		t.Fatal(err)
	}
	if left := mapped(); left >= size {
		t.Errorf("%d KiB of files are mapped, before %d", left, size)
	}
	if after := texts(); after != before {
		t.Errorf("the commands' texts have %d bytes, before %d", after, before)
	}
	if err := dropProgram("/proc/self/no-such-file"); err == nil {
		t.Error("no error without the kernel's list")
	}
}
