package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// checkKernel says whether this kernel can carry the sensor at all.
func checkKernel(context.Context, *Env) []Finding {
	var uts unix.Utsname
	release := "unknown"
	if unix.Uname(&uts) == nil {
		release = unix.ByteSliceToString(uts.Release[:])
	}
	fs := []Finding{found(OK, "Linux %s on %s", release, runtime.GOARCH)}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		fs = append(fs, found(OK, "BTF: the kernel describes its types"))
	}
	err := kernel.Check()
	re, ok := errors.AsType[*kernel.RequirementError](err)
	switch {
	case err == nil:
	case ok && errors.Is(err, kernel.ErrNotPermitted):
		fs = append(fs, found(Unknown, "this user may not load BPF programs, so it is not known whether they load").hint("run tiercel doctor as root"))
	case ok:
		fs = append(fs, found(Action, "the sensor cannot run: %v", err).hint(re.Hint))
	default:
		fs = append(fs, found(Action, "the sensor cannot run: %v", err))
	}
	return fs
}

// checkBackends loads and attaches the programs for a moment, with the smallest rings, and says what is missing.
func checkBackends(context.Context, *Env) []Finding {
	if err := kernel.Check(); err != nil {
		return []Finding{found(Unknown, "backend T (tracepoints): not tried")}
	}
	const ring = 64 << 10
	s, err := kernel.Open(kernel.Config{RingBytes: ring, ProcessRingBytes: ring})
	if err != nil {
		f := found(Action, "backend T (tracepoints) does not load: %v", err)
		if re, ok := errors.AsType[*kernel.RequirementError](err); ok {
			f.Hint = re.Hint
		}
		return []Finding{f}
	}
	defer s.Close()
	fs := []Finding{found(OK, "backend T (tracepoints) loads and attaches")}
	if s.Backend() == kernel.BackendL {
		fs = []Finding{found(OK, "backend L (functions of the kernel, beside tracepoints) loads and attaches: arguments are what the kernel copied")}
	}
	for _, m := range s.Missing() {
		fs = append(fs, found(Note, "without %s", m))
	}
	return fs
}

// checkCgroups says which version of cgroups containers are found by.
func checkCgroups(context.Context, *Env) []Finding {
	const root = "/sys/fs/cgroup"
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return []Finding{found(Action, "no cgroup file system at %s: %v", root, err).hint("mount cgroup2 there")}
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []Finding{found(OK, "cgroup v2")}
	}
	if unix.Statfs(root+"/unified", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		return []Finding{found(OK, "cgroup v1, with v2 beside it (hybrid)")}
	}
	return []Finding{found(Note, "cgroup v1 alone: where sockets go is read from the program's memory, which another thread can change meanwhile").
		hint("boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 somewhere")}
}

// checkContainers says who can name containers.
func checkContainers(context.Context, *Env) []Finding {
	var fs []Finding
	var tried []string
	for _, text := range container.DefaultSockets() {
		s, err := container.ParseSocket(text)
		if err != nil {
			continue
		}
		if st, err := os.Stat(s.Path); err == nil && st.Mode()&os.ModeSocket != 0 {
			fs = append(fs, found(OK, "%s answers for names of containers at %s", s.Kind, s.Path))
			continue
		}
		tried = append(tried, s.Path)
	}
	if fs == nil {
		fs = []Finding{found(Note, "no container runtime found (%s): events of containers have ids, but no names and images", strings.Join(tried, ", ")).
			hint("name the runtime's socket with runtimeSockets in the configuration, if there is one")}
	}
	return fs
}

// checkMemory says what bounds the memory of a tiercel started here.
func checkMemory(context.Context, *Env) []Finding {
	limit := debug.SetMemoryLimit(-1) // as main has set it
	const none = 1 << 62
	if limit >= none {
		return []Finding{found(OK, "memory: no limit of a cgroup or GOMEMLIMIT; %d processors", runtime.GOMAXPROCS(0))}
	}
	f := found(OK, "memory: the heap keeps below %d MiB; %d processors", limit>>20, runtime.GOMAXPROCS(0))
	if limit < 128<<20 {
		f = found(Action, "memory: a limit of %d MiB is too little for a sensor with its rings", limit>>20).hint("allow 256 MiB")
	}
	return []Finding{f}
}

// checkSandbox says how memories of functions are put back.
func checkSandbox(context.Context, *Env) []Finding {
	t := sandbox.SelfTest()
	how := t.Reset
	switch {
	case t.Always == "":
		how += ", asked only after a page fault"
	case t.Cost == "":
		how += " after every event (" + t.Always + ")"
	}
	f := found(OK, "memory of functions is reset by %s", how)
	if t.Cost != "" {
		f = found(Note, "memory of functions is reset by %s: %s", how, t.Cost)
	}
	if len(t.Rejected) > 0 {
		f.Text += fmt.Sprintf(" (not here: %s)", strings.Join(t.Rejected, "; "))
	}
	return []Finding{f}
}
