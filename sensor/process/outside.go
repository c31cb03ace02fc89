package process

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Proc is the Outside that reads /proc. The zero value reads the machine's own.
type Proc struct {
	Root string // where proc is mounted; "" means /proc
}

const (
	maxCmdline = 4096 // as much as the kernel side copies
	clockTick  = 100  // USER_HZ, fixed in the ABI of amd64 and arm64
)

// Image implements Outside.
func (f Proc) Image(k Key) (*Image, string, bool) {
	start, _, ok := f.stat(k.PID)
	if !ok || !sameStart(start, k.StartNS) {
		return nil, "", false
	}
	dir := f.dir(k.PID)
	cmd := readSome(filepath.Join(dir, "cmdline"))
	im := &Image{Env: string(readSome(filepath.Join(dir, "environ")))}
	exe, args, _ := bytes.Cut(cmd, []byte{0})
	im.Exe, im.Args = string(exe), string(args)
	im.ExePath, _ = os.Readlink(filepath.Join(dir, "exe"))
	comm := readSome(filepath.Join(dir, "comm"))
	im.Name = string(bytes.TrimSuffix(comm, []byte("\n")))
	cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
	if again, _, ok := f.stat(k.PID); !ok || again != start {
		return nil, "", false // it ended meanwhile and the pid may be another's
	}
	return im, cwd, true
}

// maxArguments is as much as the kernel takes: three quarters of 8 MiB.
const maxArguments = 6 << 20

// Arguments returns all arguments after argv[0] of the living process k, as Image.Args has them. It reports false if they do not begin with
// those of im, which the kernel side has cut: the process has ended, started another program, or overwritten them.
func (f Proc) Arguments(k Key, im *Image) (string, bool) {
	start, _, ok := f.stat(k.PID)
	if !ok || !sameStart(start, k.StartNS) {
		return "", false
	}
	file, err := os.Open(filepath.Join(f.dir(k.PID), "cmdline"))
	if err != nil {
		return "", false
	}
	defer file.Close()
	all, err := io.ReadAll(io.LimitReader(file, maxArguments))
	if err != nil {
		return "", false
	}
	exe, args, _ := bytes.Cut(all, []byte{0})
	known := strings.TrimSuffix(im.Args, "\x00")
	if string(exe) != im.Exe || len(args) <= len(known) || string(args[:len(known)]) != known {
		return "", false
	}
	if again, _, ok := f.stat(k.PID); !ok || again != start {
		return "", false
	}
	return string(args), true
}

// Parent implements Outside.
func (f Proc) Parent(k Key) (uint32, bool) {
	start, ppid, ok := f.stat(k.PID)
	return ppid, ok && sameStart(start, k.StartNS)
}

// Alive implements Outside.
func (f Proc) Alive(pid uint32) bool { return unix.Kill(int(pid), 0) != unix.ESRCH }

func (f Proc) dir(pid uint32) string {
	root := f.Root
	if root == "" {
		root = "/proc"
	}
	return filepath.Join(root, strconv.FormatUint(uint64(pid), 10))
}

// stat returns the start in clock ticks since boot and the parent of pid.
func (f Proc) stat(pid uint32) (ticks uint64, ppid uint32, ok bool) {
	b := readSome(filepath.Join(f.dir(pid), "stat"))
	i := bytes.LastIndexByte(b, ')') // the name before it may hold anything
	if i < 0 {
		return 0, 0, false
	}
	fields := bytes.Fields(b[i+1:])
	if len(fields) < 20 {
		return 0, 0, false
	}
	pp, err1 := strconv.ParseUint(string(fields[1]), 10, 32)
	st, err2 := strconv.ParseUint(string(fields[19]), 10, 64)
	return st, uint32(pp), err1 == nil && err2 == nil
}

// sameStart compares a start in ticks with one in nanoseconds.
func sameStart(ticks, ns uint64) bool {
	t := ns / (1e9 / clockTick)
	return ticks == t || ticks == t+1 || ticks+1 == t
}

// readSome reads the first bytes of a file of proc; empty if it cannot be read.
func readSome(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, maxCmdline)
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return buf[:n]
}
