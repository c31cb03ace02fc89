package kernel

// turnRecords is how many records of one cgroup are handed out before those of others have their turn.
const turnRecords = 64

// An entry is a record that waits for its turn.
type entry struct {
	time uint64
	pos  uint64 // of its header
	n    uint32
	mark uint64 // its number among the marks
}

// A mark is a record that has been looked at, in the order of the ring.
type mark struct {
	pos  uint64
	done bool
}

// A place is where the last record of a cgroup stands.
type place struct {
	turn uint64
	n    int // of its records in that turn
}

// A queue puts the records of a ring into the order in which they are handed out: by time, but where a cgroup has more than perTurn records
// waiting the rest of them comes after the first ones of everybody else. So a cgroup that floods the ring makes itself wait and nobody else.
type queue struct {
	perTurn int // 0: by time alone

	turns  [][]entry // the one being handed out, and those after it
	at     int       // of the next entry in turns[0]
	turn   uint64    // number of turns[0]
	left   int       // entries in all turns
	places map[uint64]*place
	key    uint64 // of last
	last   *place // nil: none

	marks []mark // from head on those that are not behind the consumer's position
	head  int
	base  uint64 // number of marks[head]
}

// maxPlaces is how many cgroups are remembered that have nothing in the queue.
const maxPlaces = 4096

// add appends an entry of the cgroup that key stands for.
func (q *queue) add(e entry, key uint64) {
	e.mark = q.base + uint64(len(q.marks)-q.head)
	q.marks = append(q.marks, mark{pos: e.pos})
	i := 0
	if q.perTurn > 0 {
		i = int(q.place(key) - q.turn)
	}
	for i >= len(q.turns) {
		q.turns = append(q.turns, nil)
	}
	q.turns[i] = append(q.turns[i], e)
	q.left++
}

// place returns the number of the turn of the next record of a cgroup.
func (q *queue) place(key uint64) uint64 {
	p := q.last
	if p == nil || q.key != key {
		if q.places == nil || q.left == 0 && len(q.places) > maxPlaces {
			q.places = map[uint64]*place{}
		}
		if p = q.places[key]; p == nil {
			p = new(place)
			q.places[key] = p
		}
		q.key, q.last = key, p
	}
	if p.turn < q.turn {
		p.turn, p.n = q.turn, 0
	}
	if p.n == q.perTurn {
		p.turn, p.n = p.turn+1, 0
	}
	p.n++
	return p.turn
}

// sort puts what is left of the turn in the order of time.
func (q *queue) sort() {
	if len(q.turns) > 0 {
		sortNearly(q.turns[0][q.at:])
	}
}

// first returns the next entry of the turn, nil if it is over.
func (q *queue) first() *entry {
	if len(q.turns) == 0 || q.at == len(q.turns[0]) {
		return nil
	}
	return &q.turns[0][q.at]
}

// take takes first off the queue.
func (q *queue) take() {
	q.marks[q.head+int(q.turns[0][q.at].mark-q.base)].done = true
	q.at++
	q.left--
}

// end ends the turn if it is over.
func (q *queue) end() {
	if q.first() != nil {
		return
	}
	q.turn++
	if len(q.turns) == 0 {
		return
	}
	over := q.turns[0][:0]
	copy(q.turns, q.turns[1:])
	q.turns[len(q.turns)-1] = over // its memory is used again
	q.at = 0
}

// oldest returns the position of the oldest record that has not been taken; if there is none, scan.
func (q *queue) oldest(scan uint64) uint64 {
	for q.head < len(q.marks) && q.marks[q.head].done {
		q.head++
		q.base++
	}
	if q.head == len(q.marks) {
		q.marks, q.head = q.marks[:0], 0
		return scan
	}
	pos := q.marks[q.head].pos
	if q.head > len(q.marks)/2 {
		q.marks = q.marks[:copy(q.marks, q.marks[q.head:])]
		q.head = 0
	}
	return pos
}

// before counts the records before position end that have not been taken.
func (q *queue) before(end uint64) (n uint64) {
	for i := q.head; i < len(q.marks) && q.marks[i].pos < end; i++ {
		if !q.marks[i].done {
			n++
		}
	}
	return n
}

// sortNearly sorts entries by time; they are almost sorted.
func sortNearly(p []entry) {
	for i := 1; i < len(p); i++ {
		e := p[i]
		j := i
		for ; j > 0 && p[j-1].time > e.time; j-- {
			p[j] = p[j-1]
		}
		p[j] = e
	}
}
