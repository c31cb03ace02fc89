package exempt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reasons to refuse a process of another user than the sensor's. Root cannot be kept from changing a process, others of a user can: so such a
// process must be one into which nothing of its own user could have put code.
var (
	errUserNamespace = errors.New("in a user namespace of its own (hostUsers: false)")
	errNotFirst      = errors.New("not the first process of a container: others of its user may have started it, and changed it since; " +
		"no init before it, no pid namespace that is shared")
	errOpen   = errors.New("other processes of its user may change it: it has not given up PR_SET_DUMPABLE")
	errTraced = errors.New("another process traces it")
)

// Seal keeps other processes of this process's user from looking into this one and changing it (PR_SET_DUMPABLE), as a sensor asks of a process
// that is not root. Files in /proc/self that only the owner may open, as pagemap, cannot be opened after that.
func Seal() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("give up PR_SET_DUMPABLE: %w", err)
	}
	return nil
}

// checkGuest returns nil if no process but root's could have put code into the caller: the container runtime started it as the first of a pid
// namespace, in which nobody could be before it, it cannot be traced, and is not. The program itself is checked elsewhere.
func (c *caller) checkGuest() error {
	st, err := c.status()
	if err != nil {
		return err
	}
	if uids := strings.Fields(st["Uid"]); len(uids) != 4 || slices.ContainsFunc(uids, func(u string) bool { return u != strconv.FormatUint(uint64(c.uid), 10) }) {
		return errUser // it can be another user again
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return fmt.Errorf("look at own user namespace: %w", err)
	}
	is, err := os.Readlink(c.proc("ns/user"))
	if err != nil {
		return c.looked("user namespace", err)
	}
	if is != own { // a pid namespace is anybody's to make in one
		return errUserNamespace
	}
	if pids := strings.Fields(st["NSpid"]); len(pids) < 2 || pids[len(pids)-1] != "1" {
		return errNotFirst
	}
	environ, err := os.Stat(c.proc("environ")) // belongs to root once the process is not dumpable (fs/proc/base.c, task_dump_owner)
	if err != nil {
		return c.looked("memory", err)
	}
	if environ.Sys().(*syscall.Stat_t).Uid != 0 {
		return errOpen
	}
	if st, err = c.status(); err != nil { // from here on nobody but root can begin to trace it
		return err
	}
	if st["TracerPid"] != "0" {
		return errTraced
	}
	return nil
}

func (c *caller) proc(name string) string { return fmt.Sprintf("/proc/%d/%s", c.pid, name) }

// looked is the error of looking at the caller's what.
func (c *caller) looked(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	return fmt.Errorf("look at %s of %d: %w", what, c.pid, err)
}

// status is the caller's status in /proc.
func (c *caller) status() (map[string]string, error) {
	b, err := os.ReadFile(c.proc("status"))
	if err != nil {
		return nil, c.looked("status", err)
	}
	st := map[string]string{}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if key, value, ok := strings.Cut(sc.Text(), ":"); ok {
			st[key] = strings.TrimSpace(value)
		}
	}
	return st, nil
}
