//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// A sensorLink is what attaches one program of the sensor in this process to a tracepoint or a function of the kernel.
type sensorLink struct {
	fd      int // that the sensor knows
	program *ebpf.Program
}

// sensorLinks finds them among the descriptors of this process. Attaching takes a millisecond, where starting a sensor takes seconds: so its
// cost can be told from what the machine does besides.
func sensorLinks(b *testing.B) []sensorLink {
	b.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		b.Fatal(err)
	}
	var out []sensorLink
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the one by which the folder was read
		}
		value := func(key string) (v string) {
			_, rest, _ := strings.Cut("\n"+string(text), "\n"+key+":\t")
			_, _ = fmt.Sscan(rest, &v)
			return v
		}
		if kind := value("link_type"); kind != "raw_tracepoint" && kind != "tracing" {
			continue
		}
		fd, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			b.Fatal(err)
		}
		id, err := strconv.ParseUint(value("prog_id"), 10, 32)
		if err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, sensorLink{fd, p})
	}
	if len(out) == 0 {
		b.Fatal("no program of the sensor is attached")
	}
	return out
}

// detach has no program of the sensor run: something else takes the place of each link.
func detach(b *testing.B, links []sensorLink) {
	b.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for _, l := range links {
		if err := unix.Dup3(int(null.Fd()), l.fd, unix.O_CLOEXEC); err != nil {
			b.Fatal(err)
		}
	}
}

// attach undoes detach.
func attach(b *testing.B, links []sensorLink) {
	b.Helper()
	for _, l := range links {
		made, err := link.AttachTracing(link.TracingOptions{Program: l.program})
		if err != nil {
			b.Fatal(err)
		}
		info, ok := made.(interface{ FD() int })
		if !ok {
			b.Fatalf("a link of type %T has no descriptor", made)
		}
		if err := unix.Dup3(info.FD(), l.fd, unix.O_CLOEXEC); err != nil {
			b.Fatal(err)
		}
		if err := made.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
