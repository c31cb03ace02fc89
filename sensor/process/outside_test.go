package process

import (
	"os/exec"
	"strings"
	"testing"
)

// Arguments beyond the kernel side's copy are read while the process lives, if it is still the same program.
func TestArguments(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	cmd := exec.Command("sh", "-c", "echo; read x", long, "last")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	// Start returns before the new program has its arguments.
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ticks, _, ok := Proc{}.stat(uint32(cmd.Process.Pid))
	if !ok {
		t.Fatal("no stat")
	}
	k := Key{uint32(cmd.Process.Pid), ticks * (1e9 / clockTick)}
	all := "-c\x00echo; read x\x00" + long + "\x00last\x00"
	im := &Image{Name: "sh", Exe: "sh", Args: all[:4000]}
	args, ok := Proc{}.Arguments(k, im)
	if !ok || args != all {
		t.Fatalf("%d bytes, %v, want %d", len(args), ok, len(all))
	}
	im.Complete(args)
	if !strings.HasSuffix(im.Cmdline(), " last") || im.NumArgs() != 4 {
		t.Errorf("completed: %d arguments, %d bytes", im.NumArgs(), len(im.Cmdline()))
	}
	im.Shorten()
	if c := im.Cmdline(); len(c) > 4000+maxTail+10 || !strings.HasPrefix(c, "sh -c echo; read x aaa") || !strings.HasSuffix(c, "aaa last") || !strings.Contains(c, " \u2026 ") {
		t.Errorf("shortened to %d bytes: %s", len(c), c)
	}
	if _, ok := (Proc{}).Arguments(k, &Image{Exe: "sh", Args: "-c\x00read y"}); ok {
		t.Error("arguments of another program")
	}
	if _, ok := (Proc{}).Arguments(Key{k.PID, k.StartNS + 1e9}, im); ok {
		t.Error("arguments of another process of that pid")
	}
}
