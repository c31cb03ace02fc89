package extract

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// errnoName is the name of the error that a call returned as -errno.
func errnoName(result int64) string {
	if name := unix.ErrnoName(unix.Errno(-result)); name != "" {
		return name
	}
	return "E" + strconv.FormatInt(-result, 10)
}
