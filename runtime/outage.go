package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// lost gives up an attempt that may write nothing more: the lease is gone, another has the invocation, the bus is away, or a fault was
// injected. The message shows when it comes again what has become of it.
func (i *invocation) lost(ctx context.Context, log *journal.Log, err error) dispatch.Verdict {
	s := journal.Suspend{Cause: "the bus was away: " + err.Error(), Outage: true}
	if before := i.state.Suspend; before != nil {
		s.Step, s.Tries, s.Fresh = before.Step, before.Tries, before.Fresh
	}
	return i.giveUp(ctx, log, err, s)
}

// giveUp is lost for an attempt that ends with s if the bus was away.
func (i *invocation) giveUp(ctx context.Context, log *journal.Log, err error, s journal.Suspend) dispatch.Verdict {
	if errors.Is(err, errDied) {
		return dispatch.Leave()
	}
	i.rt.log.Debug("attempt is given up", "function", i.token, "event_id", i.d.Event.ID, "err", err)
	i.rt.metrics.givenUp(i.token)
	if !errors.Is(err, journal.ErrTaken) && i.rt.outage(i.epoch, err) {
		err = i.interrupt(ctx, log, err, s)
	}
	if errors.Is(err, journal.ErrTaken) || errors.Is(err, journal.ErrLease) {
		return dispatch.After(func(ctx context.Context) dispatch.Verdict { return i.rest(ctx, i.rt.cfg.Lease/4) })
	}
	return i.later(err)
}

// epoch changes with each loss of the connection to the bus.
func (r *Runtime) epoch() uint64 { return r.deps.Bus.Conn().Stats().Reconnects }

// outage reports whether an attempt that began in the epoch since and ended with err ended because the bus was away.
func (r *Runtime) outage(since uint64, err error) bool {
	if !r.deps.Bus.Conn().IsConnected() || r.epoch() != since {
		return true
	}
	// Connected, but nobody answers: JetStream is starting, or has no leader.
	for _, e := range []error{nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

const (
	outagePause  = 100 * time.Millisecond
	outageBound  = 30 * time.Second // for a bus that is there and still takes nothing; then the attempt counts as one that died
	outageAnswer = 5 * time.Second  // for one read and one append
)

// interrupt waits until the bus is back and records that the attempt was cut short, so that it does not count as one that died. The
// invocation stays marked as attempted here meanwhile: nothing else could be done for it. It returns cause, or journal.ErrTaken.
func (i *invocation) interrupt(ctx context.Context, log *journal.Log, cause error, s journal.Suspend) error {
	clock, conn := i.rt.deps.Clock, i.rt.deps.Bus.Conn()
	for up := time.Duration(0); up < outageBound && !conn.IsClosed(); {
		if conn.IsConnected() {
			began := clock.Boot()
			if s.Until.IsZero() {
				s.Until = clock.Now()
			}
			actx, cancel := context.WithTimeout(ctx, outageAnswer)
			err := log.Interrupt(actx, s)
			cancel()
			if err == nil {
				return cause
			}
			if errors.Is(err, journal.ErrTaken) {
				return err
			}
			up += clock.Boot() - began + outagePause
		}
		if !sleep(ctx, outagePause) {
			break
		}
	}
	i.rt.log.Warn("outage of the bus could not be recorded: the attempt counts as one that died", "function", i.token, "event_id", i.d.Event.ID, "err", cause)
	return cause
}
