package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/tiercel-project/tiercel/bpf"
)

// A CgroupLoss counts the records that a cgroup's processes lost: those that found no room, or no room for this cgroup, in a ring.
type CgroupLoss struct {
	ID      uint64
	V1      bool   // ID is one of a cgroup v1 hierarchy
	Process uint64 // records of processes and cgroups
	Event   uint64 // records of other events
}

// total is the number of records lost.
func (l CgroupLoss) total() uint64 { return l.Process + l.Event }

// maxLosses is how many cgroups are told apart between two calls of Losses: the room of cgroups_lost in bpf/c/maps.h.
const maxLosses = 1024

// Losses returns what was lost since the last call by cgroup, the greatest loss first. At most 1,024 cgroups are told apart: what others
// lost is in Stats only. It is safe for concurrent use.
func (s *Sensor) Losses() ([]CgroupLoss, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	keys := make([]bpf.SensorCgroupKey, maxLosses)
	losses := make([]bpf.SensorCgroupLoss, maxLosses)
	var list []CgroupLoss
	var at ebpf.MapBatchCursor
	for range maxLosses { // bounds what a cgroup that comes back again and again could prolong
		n, err := s.coll.Maps[bpf.SensorMapCgroupsLost].BatchLookupAndDelete(&at, keys, losses, nil) // 5.6
		for i, k := range keys[:n] {
			list = append(list, CgroupLoss{ID: k.Id, V1: k.Hierarchy != 0, Process: losses[i].N[0], Event: losses[i].N[1]})
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) { // the end
			break
		}
		if err != nil {
			return nil, fmt.Errorf("take losses by cgroup: %w", err)
		}
	}
	slices.SortFunc(list, func(a, b CgroupLoss) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}
