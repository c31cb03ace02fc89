package sensor

import (
	"fmt"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
)

// A losses tells when records were lost on the way out of the kernel.
type losses struct {
	s    *Sensor
	src  Source
	last map[[2]string]uint64 // by ring and reason
}

// newLosses returns a losses to which all that was lost so far is old.
func newLosses(s *Sensor, src Source) *losses {
	return &losses{s: s, src: src, last: map[[2]string]uint64{}}
}

// look makes one event of what was lost in each ring since the last look.
func (l *losses) look() {
	st, err := l.src.Stats()
	if err != nil {
		l.s.log.Warn("counters of the rings not read", "err", err)
		return
	}
	for _, ring := range st.Rings {
		var lost uint64
		fields := []rules.OutputField{}
		for _, loss := range ring.Lost { // in a fixed order
			k := [2]string{ring.Name, loss.Reason}
			n := loss.Count - l.last[k]
			l.last[k] = loss.Count
			lost += n
			fields = append(fields, rules.OutputField{Name: "lost." + loss.Reason, Value: n})
		}
		if lost == 0 {
			continue
		}
		fields = append(fields, rules.OutputField{Name: "ring", Value: ring.Name})
		l.s.log.Warn("records were lost", "ring", ring.Name, "records", lost)
		l.s.reporter.internal("Tiercel internal: records lost", rules.Warning,
			fmt.Sprintf("Records were lost on their way out of the kernel | ring=%s lost=%d", ring.Name, lost), fields, bus.TypeRecordsLost)
	}
}
