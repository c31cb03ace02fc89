// Package host finds the machine's own files from inside a container: users, sockets of container runtimes, the root of the cgroups. With the
// host's pid namespace and CAP_SYS_PTRACE, /proc/1/root is the host's root directory: nothing of it has to be mounted. Read Root first.
package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Root is where the host's root directory is found: "/" on the host itself, and by zero value.
type Root string

// initRoot is that of the first process, which is the host's in its pid namespace.
const initRoot = "/proc/1/root"

// Find returns the host's root directory as this process finds it: "/" if it is in the first process's mount namespace, outside of the
// host's pid namespace, or without CAP_SYS_PTRACE.
func Find() Root {
	if !InPIDNamespace() {
		return "/"
	}
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	first, err2 := os.Readlink("/proc/1/ns/mnt")
	if err1 != nil || err2 != nil || own == first { // an error is for want of CAP_SYS_PTRACE
		return "/"
	}
	return initRoot
}

// InPIDNamespace reports whether pids mean the same to this process as to the kernel.
func InPIDNamespace() bool {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO, fixed since Linux 3.8
	ns, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && ns == initial
}

// Path is where the host's file name is found. Links in name that begin with "/" lead elsewhere: Open follows them.
func (r Root) Path(name string) string {
	if r == "" {
		return name
	}
	return filepath.Join(string(r), name)
}

// Here reports whether the host's files have their own names.
func (r Root) Here() bool { return r == "" || r == "/" }

// Check reports why the host's files cannot be found.
func (r Root) Check() error {
	fd, err := unix.Open(r.Path("/")+"/.", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("look at the host's files in %s: %w", r.Path("/"), err)
	}
	return unix.Close(fd)
}

// Open refers to the host's file name (O_PATH), following links as the host does.
func (r Root) Open(name string) (*os.File, error) {
	root, err := unix.Open(r.Path("/"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", r.Path("/"), err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, strings.TrimPrefix(name, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", r.Path(name), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Dial connects to the host's unix socket name. A socket of that name in the container itself, which was mounted there, comes first.
func (r Root) Dial(ctx context.Context, name string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", name)
	if err == nil || r.Here() || !errors.Is(err, unix.ENOENT) {
		return conn, err
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
