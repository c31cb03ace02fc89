//go:build kernels

package kernels

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// timeout of one machine, and of one of its runs of tests. On two processors that others use too a machine takes half an hour.
const (
	timeout    = 150 * time.Minute
	runTimeout = 140 * time.Minute
)

// slower is by how much tests divide what they do many times: that is what emulation costs.
const slower = 10

// both are the tests that a machine runs on backend T too: all of those where the backends differ, and some of the rest.
const both = "^Test(Backend|Open|Detours|Paths|OpenRace|PathRace|AddressRace|Connect|ConnectUnix|Send|Uring|UringSilent|ExecFails)$"

// TestKernels runs tiercel doctor and the tests of sensor/kernel on each kernel in TIERCEL_KERNELS, a directory of kernel images called
// vmlinuz-VERSION-ARCH, each with a busybox-ARCH beside it. TIERCEL_KERNELS_RUN selects tests, as -run does.
func TestKernels(t *testing.T) {
	dir := os.Getenv("TIERCEL_KERNELS")
	if dir == "" {
		t.Fatal("TIERCEL_KERNELS is not set: make kernels fetches kernels and sets it")
	}
	images, err := filepath.Glob(filepath.Join(dir, "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no vmlinuz-* in %s (%v)", dir, err)
	}
	slices.Sort(images)
	built := map[string]string{}
	for _, image := range images { // all before the first machine starts, so that all test the same sources
		if m := machineOf(image); built[m.arch] == "" {
			built[m.arch] = m.build(t)
		}
	}
	for _, image := range images {
		m := machineOf(image)
		t.Run(strings.TrimPrefix(filepath.Base(image), "vmlinuz-"), func(t *testing.T) {
			t.Parallel() // as many at once as there are processors: each emulator uses one
			m.boot(t, m.initrd(t, built[m.arch]))
		})
	}
}

// A machine is an emulated computer with one of Debian's kernels.
type machine struct {
	arch, image string
	ia32        bool // runs programs of 32 bits
	qemu        []string
	console     string
}

func machineOf(image string) machine {
	if strings.HasSuffix(image, "-arm64") {
		return machine{
			arch: "arm64", image: image, console: "ttyAMA0",
			qemu: []string{"qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on"}, // the other way to sign pointers is slow to emulate
		}
	}
	return machine{arch: "amd64", image: image, ia32: true, console: "ttyS0", qemu: []string{"qemu-system-x86_64", "-cpu", "max"}}
}

// runs are the command lines of the machine's init.
func (m machine) runs() string {
	env := fmt.Sprintf("TIERCEL_TEST_SLOWER=%d", slower)
	if m.ia32 {
		env += " TIERCEL_TEST_IA32=/ia32"
	}
	all := os.Getenv("TIERCEL_KERNELS_RUN")
	t := both
	if all != "" {
		t = all
	}
	var b strings.Builder
	fmt.Fprintln(&b, "/tiercel doctor")
	fmt.Fprintf(&b, "%s TIERCEL_TEST_BACKEND=L TIERCEL_CONFORMANCE=/conformance /kernel.test -test.v -test.timeout=%v -test.run=%s\n", env, runTimeout, all)
	fmt.Fprintf(&b, "%s TIERCEL_TEST_BACKEND=T /kernel.test -test.v -test.timeout=%v -test.run=%s\n", env, runTimeout, t)
	return b.String()
}

