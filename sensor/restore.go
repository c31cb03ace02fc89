package sensor

import (
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// restore reads the processes of the machine again, since records of some were lost: those that are there and not known are added, those
// that are known and not there have ended, and cgroups get their paths. What was lost of processes that came and went is gone.
func (s *Sensor) restore(src Source) {
	p := &s.pipeline
	since := p.now()
	alive := map[process.Key]bool{}
	added := 0
	known := func(ev *event.Event) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.table.Known(process.Key{PID: ev.Task.PID, StartNS: ev.Task.StartNS}, ev.Task.ExecGen)
	}
	err := s.reread(src, known, func(ev *event.Event) {
		if ev.Task.PID != 0 {
			alive[process.Key{PID: ev.Task.PID, StartNS: ev.Task.StartNS}] = true
			if known(ev) {
				return
			}
			added++
		}
		p.handle(ev)
	})
	if err != nil {
		s.log.Warn("processes not read again after a loss", "err", err)
		return
	}
	p.mu.Lock()
	ended := p.table.Restore(func(k process.Key) bool { return alive[k] }, since)
	p.mu.Unlock()
	s.metrics.restored.WithLabelValues("added").Add(float64(added))
	s.metrics.restored.WithLabelValues("ended").Add(float64(ended))
	s.log.Info("processes read again after a loss", "added", added, "ended", ended)
}

// reread reads the processes of the machine; one at a time does.
func (s *Sensor) reread(src Source, known func(*event.Event) bool, handle func(*event.Event)) error {
	s.rereadMu.Lock()
	defer s.rereadMu.Unlock()
	return src.Reread(known, handle)
}
