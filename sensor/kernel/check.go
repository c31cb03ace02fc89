package kernel

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/host"
)

// The oldest kernel that has everything the programs use: bpf_loop.
const minMajor, minMinor = 5, 17

// Check reports what the machine visibly lacks, as a *RequirementError, without loading anything. Nil does not promise that Open
// succeeds.
func Check() error { return check(btf.NewCache()) }

// check is Check, with the kernel's types from a cache.
func check(types *btf.Cache) error {
	if err := checkVersion(); err != nil {
		return err
	}
	if err := checkCapabilities(); err != nil {
		return err
	}
	spec, err := types.Kernel()
	if err != nil {
		return &RequirementError{
			Missing: "/sys/kernel/btf/vmlinux",
			Hint:    "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, which those of the distributions are; in a container see that nothing is mounted over /sys/kernel",
			Err:     fmt.Errorf("%w: %w", ErrNoBTF, err),
		}
	}
	for _, name := range tracepoints {
		if !hasTracepoint(spec, name) {
			return &RequirementError{Missing: "tracepoint " + name, Hint: "boot a kernel built with CONFIG_FTRACE_SYSCALLS=y", Err: ErrNoTracepoint}
		}
	}
	return nil
}

// The tracepoints without which there is no sensor.
var tracepoints = []string{"sys_enter", "sys_exit", "sched_process_exec", "sched_process_exit", "task_newtask"}

func hasTracepoint(spec *btf.Spec, name string) bool {
	var t *btf.Typedef
	return spec.TypeByName("btf_trace_"+name, &t) == nil
}

func checkVersion() error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("read kernel version: %w", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	major, minor, ok := parseRelease(release)
	if !ok || major > minMajor || major == minMajor && minor >= minMinor {
		return nil // what cannot be read is left to loading
	}
	return &RequirementError{
		Missing: fmt.Sprintf("Linux %d.%d or later; this is %s", minMajor, minMinor, release),
		Hint:    "boot a later kernel; Debian 12 has 6.1",
		Err:     ErrKernelTooOld,
	}
}

// parseRelease takes the first two numbers off a release such as 6.1.0-56-amd64.
func parseRelease(release string) (major, minor int, ok bool) {
	first, rest, ok := strings.Cut(release, ".")
	if !ok {
		return 0, 0, false
	}
	second := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		second = rest[:i]
	}
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(second)
	return major, minor, err1 == nil && err2 == nil
}

// checkCapabilities wants CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or CAP_SYS_ADMIN, which stands for all of them.
func checkCapabilities() error {
	caps, err := host.EffectiveCapabilities("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	if caps>>unix.CAP_SYS_ADMIN&1 != 0 {
		return nil
	}
	var missing []string
	for _, c := range []struct {
		bit  int
		name string
	}{{unix.CAP_BPF, "CAP_BPF"}, {unix.CAP_PERFMON, "CAP_PERFMON"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}} {
		if caps>>c.bit&1 == 0 {
			missing = append(missing, c.name)
		}
	}
	if missing == nil {
		return nil
	}
	return &RequirementError{
		Missing: strings.Join(missing, ", "),
		Hint:    "run as root; in a container add them to securityContext.capabilities.add of the pod (docker: --cap-add)",
		Err:     ErrNotPermitted,
	}
}
