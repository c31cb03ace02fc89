package main

import (
	"os"
	"path/filepath"
	"testing"
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

// The maps of the sensor count in its cgroup, whoever holds them twice.
func TestBPFMemory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"3": "pos:\t0\nmap_type:\t27\nmemlock:\t4096000\nmap_id:\t7\n", "4": "map_type:\t27\nmemlock:\t4096000\nmap_id:\t7\n",
		"5": "memlock:\t1000\nmap_id:\t8\n", "6": "pos:\t0\n", "7": "prog_type:\t26\nmemlock:\t4096\nprog_id:\t7\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := bpfMemory(dir); got != 4097000 {
		t.Errorf("got %d", got)
	}
	if got, want := heapLimit(256<<20, 56<<20), int64(200<<20)/10*9; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if got := heapLimit(64<<20, 80<<20); got != 16<<20 {
		t.Errorf("got %d, want a quarter", got)
	}
}
