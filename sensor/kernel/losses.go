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

// Losses returns what was lost since the last call by cgroup, the greatest loss first. At most 1,024 cgroups are told apart: what others
// lost is in Stats only. It is safe for concurrent use.
func (s *Sensor) Losses() ([]CgroupLoss, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	m := s.coll.Maps[bpf.SensorMapCgroupsLost]
	var keys []bpf.SensorCgroupKey
	var key bpf.SensorCgroupKey
	var loss bpf.SensorCgroupLoss
	it := m.Iterate()
	for it.Next(&key, &loss) {
		keys = append(keys, key)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read losses by cgroup: %w", err)
	}
	list := make([]CgroupLoss, 0, len(keys))
	for _, k := range keys {
		err := m.LookupAndDelete(k, &loss) // 5.14
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("take losses by cgroup: %w", err)
		}
		list = append(list, CgroupLoss{ID: k.Id, V1: k.Hierarchy != 0, Process: loss.N[0], Event: loss.N[1]})
	}
	slices.SortFunc(list, func(a, b CgroupLoss) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}
