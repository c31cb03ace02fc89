//go:build kernel && amd64

package kernel

import (
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// legacyOpens makes the calls that only amd64 has.
func legacyOpens() error {
	for _, c := range []struct {
		nr    uintptr
		path  string
		flags uintptr
	}{{unix.SYS_OPEN, "plain", unix.O_WRONLY}, {unix.SYS_CREAT, "made", 0o600}} {
		p, err := unix.BytePtrFromString(c.path)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(c.nr, uintptr(unsafe.Pointer(p)), c.flags, 0); errno != 0 {
			return errno
		}
	}
	return nil
}

func legacyCases(tmp string) []openCase {
	const regular = unix.S_IFREG >> 12
	return []openCase{
		{field.EventOpen, "plain", 0, event.Open{Path: event.Path{Raw: "plain", Dir: tmp, Resolved: tmp + "/plain"}, DirFD: unix.AT_FDCWD, Flags: unix.O_WRONLY, Type: regular}},
		{field.EventCreat, "made", 0, event.Open{Path: event.Path{Raw: "made", Dir: tmp, Resolved: tmp + "/made"}, DirFD: unix.AT_FDCWD, Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, Mode: 0o600, Type: regular, Created: true}},
	}
}
