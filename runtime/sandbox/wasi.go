package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// Errors of WASI preview 1 that are answered here.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNosys   = 52
	errnoSpipe   = 70
)

// wasiFuncs are the functions that do something; the others of wasiImports answer as wasiRefused says. They get the call's state, the
// guest's memory and the arguments, and return the errno.
var wasiFuncs = map[string]func(*call, api.Memory, []uint64) uint64{
	"args_get":            func(*call, api.Memory, []uint64) uint64 { return errnoSuccess },
	"args_sizes_get":      noStrings,
	"environ_get":         func(*call, api.Memory, []uint64) uint64 { return errnoSuccess },
	"environ_sizes_get":   noStrings,
	"clock_res_get":       clockRes,
	"clock_time_get":      clockTime,
	"fd_write":            fdWrite,
	"fd_fdstat_get":       fdStat,
	"fd_fdstat_set_flags": stdOnly,
	"fd_close":            stdOnly,
	"fd_read":             fdRead,
	"poll_oneoff":         pollOneoff,
	"random_get":          randomGet,
	"sched_yield":         func(*call, api.Memory, []uint64) uint64 { return errnoSuccess },
}

// wasiImports are the signatures of all functions of wasi_snapshot_preview1.
var wasiImports = map[string]wasm.FuncType{
	"args_get": errno(i32 + i32), "args_sizes_get": errno(i32 + i32), "environ_get": errno(i32 + i32), "environ_sizes_get": errno(i32 + i32),
	"clock_res_get": errno(i32 + i32), "clock_time_get": errno(i32 + i64 + i32),
	"fd_advise": errno(i32 + i64 + i64 + i32), "fd_allocate": errno(i32 + i64 + i64), "fd_close": errno(i32), "fd_datasync": errno(i32),
	"fd_fdstat_get": errno(i32 + i32), "fd_fdstat_set_flags": errno(i32 + i32), "fd_fdstat_set_rights": errno(i32 + i64 + i64),
	"fd_filestat_get": errno(i32 + i32), "fd_filestat_set_size": errno(i32 + i64), "fd_filestat_set_times": errno(i32 + i64 + i64 + i32),
	"fd_pread": errno(i32 + i32 + i32 + i64 + i32), "fd_prestat_get": errno(i32 + i32), "fd_prestat_dir_name": errno(i32 + i32 + i32),
	"fd_pwrite": errno(i32 + i32 + i32 + i64 + i32), "fd_read": errno(i32 + i32 + i32 + i32), "fd_readdir": errno(i32 + i32 + i32 + i64 + i32),
	"fd_renumber": errno(i32 + i32), "fd_seek": errno(i32 + i64 + i32 + i32), "fd_sync": errno(i32), "fd_tell": errno(i32 + i32),
	"fd_write": errno(i32 + i32 + i32 + i32), "path_create_directory": errno(i32 + i32 + i32),
	"path_filestat_get": errno(i32 + i32 + i32 + i32 + i32), "path_filestat_set_times": errno(i32 + i32 + i32 + i32 + i64 + i64 + i32),
	"path_link": errno(i32 + i32 + i32 + i32 + i32 + i32 + i32), "path_open": errno(i32 + i32 + i32 + i32 + i32 + i64 + i64 + i32 + i32),
	"path_readlink": errno(i32 + i32 + i32 + i32 + i32 + i32), "path_remove_directory": errno(i32 + i32 + i32),
	"path_rename": errno(i32 + i32 + i32 + i32 + i32 + i32), "path_symlink": errno(i32 + i32 + i32 + i32 + i32),
	"path_unlink_file": errno(i32 + i32 + i32), "poll_oneoff": errno(i32 + i32 + i32 + i32), "proc_exit": {Params: i32},
	"proc_raise": errno(i32), "random_get": errno(i32 + i32), "sched_yield": errno(""),
	"sock_accept": errno(i32 + i32 + i32), "sock_recv": errno(i32 + i32 + i32 + i32 + i32 + i32),
	"sock_send": errno(i32 + i32 + i32 + i32 + i32), "sock_shutdown": errno(i32 + i32),
}

func errno(params string) wasm.FuncType { return wasm.FuncType{Params: params, Results: i32} }

// wasiRefused is what a function without an implementation answers: a file descriptor is always bad, the rest does not exist.
func wasiRefused(name string) uint64 {
	switch name {
	case "fd_seek", "fd_tell":
		return errnoSpipe
	case "proc_raise":
		return errnoNosys
	}
	return errnoBadf
}

