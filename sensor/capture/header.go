package capture

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/decode"
)

// A Header says where and by what a file was made. NewHeader fills all but Program, Node, Hostname and BootOffsetNS.
type Header struct {
	Format   int    `json:"format"`
	Program  string `json:"program,omitempty"` // version of the writer
	Arch     string `json:"arch"`              // as Go names it
	Kernel   string `json:"kernel"`            // release
	Node     string `json:"node,omitempty"`
	Hostname string `json:"hostname,omitempty"` // what alerts call the host
	// BootOffsetNS is the wall clock minus the boot clock at the start. Clock frames tell when it was set.
	BootOffsetNS int64 `json:"bootOffsetNS"`
	// Layout is decode.Layout of the records.
	Layout string `json:"layout"`
	// EventTypes are the names of the event types by the numbers that records carry.
	EventTypes []string `json:"eventTypes"`
}

// NewHeader returns the header of a file that this program writes on this machine.
func NewHeader() Header {
	h := Header{Format: FormatVersion, Arch: runtime.GOARCH, Layout: decode.Layout(), EventTypes: eventTypes()}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		h.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return h
}

func eventTypes() []string {
	var names []string
	for t := range field.AllEvents().All() {
		if n := int(t) + 1; n > len(names) {
			names = append(names, make([]string, n-len(names))...)
		}
		names[t] = t.Info().Name
	}
	return names
}

// check reports why records under h cannot be read.
func (h *Header) check() error {
	if h.Format != FormatVersion {
		return fmt.Errorf("%w: format %d, this program reads %d", ErrVersion, h.Format, FormatVersion)
	}
	if h.Layout != decode.Layout() {
		return fmt.Errorf("%w: its records have another layout; tiercel %s wrote and can read it", ErrVersion, h.Program)
	}
	return nil
}

// typeTable maps the event types of the file's records to this program's; nil if they are the same. Types that this program does not know
// become 0.
func (h *Header) typeTable() []field.EventType {
	ours := eventTypes()
	if slices.Equal(ours, h.EventTypes) {
		return nil
	}
	table := make([]field.EventType, len(h.EventTypes))
	for i, name := range h.EventTypes {
		if name != "" {
			table[i], _ = field.EventTypeByName(name)
		}
	}
	return table
}

// A Container is what was known of a container.
type Container struct {
	ID   container.ID    `json:"id"`
	Info *container.Info `json:"info"`
}

// Names are the users and groups of a container, or of the host, as its own files had them.
type Names struct {
	Root   container.Root            `json:"root"`
	Users  map[uint32]container.User `json:"users,omitempty"`
	Groups map[uint32]string         `json:"groups,omitempty"`
}

// Domains are the domain names of addresses, as far as rules named them.
type Domains map[netip.Addr][]string
