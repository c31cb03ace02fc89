package process

// outsidePerSecond bounds how often the machine is asked for a process whose records were lost, by the time of the events. Under a flood
// that loses records it would cost more than the flood; Restore makes up for what was not asked.
const outsidePerSecond = 500

// mayAsk reports whether the machine may be asked for one process more at boot time ns.
func (t *Table) mayAsk(ns uint64) bool {
	if ns-t.asked.since > 1e9 { // an earlier time too
		t.asked.since, t.asked.n = ns, 0
	}
	t.asked.n++
	return t.asked.n <= outsidePerSecond
}

// Known reports whether the image of exec generation gen of k is known from its own record: it need not be read again.
func (t *Table) Known(k Key, gen uint32) bool {
	p := t.Find(k)
	return p != nil && !p.Incomplete && p.exact(gen) != nil
}

// Restore ends the processes that were there before boot time since, did nothing after it, and for which alive is false: the records of
// their end were lost. It returns how many they were.
func (t *Table) Restore(alive func(Key) bool, since uint64) (ended int) {
	for _, p := range t.byPID {
		if p.ExitNS != 0 || p.StartNS >= since || p.seenNS >= since || alive(p.Key) {
			continue
		}
		t.gone(p, since)
		t.stats.Reaped++
		ended++
	}
	return ended
}
