package sensor

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/domain"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A recording writes what a pipeline is given, and what it learns, to a capture. Its methods do nothing on a nil recording. After the first
// error it writes nothing more, but for names to a capture that is full of events.
type recording struct {
	w       *capture.Writer
	p       *pipeline // whose mu guards all below
	domains *domain.Names

	err        error
	stop       context.CancelFunc // called at the first error; may be nil
	offset     int64
	containers map[string]*container.Identity
	names      map[container.Root]capture.Names
	resolved   capture.Domains
}

func newRecording(w *capture.Writer, p *pipeline, domains *domain.Names) *recording {
	return &recording{
		w: w, p: p, domains: domains, containers: map[string]*container.Identity{}, names: map[container.Root]capture.Names{},
	}
}

// onError has stop called at the first error.
func (r *recording) onError(stop context.CancelFunc) {
	if r == nil {
		return
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.stop = stop; r.err != nil {
		stop()
	}
}

// failed notes err, if it is one, and reports whether nothing more is written.
func (r *recording) failed(err error) bool {
	if err != nil && r.err == nil {
		r.err = err
		if r.stop != nil {
			r.stop()
		}
	}
	return r.err != nil
}

// event records ev; p.mu is held.
func (r *recording) event(ev *event.Event) {
	if r == nil || r.failed(nil) {
		return
	}
	r.clock()
	r.failed(r.w.Event(ev))
}

// clock records the clock if it was set since.
func (r *recording) clock() {
	if now := r.p.clock.offset.Load(); now != r.offset {
		r.offset = now
		r.failed(r.w.Clock(now))
	}
}

// learn records what was learned since, and flushes.
func (r *recording) learn() {
	if r == nil {
		return
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.err != nil && !errors.Is(r.err, capture.ErrFull) {
		return
	}
	r.p.cgroups.Each(func(id *container.Identity) {
		if id.State == container.Resolved && r.containers[id.Container] != id {
			r.containers[id.Container] = id
			r.failed(r.w.Container(&capture.Container{ID: id.ID, Info: id.Info}))
		}
	})
	r.p.users.Each(func(root container.Root, users map[uint32]container.User, groups map[uint32]string) {
		if old, ok := r.names[root]; ok && maps.Equal(old.Users, users) && maps.Equal(old.Groups, groups) {
			return
		}
		n := capture.Names{Root: root, Users: users, Groups: groups}
		r.names[root] = n
		r.failed(r.w.Names(&n))
	})
	if now := r.domains.All(); !maps.EqualFunc(r.resolved, now, slices.Equal[[]string]) {
		r.resolved = now
		r.failed(r.w.Domains(now))
	}
	r.failed(r.w.Flush())
}

// finish records what is left and returns the first error.
func (r *recording) finish() error {
	if r == nil {
		return nil
	}
	r.learn()
	return r.err
}
