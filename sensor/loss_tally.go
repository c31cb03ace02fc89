package sensor

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A ContainerLoss is how many records one container, or one cgroup of the host, lost since the sensor's start.
type ContainerLoss struct {
	Container string    `json:"container,omitempty"` // its short id, or "host"; "" for those that Others counts
	Name      string    `json:"name,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Pod       string    `json:"pod,omitempty"`
	Cgroup    string    `json:"cgroup,omitempty"`
	Others    int       `json:"others,omitempty"` // how many smaller losses stand here together
	Process   uint64    `json:"process"`          // records of processes and cgroups
	Event     uint64    `json:"event"`            // records of other events
	Last      time.Time `json:"last"`
}

func (c *ContainerLoss) total() uint64 { return c.Process + c.Event }

// maxTallied is of how many containers losses are told apart. Beyond it the smallest goes to the others.
const maxTallied = 64

// A lossTally adds up losses by container. Its zero value is empty; it is safe for concurrent use.
type lossTally struct {
	mu     sync.Mutex
	of     map[string]*ContainerLoss // guarded by mu; by container and cgroup
	others ContainerLoss             // guarded by mu
}

// add adds one loss. Of a container the cgroup is the one of its last loss.
func (t *lossTally) add(c ContainerLoss) {
	key := c.Container
	if key == hostName {
		key += " " + c.Cgroup
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.of[key]; known != nil {
		c.Process += known.Process
		c.Event += known.Event
	} else if len(t.of) == maxTallied {
		t.dropSmallest()
	}
	if t.of == nil {
		t.of = map[string]*ContainerLoss{}
	}
	t.of[key] = &c
}

// dropSmallest moves the smallest loss to the others; t.mu is held.
func (t *lossTally) dropSmallest() {
	least := ""
	for key, c := range t.of {
		if least == "" || c.total() < t.of[least].total() {
			least = key
		}
	}
	c := t.of[least]
	delete(t.of, least)
	t.others.Others++
	t.others.Process += c.Process
	t.others.Event += c.Event
	if c.Last.After(t.others.Last) {
		t.others.Last = c.Last
	}
}

// list returns the losses, the greatest first and the others last.
func (t *lossTally) list() []ContainerLoss {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]ContainerLoss, 0, len(t.of)+1)
	for _, c := range t.of {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b ContainerLoss) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Cgroup, b.Cgroup))
	})
	if t.others.Others > 0 {
		list = append(list, t.others)
	}
	return list
}

// Losses returns what containers lost since the start, the greatest loss first. It is safe for concurrent use.
func (s *Sensor) Losses() []ContainerLoss { return s.lost.list() }
