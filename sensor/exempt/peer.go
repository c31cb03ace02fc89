package exempt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Reasons of a refusal, besides those of kernel.Sensor.Exempt.
var (
	errUser    = errors.New("not of the sensor's user, and of none in the sensor's --self-users")
	errOutside = errors.New("not in a pid namespace that the sensor sees: both need the host's (hostPID: true)")
	errProgram = errors.New("another program than the sensor's: both must be the same build of tiercel")
	errGone    = errors.New("ended meanwhile")
	errBusy    = errors.New("too many connections")
)

// A caller is the process that connected, as the kernel knows it.
type caller struct {
	pid   uint32
	uid   uint32
	pidfd *os.File
}

// callerOf returns who made the connection. Whoever it has passed the connection on to since does not count.
func callerOf(conn *net.UnixConn) (*caller, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var c *caller
	var failed error
	if err := raw.Control(func(fd uintptr) { c, failed = callerOfSocket(int(fd)) }); err != nil {
		return nil, err
	}
	return c, failed
}

func callerOfSocket(socket int) (*caller, error) {
	cred, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("ask who connected: %w", err)
	}
	if cred.Pid <= 0 {
		return nil, errOutside
	}
	c := &caller{pid: uint32(cred.Pid), uid: cred.Uid}
	fd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD) // 6.5
	if errors.Is(err, unix.ENOPROTOOPT) {
		// Before that, a process of the same user and program may have taken the number of one that ended since it connected.
		fd, err = unix.PidfdOpen(int(cred.Pid), 0)
	}
	if errors.Is(err, unix.ESRCH) {
		return c, errGone
	}
	if err != nil {
		return c, fmt.Errorf("refer to process %d: %w", cred.Pid, err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil { // so that its end can be waited for
		unix.Close(fd)
		return c, err
	}
	c.pidfd = os.NewFile(uintptr(fd), "pidfd")
	return c, nil
}

// ended reports whether the process has ended.
func ended(pidfd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// wait returns when the process has ended or pidfd is closed.
func (c *caller) wait() {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(ended)
}

// alive reports whether the process that connected is still there: then its number was no other's since it connected.
func (c *caller) alive() bool {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	gone := true
	err = raw.Control(func(fd uintptr) { gone = ended(fd) })
	return err == nil && !gone
}

// exe is the name of the caller's program, as its link in /proc has it.
func (c *caller) exe() string {
	name, err := os.Readlink(c.exePath())
	if err != nil {
		return "unknown"
	}
	return name
}

func (c *caller) exePath() string { return fmt.Sprintf("/proc/%d/exe", c.pid) }

// A program is the file that this process runs.
type program struct {
	path   string
	digest []byte // once it was asked for
}

// check returns nil if the caller runs the same program: the same file, or one with the same content, as in containers of one image. One check
// at a time.
func (p *program) check(c *caller) error {
	own, err := os.Stat(p.path)
	if err != nil {
		return fmt.Errorf("look at own program: %w", err)
	}
	f, err := os.Open(c.exePath())
	if err != nil {
		return fmt.Errorf("look at program of %d: %w", c.pid, err)
	}
	defer f.Close()
	is, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at program of %d: %w", c.pid, err)
	}
	if !os.SameFile(own, is) {
		if own.Size() != is.Size() {
			return errProgram
		}
		if p.digest == nil {
			if p.digest, err = digestFile(p.path); err != nil {
				return fmt.Errorf("look at own program: %w", err)
			}
		}
		got, err := digest(f)
		if err != nil {
			return fmt.Errorf("look at program of %d: %w", c.pid, err)
		}
		if !bytes.Equal(got, p.digest) {
			return errProgram
		}
	}
	if !c.alive() {
		return errGone
	}
	return nil
}

func digestFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return digest(f)
}

func digest(r io.Reader) ([]byte, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