func instantiateWASI(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(wasiModule)
	for name, t := range wasiImports {
		var f api.GoModuleFunc
		if do, ok := wasiFuncs[name]; ok {
			f = func(ctx context.Context, m api.Module, s []uint64) { s[0] = do(current(ctx), m.Memory(), s) }
		} else if name == "proc_exit" {
			f = procExit
		} else {
			refused := wasiRefused(name)
			f = func(_ context.Context, _ api.Module, s []uint64) { s[0] = refused }
		}
		b.NewFunctionBuilder().WithGoModuleFunction(f, []byte(t.Params), []byte(t.Results)).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func procExit(ctx context.Context, _ api.Module, s []uint64) {
	c := current(ctx)
	c.exited, c.exit = true, uint32(s[0])
	panic(errEnd)
}

func noStrings(_ *call, m api.Memory, s []uint64) uint64 {
	if !m.WriteUint32Le(uint32(s[0]), 0) || !m.WriteUint32Le(uint32(s[1]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

func clockRes(_ *call, m api.Memory, s []uint64) uint64 {
	if !m.WriteUint64Le(uint32(s[1]), 1) {
		return errnoFault
	}
	return errnoSuccess
}

// now is the guest's clock, for every clock id.
func (c *call) now() uint64 { return uint64(max(c.inv.Time.UnixNano(), 0)) + c.ticks }

// clockTime moves the clock by a nanosecond, so that a guest which waits for it to move does not wait for ever.
func clockTime(c *call, m api.Memory, s []uint64) uint64 {
	c.ticks++
	if !m.WriteUint64Le(uint32(s[2]), c.now()) {
		return errnoFault
	}
	return errnoSuccess
}

func randomGet(c *call, m api.Memory, s []uint64) uint64 {
	buf, ok := m.Read(uint32(s[0]), uint32(s[1]))
	if !ok {
		return errnoFault
	}
	if c.random == nil {
		c.random = rand.NewChaCha8(c.inv.Seed)
	}
	_, _ = c.random.Read(buf) // never fails
	return errnoSuccess
}

func stdOnly(_ *call, _ api.Memory, s []uint64) uint64 {
	if uint32(s[0]) > 2 {
		return errnoBadf
	}
	return errnoSuccess
}

// fdRead finds standard input at its end.
func fdRead(_ *call, m api.Memory, s []uint64) uint64 {
	if uint32(s[0]) != 0 {
		return errnoBadf
	}
	if !m.WriteUint32Le(uint32(s[3]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

func fdStat(_ *call, m api.Memory, s []uint64) uint64 {
	if uint32(s[0]) > 2 {
		return errnoBadf
	}
	buf, ok := m.Read(uint32(s[1]), 24)
	if !ok {
		return errnoFault
	}
	clear(buf)
	buf[0] = 2                                        // character device
	binary.LittleEndian.PutUint64(buf[8:], 1<<6|1<<1) // rights: fd_write, fd_read
	return errnoSuccess
}

// maxVectors bounds the work of one fd_write; the rest is left unwritten, as the specification allows.
const maxVectors = 64

func fdWrite(c *call, m api.Memory, s []uint64) uint64 {
	fd := uint32(s[0])
	if fd != 1 && fd != 2 {
		return errnoBadf
	}
	var written uint32
	for i := uint64(0); i < min(uint64(uint32(s[2])), maxVectors); i++ {
		vec, ok := m.Read(uint32(s[1])+uint32(8*i), 8)
		if !ok {
			return errnoFault
		}
		data, ok := m.Read(binary.LittleEndian.Uint32(vec), binary.LittleEndian.Uint32(vec[4:]))
		if !ok {
			return errnoFault
		}
		c.wrote(len(data))
		c.print(fd, data)
		written += uint32(len(data))
	}
	if !m.WriteUint32Le(uint32(s[3]), written) {
		return errnoFault
	}
	return errnoSuccess
}

// print logs whole lines of what goes to stdout or stderr and keeps the last, unfinished one.
func (c *call) print(fd uint32, data []byte) {
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if room := abi.MaxLogLine - len(c.partial[fd]); room > 0 {
			c.partial[fd] = append(c.partial[fd], line[:min(len(line), room)]...)
		}
		if !whole {
			return
		}
		c.printLine(fd)
		data = rest
	}
}

func (c *call) printLine(fd uint32) {
	line, level := c.partial[fd], abi.LevelInfo
	if fd == 2 {
		level = abi.LevelError
		if c.firstStderr == "" {
			c.firstStderr = cut(clean(string(line)), 1024)
		}
	}
	c.log(level, line)
	c.partial[fd] = line[:0]
}

// flush logs what was left without a line feed.
func (c *call) flush() {
	for fd := range c.partial {
		if len(c.partial[fd]) > 0 {
			c.printLine(uint32(fd))
		}
	}
}

// pollOneoff moves the clock to the first of the timers asked for: sleeping takes no time.
func pollOneoff(c *call, m api.Memory, s []uint64) uint64 {
	const subscription, event = 48, 32
	in, out, n := uint32(s[0]), uint32(s[1]), uint32(s[2])
	if n == 0 || n > maxVectors {
		return errnoInval
	}
	found, wait, userdata := false, uint64(0), uint64(0)
	for i := range n {
		sub, ok := m.Read(in+subscription*i, subscription)
		if !ok {
			return errnoFault
		}
		if sub[8] != 0 { // a file descriptor, not a clock
			continue
		}
		w := binary.LittleEndian.Uint64(sub[24:])
		if sub[40]&1 != 0 { // absolute
			w -= min(w, c.now())
		}
		if !found || w < wait {
			found, wait, userdata = true, w, binary.LittleEndian.Uint64(sub)
		}
	}
	if !found {
		return errnoNosys
	}
	c.ticks += wait
	ev, ok := m.Read(out, event)
	if !ok || !m.WriteUint32Le(uint32(s[3]), 1) {
		return errnoFault
	}
	clear(ev)
	binary.LittleEndian.PutUint64(ev, userdata)
	return errnoSuccess
}
