package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of publishing.
var (
	ErrClosed       = errors.New("publisher is closed")
	ErrTooLarge     = errors.New("message is too large")
	ErrOverflow     = errors.New("dropped: the queue was full")
	ErrUnfinished   = errors.New("dropped: not acknowledged before the end")
	ErrStreamFull   = errors.New("stream is full")
	ErrNotPermitted = errors.New("the server does not permit publishing there")
)

// A PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// MaxMessages and MaxBytes bound what is kept until it is acknowledged, sent or not. Beyond, the oldest is dropped. Positive.
	// Default 65536 and 64 MiB.
	MaxMessages int
	MaxBytes    int

	// MaxInFlight and MaxInFlightBytes bound what is sent and not acknowledged. Positive. Default 1024 and 8 MiB.
	MaxInFlight      int
	MaxInFlightBytes int

	// AckWait is how long an acknowledgement may take before what is in flight is sent again. Positive. Default 5s.
	AckWait time.Duration

	// DrainWait is how long Run goes on after its context has ended, to get the rest acknowledged. Default 5s.
	DrainWait time.Duration

	// OnAck is called when JetStream has stored a message, OnError when one was given up: from the publisher's goroutines, several at a
	// time, and OnError also from within Publish (ErrOverflow). They must be quick and not call the Publisher. Either may be nil.
	OnAck   func(*Message)
	OnError func(*Message, error)
}

// DefaultPublisherConfig returns the defaults.
func DefaultPublisherConfig() PublisherConfig {
	return PublisherConfig{
		MaxMessages: 65536, MaxBytes: 64 * mib, MaxInFlight: 1024, MaxInFlightBytes: 8 * mib,
		AckWait: 5 * time.Second, DrainWait: 5 * time.Second,
	}
}

// Validate returns all that is wrong with c.
func (c *PublisherConfig) Validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		n    int
	}{
		{"maxMessages", c.MaxMessages},
		{"maxBytes", c.MaxBytes},
		{"maxInFlight", c.MaxInFlight},
		{"maxInFlightBytes", c.MaxInFlightBytes},
		{"ackWait", int(c.AckWait)},
	} {
		if f.n <= 0 {
			errs = append(errs, fmt.Errorf("%s: not positive", f.name))
		}
	}
	return errors.Join(errs...)
}

// A Message is what a Publisher sends. Its owner must not change it after handing it over.
type Message struct {
	Subject Subject
	ID      string    // the Nats-Msg-Id; empty for none, then a retry may store it twice
	Time    time.Time // the event's, for whoever measures; not sent
	Queued  time.Time // when the Publisher accepted it; it sets this
	Header  nats.Header
	Data    []byte

	done func(error) // called once, before OnAck or OnError
}

// A Publisher sends messages to JetStream without making its callers wait.
//
// It promises:
//
//   - A message that was accepted (Publish returned nil) is either acknowledged by JetStream, and OnAck called, or given up, counted by
//     reason and OnError called. Never both, never neither, once Run has returned.
//   - Messages are stored in the order of their acceptance, also across a loss of the connection; only a message that the server
//     refused for the moment while it took later ones comes behind those.
//   - While the server is away or does not acknowledge, everything unacknowledged is kept up to MaxMessages and MaxBytes and sent again,
//     under the same Nats-Msg-Id, so that the stream holds it once if it is back within its duplicate window (2 min). Beyond the bound
//     the oldest goes (ErrOverflow).
//   - Publish never blocks.
//
// It does not survive its process: what was not acknowledged then is lost. It is safe for concurrent use.
type Publisher struct {
	cfg     PublisherConfig
	bus     *Bus
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // capacity 1: there is something to do
	idle    chan struct{} // capacity 1: the queue has become empty

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
	m, err := eventMessage(subject, e)
	if err != nil {
		return err
	}
	return p.PublishMessage(m)
}

