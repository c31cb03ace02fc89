package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Publisher sends messages to JetStream without making its callers wait.
//
// It promises:
//
//   - A message that was accepted (Publish returned nil) is either acknowledged by JetStream, and OnAck called, or given up, counted by
//     reason and OnError called. Never both, never neither, once Run has returned.
//   - Messages are stored in the order of their acceptance, also across a loss of the connection. Only what the server refused for the
//     moment while it took later messages comes behind those, as when a cluster elects a new leader for the stream.
//   - While the server is away or does not acknowledge, everything unacknowledged is kept up to MaxMessages and MaxBytes and sent again,
//     under the same Nats-Msg-Id, so that the stream holds it once if it is back within its duplicate window (2 min). Beyond the bound
//     the oldest goes (ErrOverflow).
//   - Publish never blocks.
//
// It does not survive its process: what was not acknowledged then is lost, unless its owner has kept it (package spool). It is safe for concurrent use.
type Publisher struct {
	cfg     PublisherConfig
	bus     *Bus
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // capacity 1: there is something to do
	idle    chan struct{} // capacity 1: the queue has become empty

	calls sync.WaitGroup // of messages that have left the queue and whose owner is being told; added to under mu

	mu    sync.Mutex
	q     window    // guarded by mu
	up    bool      // guarded by mu: a connection stands
	why   error     // guarded by mu: why it does not, or nothing is stored
	pause time.Time // guarded by mu: send nothing before
	tries int       // guarded by mu: refusals in a row
	shut  bool      // guarded by mu: accept nothing more
}

// NewPublisher returns a Publisher with a connection of its own to the server that b is connected to. It does nothing before Run; what is
// published until then is queued. It panics if cfg is not valid.
func NewPublisher(b *Bus, cfg PublisherConfig, opts ...Option) *Publisher {
	if err := cfg.Validate(); err != nil {
		panic("bus: publisher: " + err.Error())
	}
	o := b.opts
	for _, f := range opts {
		f(&o)
	}
	m := b.metrics
	if o.registry != b.opts.registry {
		m = newMetrics(o.registry)
	}
	return &Publisher{
		cfg: cfg, bus: b, log: o.log, metrics: m, why: errors.New("not connected yet"),
		wake: make(chan struct{}, 1), idle: make(chan struct{}, 1),
	}
}

// Publish queues e for subject, in structured mode. It returns ErrClosed, ErrTooLarge, or an error that wraps ErrInvalidEvent if a
// required attribute is missing; it does not look into e.Data. It keeps nothing of e.
func (p *Publisher) Publish(subject Subject, e *Event) error {
	m, err := NewMessage(subject, e)
	if err != nil {
		return err
	}
	return p.PublishMessage(m)
}

