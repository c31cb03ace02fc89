package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
)

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

// Of what is dropped the kernel maps pages one by one again, where it can be told to.
func TestDropProgramSinglePages(t *testing.T) {
	single, err := newSinglePages()
	if err != nil {
		var u unix.Utsname
		_ = unix.Uname(&u)
		var major, minor int
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
		if major*1000+minor >= 6007 && runtime.GOARCH == "amd64" && os.Geteuid() == 0 {
			t.Fatalf("not on this kernel, %d.%d: %v", major, minor, err)
		}
		t.Skipf("this kernel, %d.%d, maps neighbours: %v", major, minor, err)
	}
	defer unix.Close(single.fd)
	if err := dropProgram("/proc/self/smaps"); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	code := 0
	name := ""
	for line := range strings.Lines(string(smaps)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.Contains(fields[0], "-") {
			name = strings.TrimSpace(line)
		}
		if fields[0] == "VmFlags:" && strings.Contains(name, " r-xp ") && strings.HasSuffix(name, exe) {
			code++
			if !slices.Contains(fields, "uw") {
				t.Errorf("%s: flags %v, want uw among them", name, fields)
			}
		}
	}
	if code == 0 {
		t.Errorf("no mapping of the code of %s in\n%s", exe, smaps)
	}
}