// build makes a directory of the programs that the machine runs.
func (m machine) build(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	bin := filepath.Join(root, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	goBuild(t, m.arch, "build", "-tags", "kernels", "-o", filepath.Join(root, "init"), "./test/kernels/init")
	goBuild(t, m.arch, "test", "-c", "-tags", "kernel", "-o", filepath.Join(root, "kernel.test"), "./sensor/kernel")
	goBuild(t, m.arch, "build", "-o", filepath.Join(root, "tiercel"), "./cmd/tiercel")
	if m.ia32 {
		goBuild(t, "386", "build", "-o", filepath.Join(root, "ia32"), "./sensor/kernel/testdata/ia32.go")
	}
	copyFile(t, filepath.Join(filepath.Dir(m.image), "busybox-"+m.arch), filepath.Join(bin, "busybox"))
	copyFile(t, filepath.Join(root, "init"), filepath.Join(bin, "true")) // the tests copy it under other names, which busybox would not know
	for _, name := range []string{"sleep", "sh", "cat", "echo", "ls"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if dir := os.Getenv("TIERCEL_CONFORMANCE"); dir != "" {
		if err := os.CopyFS(filepath.Join(root, "conformance", "rules"), os.DirFS(filepath.Join(dir, "rules"))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// initrd packs the programs and what is to be run.
func (m machine) initrd(t *testing.T, root string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "runs"), []byte(m.runs()), 0o644); err != nil {
		t.Fatal(err)
	}
	var names strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintln(&names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "initrd")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/bin/busybox", "cpio", "-o", "-H", "newc")
	cmd.Dir, cmd.Stdin, cmd.Stdout = root, strings.NewReader(names.String()), out
	if err := cmd.Run(); err != nil {
		t.Fatalf("cpio: %v", err)
	}
	return file
}

// boot starts the machine and waits for its init to end. The tests that fail there fail here.
func (m machine) boot(t *testing.T, initrd string) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	// Mitigations protect nobody in there and cost the emulator much. With a thread for each processor QEMU 7.2 now and then runs an instruction
	// that the kernel has replaced meanwhile, int3 for one, which a kernel does not survive: tests attach and detach tracepoints all the time.
	args := slices.Concat(m.qemu[1:], []string{
		"-accel", "tcg,thread=single", "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nic", "none", "-kernel", m.image, "-initrd", initrd,
		"-append", "console=" + m.console + " quiet panic=-1 nowatchdog random.trust_cpu=on mitigations=off init_on_alloc=0 lsm=capability,landlock,lockdown,yama,bpf",
	})
	cmd := exec.CommandContext(ctx, m.qemu[0], args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make deps-kernels", err)
	}
	g := guest{t: t}
	g.follow(out)
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		t.Errorf("qemu: %v", err)
	}
	if ctx.Err() != nil {
		t.Errorf("stopped: %v", context.Cause(ctx))
	}
	g.judge()
}

// A guest is what a machine has printed.
type guest struct {
	t      *testing.T
	log    strings.Builder
	passed int
	doctor bool            // what is printed is the doctor's
	said   strings.Builder // what the doctor has printed
	ended  []string
	done   bool
}

// follow reads what the machine prints, and passes on what tells how far it is.
func (g *guest) follow(out io.Reader) {
	start := time.Now()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Fprintf(&g.log, "%4.0f %s\n", time.Since(start).Seconds(), line)
		trimmed := strings.TrimSpace(line)
		after, ours := strings.CutPrefix(trimmed, "init: ")
		switch {
		case ours && after == "done":
			g.done = true
		case ours && strings.HasPrefix(after, "run "):
			g.doctor = strings.Contains(after, "/tiercel doctor")
		case ours && strings.HasPrefix(after, "exit status"), ours && strings.HasPrefix(after, "signal"):
			if !g.doctor {
				g.ended = append(g.ended, after)
			}
		}
		if g.doctor {
			fmt.Fprintln(&g.said, trimmed)
		}
		switch {
		case strings.HasPrefix(trimmed, "--- FAIL"), strings.HasPrefix(trimmed, "panic:"):
			g.t.Error(trimmed)
		case strings.HasPrefix(trimmed, "--- PASS"):
			g.passed++
		}
		continues := strings.HasPrefix(line, "        ") // what a test has logged
		if ours || g.doctor || continues || strings.HasPrefix(trimmed, "--- SKIP") || strings.HasPrefix(line, "--- PASS") || strings.Contains(line, "_test.go:") {
			g.t.Logf("%4.0f s  %s", time.Since(start).Seconds(), trimmed)
		}
	}
}

func (g *guest) judge() {
	g.t.Helper()
	if !g.done {
		g.t.Error("the machine stopped before its init did")
	}
	if len(g.ended) == 0 {
		g.t.Error("no test ran")
	}
	for _, how := range g.ended {
		if how != "exit status 0" {
			g.t.Errorf("a run of tests ended with %s", how)
		}
	}
	if !strings.Contains(g.said.String(), "backend L ") {
		g.t.Errorf("tiercel doctor did not say that backend L is used, but:\n%s", g.said.String())
	}
	if g.t.Failed() {
		g.t.Log(g.log.String())
	}
	g.t.Logf("%d tests passed", g.passed)
}

// goBuild runs the go command in the module's root for a static program.
func goBuild(t *testing.T, arch string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
