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
	"github.com/tiercel-project/tiercel/sensor/host"
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
	case ok && errors.Is(err, kernel.ErrNotPermitted): // checkRights says it
	case ok:
		fs = append(fs, found(Action, "the sensor cannot run: %v", err).hint(re.Hint))
	default:
		fs = append(fs, found(Action, "the sensor cannot run: %v", err))
	}
	return fs
}

// checkRights says which rights a sensor started here lacks, and what is not seen without each.
func checkRights(_ context.Context, e *Env) []Finding {
	var fs []Finding
	switch re, ok := errors.AsType[*kernel.RequirementError](kernel.Check()); {
	case !ok || !errors.Is(re, kernel.ErrNotPermitted):
	case os.Geteuid() != 0:
		return []Finding{found(Unknown, "this user may not load BPF programs, so it is not known whether they load").hint("run tiercel doctor as root")}
	default:
		fs = append(fs, found(Action, "the sensor cannot run without %s", re.Missing).hint(re.Hint))
	}
	missing, err := host.MissingCapabilities()
	if err != nil {
		fs = append(fs, found(Unknown, "own capabilities: %v", err))
	}
	for _, c := range missing {
		fs = append(fs, found(Note, "without %s: %s", c.Name, c.Cost).hint("add it to securityContext.capabilities.add of the pod (docker: --cap-add)"))
	}
	if !host.InPIDNamespace() {
		fs = append(fs, found(Note, "not in the host's pid namespace: users and groups of containers have no names, neither the host's users nor the "+
			"sockets of container runtimes are found, lost records of processes are not made up for, and no runtime can be exempt").
			hint("hostPID: true in the pod's spec (docker: --pid=host)"))
	} else if !e.Host.Here() {
		if err := e.Host.Check(); err != nil {
			fs = append(fs, found(Note, "%v: the host's users have no names, and sockets of container runtimes are not found", err).
				hint("CAP_SYS_PTRACE, and no AppArmor profile of the container runtime (appArmorProfile: {type: Unconfined}); or mount the host's / and name it with --host-root"))
		} else {
			fs = append(fs, found(OK, "in a container, with the host's files at %s", e.Host))
		}
	}
	if fs == nil {
		fs = []Finding{found(OK, "every right that the sensor has a use for")}
	}
	return fs
}

// checkBackends loads and attaches the programs for a moment, with the smallest rings, and says what is missing. A sensor that runs here is asked
// to pass over that.
func checkBackends(ctx context.Context, e *Env) []Finding {
	if err := kernel.Check(); err != nil {
		return []Finding{found(Unknown, "backend T (tracepoints): not tried")}
	}
	defer askExemption(ctx)()
	const ring = 64 << 10
	s, err := kernel.Open(kernel.Config{RingBytes: ring, ProcessRingBytes: ring, HostRoot: e.Host})
	if err != nil {
		f := found(Action, "backend T (tracepoints) does not load: %v", err).hint("the log of a sensor says more")
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

// checkCgroups says which version of cgroups containers are found by: the host's, whatever a container has at /sys/fs/cgroup.
func checkCgroups(_ context.Context, e *Env) []Finding {
	at := e.Host.Path("/sys/fs/cgroup")
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return []Finding{found(Action, "no cgroup file system at %s: %v", at, err).hint("mount cgroup2 there")}
	}
	v2, err := kernel.FindCgroup2(e.Host)
	switch unified := st.Type == unix.CGROUP2_SUPER_MAGIC; {
	case err == nil && unified:
		return []Finding{found(OK, "cgroup v2")}
	case err == nil:
		return []Finding{found(OK, "cgroup v1, with v2 beside it (hybrid), at %s", v2)}
	case unified:
		return []Finding{found(Note, "cgroup v2, of which only this container's own is to be seen: where sockets of others go is read from the program's memory, "+
			"which another thread can change meanwhile").hint("hostPID: true and CAP_SYS_PTRACE, or mount the host's /sys/fs/cgroup")}
	}
	return []Finding{found(Note, "cgroup v1 alone: where sockets go is read from the program's memory, which another thread can change meanwhile").
		hint("boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 somewhere")}
}

// checkContainers says who can name containers.
func checkContainers(ctx context.Context, e *Env) []Finding {
	var fs []Finding
	var tried []string
	for _, text := range container.DefaultSockets() {
		s, err := container.ParseSocket(text)
		if err != nil {
			continue
		}
		conn, err := e.Host.Dial(ctx, s.Path)
		switch {
		case err == nil:
			_ = conn.Close()
			fs = append(fs, found(OK, "%s answers for names of containers at %s", s.Kind, s.Path))
		case errors.Is(err, os.ErrNotExist):
			tried = append(tried, s.Path)
		default:
			fs = append(fs, found(Note, "%s does not answer for names of containers at %s: %v", s.Kind, s.Path, err))
		}
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