// PublishSync is Publish, and waits until JetStream has stored e or it was given up; it then returns the reason. When ctx ends it returns
// at once, and e may be stored all the same.
func (p *Publisher) PublishSync(ctx context.Context, subject Subject, e *Event) error {
	m, err := eventMessage(subject, e)
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

func eventMessage(subject Subject, e *Event) (*Message, error) {
	if e.ID == "" || e.Source == "" || e.Type == "" {
		return nil, fmt.Errorf("%w: id, source or type is missing", ErrInvalidEvent)
	}
	return &Message{
		Subject: subject, ID: e.ID, Time: e.Time, Data: Marshal(e),
		Header: nats.Header{headerContentType: []string{structuredJSON}},
	}, nil
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

// fail tells that m was given up.
func (p *Publisher) fail(m *Message, reason string, err error) {
	p.metrics.dropped.WithLabelValues(reason).Inc()
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
	p.measure()
	p.mu.Unlock()
	for _, m := range left {
		p.fail(m, dropShutdown, ErrUnfinished)
	}
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
		batch = p.take(batch[:0], resume)
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
		select {
		case <-p.wake:
		case <-resume.C:
		case <-tick.C:
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

// take returns the next messages to send.
func (p *Publisher) take(batch []outgoing, resume *time.Timer) []outgoing {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if d := p.pause.Sub(now); d > 0 {
		resume.Reset(d)
		return batch
	}
	for len(batch) < 64 && p.q.inFlight < p.cfg.MaxInFlight && p.q.inFlightBytes < p.cfg.MaxInFlightBytes {
		token, m := p.q.next(now)
		if m == nil {
			break
		}
		batch = append(batch, outgoing{token, m})
	}
	return batch
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

// acknowledged takes the server's answer to one message.
func (p *Publisher) acknowledged(reply *nats.Msg) {
	token, ok := parseToken(reply.Subject[strings.LastIndexByte(reply.Subject, '.')+1:])
	if !ok {
		return
	}
	duplicate, err := parseAck(reply)
	switch {
	case err == nil:
		p.stored(token, duplicate)
	case isFinal(err):
		p.refuse(token, err)
	default:
		p.postpone(token, err)
	}
}

func (p *Publisher) stored(token token, duplicate bool) {
	p.mu.Lock()
	m := p.q.remove(token)
	p.why, p.tries = nil, 0
	empty := p.q.len() == 0
	p.measure()
	p.mu.Unlock()
	signal(p.wake)
	if m == nil {
		return // acknowledged twice, or dropped in the meantime
	}
	p.metrics.published.Inc()
	p.metrics.publish.Observe(time.Since(m.Queued).Seconds())
	if duplicate {
		p.metrics.duplicates.Inc()
	}
	if m.done != nil {
		m.done(nil)
	}
	if p.cfg.OnAck != nil {
		p.cfg.OnAck(m)
	}
	if empty {
		signal(p.idle)
	}
}

// refuse gives up a message that the server will never take.
func (p *Publisher) refuse(token token, err error) {
	p.mu.Lock()
	m := p.q.remove(token)
	empty := p.q.len() == 0
	p.measure()
	p.mu.Unlock()
	signal(p.wake)
	if m != nil {
		p.fail(m, dropRefused, err)
	}
	if empty {
		signal(p.idle)
	}
}

// postpone sends from this message on again, after a while.
func (p *Publisher) postpone(token token, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.q.has(token) {
		return
	}
	if p.tries == 0 {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "JetStream does not take messages for now; they are kept", slog.Any("err", err))
	}
	p.why = fmt.Errorf("JetStream does not take messages: %w", err)
	if time.Now().Before(p.pause) {
		p.metrics.retries.Add(float64(p.q.rewind(token)))
		return
	}
	p.tries++
	p.pause = time.Now().Add(backoff(p.tries, 20*time.Millisecond, 2*time.Second))
	p.metrics.retries.Add(float64(p.q.rewind(token)))
	signal(p.wake)
}

// denied gives up the messages to the subject that a permission error of the server names.
func (p *Publisher) denied(err error) {
	text := err.Error()
	p.mu.Lock()
	var gone []*Message
	p.q.eachInFlight(func(t token, m *Message) {
		if strings.Contains(text, `"`+string(m.Subject)+`"`) {
			p.q.remove(t)
			gone = append(gone, m)
		}
	})
	empty := p.q.len() == 0
	p.measure()
	p.mu.Unlock()
	signal(p.wake)
	for _, m := range gone {
		p.fail(m, dropRefused, fmt.Errorf("%w: %s", ErrNotPermitted, m.Subject))
	}
	if empty {
		signal(p.idle)
	}
}

// parseAck reads JetStream's answer.
func parseAck(reply *nats.Msg) (duplicate bool, err error) {
	if len(reply.Data) == 0 && reply.Header.Get("Status") == "503" {
		return false, nats.ErrNoResponders // no stream has the subject, or its leader is away
	}
	if !bytes.Contains(reply.Data, []byte(`"error"`)) {
		return bytes.Contains(reply.Data, []byte(`"duplicate"`)), nil // written only if true
	}
	return false, ackError(reply.Data)
}