// PublishSync is Publish, and waits until JetStream has stored e or it was given up; it then returns the reason. When ctx ends it returns
// at once, and e may be stored all the same.
func (p *Publisher) PublishSync(ctx context.Context, subject Subject, e *Event) error {
	m, err := NewMessage(subject, e)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	m.done = func(err error) { done <- err }
	if err := p.PublishMessage(m); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NewMessage returns the message of e, in structured mode. It returns an error that wraps ErrInvalidEvent if a required attribute is missing.
func NewMessage(subject Subject, e *Event) (*Message, error) {
	if e.ID == "" || e.Source == "" || e.Type == "" {
		return nil, fmt.Errorf("%w: id, source or type is missing", ErrInvalidEvent)
	}
	m := StructuredMessage(subject, e.ID, Marshal(e))
	m.Time = e.Time
	return m, nil
}

// StructuredMessage returns the message of the event id whose structured mode is data.
func StructuredMessage(subject Subject, id string, data []byte) *Message {
	return &Message{Subject: subject, ID: id, Data: data, Header: nats.Header{headerContentType: []string{structuredJSON}}}
}

// PublishMessage queues m. It returns ErrClosed or ErrTooLarge.
func (p *Publisher) PublishMessage(m *Message) error {
	if len(m.Data) > MaxEventSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(m.Data), MaxEventSize)
	}
	if m.ID != "" {
		if m.Header == nil {
			m.Header = make(nats.Header, 1)
		}
		m.Header[jetstream.MsgIDHeader] = []string{m.ID}
	}
	var dropped []*Message
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return ErrClosed
	}
	m.Queued = time.Now()
	p.q.push(m)
	for p.q.len() > p.cfg.MaxMessages || (p.q.bytes > p.cfg.MaxBytes && p.q.len() > 1) {
		dropped = append(dropped, p.q.dropOldest())
	}
	p.calls.Add(len(dropped))
	p.measure()
	p.mu.Unlock()
	signal(p.wake)
	for _, d := range dropped {
		p.fail(d, dropOverflow, ErrOverflow)
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// measure sets the gauges; p.mu is held.
func (p *Publisher) measure() {
	p.metrics.queueMessages.Set(float64(p.q.len()))
	p.metrics.queueBytes.Set(float64(p.q.bytes))
}

// fail tells that m was given up. calls was added to when m left the queue.
func (p *Publisher) fail(m *Message, reason string, err error) {
	defer p.calls.Done()
	if reason != dropShutdown || !p.cfg.Kept {
		p.metrics.dropped.WithLabelValues(reason).Inc()
	}
	if m.done != nil {
		m.done(err)
	}
	if p.cfg.OnError != nil {
		p.cfg.OnError(m, err)
	}
}

// Pending is how many messages are not acknowledged yet.
func (p *Publisher) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.q.len()
}

// slowAck is how long an acknowledgement may take before Ready says so.
const slowAck = time.Second

// Ready returns nil while messages get through, otherwise why they do not.
func (p *Publisher) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.shut:
		return ErrClosed
	case p.why != nil:
		return p.why
	case !p.q.oldestSent().IsZero() && time.Since(p.q.oldestSent()) > slowAck:
		return fmt.Errorf("JetStream has not acknowledged for %v", time.Since(p.q.oldestSent()).Round(time.Second))
	case p.q.len() >= p.cfg.MaxMessages*9/10 || p.q.bytes >= p.cfg.MaxBytes/10*9:
		return fmt.Errorf("the publisher's queue is nearly full: %d messages, %d bytes", p.q.len(), p.q.bytes)
	}
	return nil
}

// Drain accepts nothing more and waits until everything accepted is acknowledged or given up. It returns ErrUnfinished with the number
// that is left when ctx ends before. Run must be running.
func (p *Publisher) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.shut = true
	p.mu.Unlock()
	signal(p.wake)
	for {
		n := p.Pending()
		if n == 0 {
			signal(p.idle) // for another one who drains
			p.calls.Wait()
			return nil
		}
		select {
		case <-p.idle:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d messages", ErrUnfinished, n)
		}
	}
}

// Run connects, sends, and connects again, until ctx has ended; then it accepts nothing more, waits up to DrainWait for what is left, and
// gives up the rest. It returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopped := context.AfterFunc(ctx, func() {
		defer cancel()
		drain, stop := context.WithTimeout(hard, p.cfg.DrainWait)
		defer stop()
		_ = p.Drain(drain)
	})
	defer stopped()
	for attempt := 1; hard.Err() == nil; attempt++ {
		sent, err := p.session(hard)
		if hard.Err() != nil {
			break
		}
		if sent {
			attempt = 1
		}
		p.down(err, attempt)
		select {
		case <-time.After(reconnectDelay(attempt)):
		case <-hard.Done():
		}
	}
	p.abandon()
	return nil
}

// down notes the loss of the connection. It is logged once.
func (p *Publisher) down(err error, attempt int) {
	p.mu.Lock()
	was := p.up
	p.up, p.why = false, fmt.Errorf("connection to NATS is down: %w", err)
	n := p.q.len()
	p.mu.Unlock()
	if was || attempt == 1 {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "publisher lost its connection; messages are kept", slog.Any("err", err), slog.Int("pending", n))
	}
}

