//go:build kernels

package kernels

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// timeout of one kernel's tests. Emulated, a program that the verifier looks at for a second takes it a quarter of a minute.
const timeout = 55 * time.Minute

// TestKernels runs the tests of sensor/kernel on each kernel in TIERCEL_KERNELS, a directory of kernel images called vmlinuz-*.
// TIERCEL_KERNELS_RUN selects tests, as -run does.
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
	initrd := makeInitrd(t)
	for _, image := range images {
		t.Run(strings.TrimPrefix(filepath.Base(image), "vmlinuz-"), func(t *testing.T) { boot(t, image, initrd) })
	}
}

// makeInitrd returns a file system with the tests, what they run, and an init that runs them.
func makeInitrd(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	goBuild(t, "amd64", "build", "-tags", "kernels", "-o", filepath.Join(root, "init"), "./test/kernels/init")
	goBuild(t, "amd64", "test", "-c", "-tags", "kernel", "-o", filepath.Join(root, "kernel.test"), "./sensor/kernel")
	goBuild(t, "386", "build", "-o", filepath.Join(root, "ia32"), "./sensor/kernel/testdata/ia32.go")
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v: install the package busybox-static", err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"true", "sleep", "sh", "cat", "echo", "ls"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-test.v", "-test.timeout=" + timeout.String()}
	if run := os.Getenv("TIERCEL_KERNELS_RUN"); run != "" {
		args = append(args, "-test.run="+run)
	}
	if err := os.WriteFile(filepath.Join(root, "args"), []byte(strings.Join(args, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return pack(t, root)
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

// pack makes an initial RAM disk of the files below root.
func pack(t *testing.T, root string) string {
	t.Helper()
	var names bytes.Buffer
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
	cmd.Dir, cmd.Stdin, cmd.Stdout = root, &names, out
	if err := cmd.Run(); err != nil {
		t.Fatalf("cpio: %v", err)
	}
	return file
}

// boot starts a machine with the kernel and waits for its init to end. The tests that fail there fail here.
func boot(t *testing.T, image, initrd string) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nographic", "-no-reboot", "-nic", "none", "-kernel", image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on lsm=capability,landlock,lockdown,yama,bpf")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install the package qemu-system-x86", err)
	}
	status := "none: the machine stopped before its init did"
	var log strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Fprintln(&log, line)
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "--- FAIL") || strings.HasPrefix(trimmed, "panic:") {
			t.Error(trimmed)
		}
		if strings.HasPrefix(trimmed, "init: Linux") || strings.Contains(line, "missing:") {
			t.Log(trimmed)
		}
		if after, ok := strings.CutPrefix(trimmed, "init: exit status "); ok {
			status = after
		}
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		t.Errorf("qemu: %v", err)
	}
	if ctx.Err() != nil {
		t.Errorf("stopped: %v", context.Cause(ctx))
	}
	if status != "0" || t.Failed() {
		t.Errorf("exit status %s\n%s", status, log.String())
		return
	}
	if testing.Verbose() {
		t.Log(log.String())
	}
}
