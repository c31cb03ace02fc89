//go:build kernels

// Command init is the first process of a machine that runs tests: it mounts what they look at, runs the commands in /runs, one a line, prints
// how each ended and switches the machine off. Under any other number it is a program that does nothing: /bin/true.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		return
	}
	if err := errors.Join(prepare(), runAll()); err != nil {
		fmt.Println("\ninit:", err)
	} else {
		fmt.Println("\ninit: done")
	}
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

// runAll runs the lines of /runs: assignments of environment variables, then a program and its arguments.
func runAll() error {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	fmt.Println("init: Linux", unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]))
	runs, err := os.ReadFile("/runs")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(runs)) {
		words := strings.Fields(line)
		env := []string{"PATH=/bin", "HOME=/tmp"}
		for len(words) > 0 && strings.Contains(words[0], "=") {
			env, words = append(env, words[0]), words[1:]
		}
		if len(words) == 0 {
			continue
		}
		fmt.Println("\ninit: run", strings.TrimSpace(line))
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = os.Stdout, os.Stdout, "/tmp", env
		err := cmd.Run()
		if err != nil && cmd.ProcessState == nil {
			return err
		}
		fmt.Printf("\ninit: %s\n", cmd.ProcessState)
	}
	return nil
}
