//go:build kernels

// Command init is the first and only process of a machine that runs one test program: it mounts what the tests look at, runs /kernel.test with
// the arguments in /args, one a line, prints how it ended and switches the machine off.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	code := 125
	if err := prepare(); err != nil {
		fmt.Println("init:", err)
	} else {
		code = run()
	}
	fmt.Printf("\ninit: exit status %d\n", code)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func prepare() error {
	var errs []error
	for _, m := range []struct{ fs, dir string }{
		{"proc", "/proc"},
		{"sysfs", "/sys"},
		{"devtmpfs", "/dev"},
		{"tmpfs", "/tmp"},
		{"tracefs", "/sys/kernel/tracing"},
		{"securityfs", "/sys/kernel/security"},
		{"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.dir, err))
		}
	}
	return errors.Join(append(errs, loopback())...)
}

// loopback brings the interface lo up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	ifr.SetUint16(uint16(net.FlagUp))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

func run() int {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	fmt.Println("init: Linux", unix.ByteSliceToString(uts.Release[:]))
	args, err := os.ReadFile("/args")
	if err != nil {
		fmt.Println("init:", err)
		return 125
	}
	cmd := exec.Command("/kernel.test", strings.Fields(string(args))...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.Dir = "/tmp"
	cmd.Env = []string{"PATH=/bin", "HOME=/tmp", "TIERCEL_TEST_IA32=/ia32", "TIERCEL_TEST_BACKEND_L=1"}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			fmt.Println("init: killed by", s.Signal())
		}
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Println("init:", err)
		return 125
	}
	return 0
}