// abandon gives up what is left when Run ends.
func (p *Publisher) abandon() {
	p.mu.Lock()
	p.shut, p.up = true, false
	var left []*Message
	for p.q.len() > 0 {
		left = append(left, p.q.dropOldest())
	}
	p.calls.Add(len(left))
	p.measure()
	p.mu.Unlock()
	for _, m := range left {
		p.fail(m, dropShutdown, ErrUnfinished)
	}
	p.calls.Wait()
	signal(p.idle)
}

// session sends over one connection until it is lost or ctx ends. A connection that breaks is not mended: what follows is sent over a new
// one, from the first message that is not acknowledged, so that order holds.
func (p *Publisher) session(ctx context.Context) (sent bool, err error) {
	lost := make(chan error, 1)
	nc, err := p.bus.dial(ctx, nats.NoReconnect(), nats.Name(p.bus.cfg.Name+"-publisher"),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); err != nil {
				lost <- err
			} else {
				lost <- nats.ErrConnectionClosed
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				p.denied(err)
			}
		}))
	if err != nil {
		return false, err
	}
	defer nc.Close()
	inbox := nats.NewInbox()
	if _, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) { p.acknowledged(m) }); err != nil {
		return false, err
	}
	p.mu.Lock()
	p.metrics.retries.Add(float64(p.q.rewind(p.q.first)))
	p.up, p.why, p.pause = true, nil, time.Time{}
	p.mu.Unlock()
	return true, p.pump(ctx, nc, inbox+".", lost)
}

// pump sends whenever there is something to send and room in flight.
func (p *Publisher) pump(ctx context.Context, nc *nats.Conn, prefix string, lost <-chan error) error {
	tick := time.NewTicker(max(p.cfg.AckWait/8, time.Millisecond))
	defer tick.Stop()
	resume := time.NewTimer(time.Hour)
	defer resume.Stop()
	var batch []outgoing
	for {
		var inFlight bool
		batch, inFlight = p.take(batch[:0], resume)
		for i := range batch {
			o := &batch[i]
			err := nc.PublishMsg(&nats.Msg{Subject: string(o.m.Subject), Reply: prefix + o.token.String(), Header: o.m.Header, Data: o.m.Data})
			if err == nil {
				continue
			}
			if !refusedByClient(err) {
				return err // the connection is broken, whether the client has noticed or not
			}
			p.refuse(o.token, fmt.Errorf("publish to %q: %w", o.m.Subject, err))
		}
		if len(batch) > 0 {
			continue
		}
		due := tick.C
		if !inFlight {
			due = nil // an idle process does not wake up
		}
		select {
		case <-p.wake:
		case <-resume.C:
		case <-due:
			p.expire()
		case err := <-lost:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refusedByClient reports whether the client library will not send a message over any connection.
func refusedByClient(err error) bool {
	return errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrHeadersNotSupported) ||
		errors.Is(err, nats.ErrBadHeaderMsg)
}

// take returns the next messages to send, and whether any is not acknowledged.
func (p *Publisher) take(batch []outgoing, resume *time.Timer) (_ []outgoing, inFlight bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if d := p.pause.Sub(now); d > 0 {
		resume.Reset(d)
		return batch, p.q.inFlight > 0
	}
	for len(batch) < 64 && p.q.inFlight < p.cfg.MaxInFlight && p.q.inFlightBytes < p.cfg.MaxInFlightBytes {
		token, m := p.q.next(now)
		if m == nil {
			break
		}
		batch = append(batch, outgoing{token, m})
	}
	return batch, p.q.inFlight > 0
}

// expire sends everything again if the oldest message in flight has waited too long for its acknowledgement.
func (p *Publisher) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.q.oldestSent().IsZero() || time.Since(p.q.oldestSent()) < p.cfg.AckWait {
		return
	}
	p.why = fmt.Errorf("JetStream has not acknowledged for %v", p.cfg.AckWait)
	p.metrics.retries.Add(float64(p.q.rewind(p.q.first)))
	signal(p.wake)
}
