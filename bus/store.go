package bus

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// maxLanes is how many messages of Store may be on their way at a time; who has one more waits.
const maxLanes = 1024

// laneReplies is how many reply subjects a lane takes in turn: a server that becomes the stream's leader may answer once more what the one
// before it has answered, always before it answers what came later.
const laneReplies = 4

// A Field is a header of a message.
type Field struct{ Key, Value string }

// A Receipt is what JetStream says of a message it has stored.
type Receipt struct {
	Sequence  uint64
	Duplicate bool // the stream had a message of that id already: Sequence is that one's
}

// A lane carries one message at a time into a stream, and the answer back. The client library gives each message a reply subject that
// occurs once, which the server looks up among all subscriptions, and has a goroutine hand the answers on.
type lane struct {
	replies [laneReplies]string
	next    int
	sub     *nats.Subscription
	answer  chan *nats.Msg
	timer   *time.Timer // stopped while the lane is free
	msg     nats.Msg    // one after the other: the client has copied it when PublishMsg returns
	values  []string    // of its headers
}

// lanes are those of one connection. They live as long as it.
type lanes struct {
	turns chan struct{} // holds one token per lane in use

	mu   sync.Mutex
	free []*lane // the last used is taken first; guarded by mu

	lost atomic.Pointer[chan struct{}] // closed when the connection was lost and is back: answers may have gone with it
}

func newLanes() *lanes {
	l := &lanes{turns: make(chan struct{}, maxLanes)}
	lost := make(chan struct{})
	l.lost.Store(&lost)
	return l
}

// reconnected ends the waiting for answers to what was sent before.
func (l *lanes) reconnected() {
	lost := make(chan struct{})
	close(*l.lost.Swap(&lost))
}

func (l *lanes) take(ctx context.Context, nc *nats.Conn) (*lane, error) {
	select {
	case l.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	if n := len(l.free); n > 0 {
		a := l.free[n-1]
		l.free = l.free[:n-1]
		l.mu.Unlock()
		return a, nil
	}
	l.mu.Unlock()
	a, err := newLane(nc)
	if err != nil {
		<-l.turns
		return nil, err
	}
	return a, nil
}

// give takes a lane back whose answer has come.
func (l *lanes) give(a *lane) {
	l.mu.Lock()
	l.free = append(l.free, a)
	l.mu.Unlock()
	<-l.turns
}

// drop ends a lane whose answer may come late.
func (l *lanes) drop(a *lane) {
	_ = a.sub.Unsubscribe() // an error says that the connection has ended
	<-l.turns
}

func newLane(nc *nats.Conn) (*lane, error) {
	a := &lane{answer: make(chan *nats.Msg, laneReplies), timer: time.NewTimer(time.Hour)}
	a.timer.Stop()
	inbox := nc.NewInbox()
	for i := range a.replies {
		a.replies[i] = inbox + "." + strconv.Itoa(i)
	}
	var err error
	a.sub, err = nc.ChanSubscribe(inbox+".*", a.answer)
	return a, err
}

func (a *lane) send(nc *nats.Conn, subject Subject, data []byte, fields []Field) error {
	a.next = (a.next + 1) % laneReplies
	a.msg.Subject, a.msg.Reply, a.msg.Data = string(subject), a.replies[a.next], data
	if a.msg.Header == nil {
		a.msg.Header = nats.Header{}
	}
	clear(a.msg.Header)
	a.values = a.values[:0]
	for _, f := range fields {
		a.values = append(a.values, f.Value)
	}
	for i, f := range fields {
		a.msg.Header[f.Key] = a.values[i : i+1 : i+1]
	}
	err := nc.PublishMsg(&a.msg)
	a.msg.Data = nil
	return err
}

// A Storing is a message on its way into a stream. Wait must be called, once.
type Storing struct {
	lanes *lanes
	lane  *lane
	lost  <-chan struct{}
}

// Store sends a message to the stream that has its subject and returns at once, unless very many are on their way; then it waits for one
// of them or ctx. It keeps nothing of data. While the connection is away it returns nats.ErrDisconnected: the client library would send the
// message once the connection is back, when who sent it has long been given up, and the stream may have forgotten why to refuse it.
func (b *Bus) Store(ctx context.Context, subject Subject, data []byte, fields ...Field) (Storing, error) {
	if !b.nc.IsConnected() {
		return Storing{}, fmt.Errorf("store in %s: %w", subject, nats.ErrDisconnected)
	}
	a, err := b.lanes.take(ctx, b.nc)
	if err != nil {
		return Storing{}, fmt.Errorf("store in %s: %w", subject, err)
	}
	s := Storing{lanes: b.lanes, lane: a, lost: *b.lanes.lost.Load()}
	if err := a.send(b.nc, subject, data, fields); err != nil {
		b.lanes.drop(a)
		return Storing{}, fmt.Errorf("store in %s: %w", subject, err)
	}
	return s, nil
}

// Wait returns when the stream has stored the message, after most at the latest. The error wraps what JetStream says, ErrWrongSequence,
// ErrStreamFull, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, or ctx.Err(). After an error that is not JetStream's refusal
// the message may be stored all the same.
func (s Storing) Wait(ctx context.Context, most time.Duration) (Receipt, error) {
	m, err := s.lane.wait(ctx, s.lost, most)
	if err != nil {
		s.lanes.drop(s.lane)
		return Receipt{}, err
	}
	s.lanes.give(s.lane)
	return receipt(m)
}

// wait returns the answer to the message that was sent last.
func (a *lane) wait(ctx context.Context, lost <-chan struct{}, most time.Duration) (*nats.Msg, error) {
	a.timer.Reset(most)
	defer a.timer.Stop()
	for {
		select {
		case m := <-a.answer:
			if m.Subject == a.replies[a.next] {
				return m, nil
			}
		case <-lost:
			return nil, nats.ErrDisconnected
		case <-a.timer.C:
			return nil, nats.ErrTimeout
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// receipt reads JetStream's answer to a message.
func receipt(m *nats.Msg) (Receipt, error) {
	duplicate, err := parseAck(m)
	if err != nil {
		return Receipt{}, err
	}
	_, rest, ok := bytes.Cut(m.Data, []byte(`"seq":`))
	digits := bytes.TrimLeft(rest, " ")
	end := bytes.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || end < 0 {
		return Receipt{}, fmt.Errorf("unintelligible acknowledgement %q", m.Data)
	}
	n, err := strconv.ParseUint(string(digits[:end]), 10, 64)
	if err != nil {
		return Receipt{}, fmt.Errorf("unintelligible acknowledgement %q: %w", m.Data, err)
	}
	return Receipt{Sequence: n, Duplicate: duplicate}, nil
}
