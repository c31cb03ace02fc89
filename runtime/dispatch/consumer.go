package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Config describes one consumer.
type Config struct {
	Stream      string
	Durable     string
	Filters     []string      // subjects, no two overlapping
	StartAt     uint64        // first sequence, for a consumer that is made anew
	AckWait     time.Duration // a message that is neither settled nor extended comes again. Positive
	Concurrency int           // messages in hand at once. Positive
	Pull        time.Duration // how long one request waits for messages. Default 10s
	Grace       time.Duration // how long messages in hand may go on after Run's context ended. Default 10s

	// Free tells how many more messages can be handled now, beside Concurrency; nil: any number.
	Free func() int
	// Hold is asked before each pull: while it returns true nothing is taken. Nil: never.
	Hold func() bool
	// Shared says that the messages are of many functions: that what one of them calls is out of reach holds no other back.
	Shared bool

	Metrics *Metrics     // nil: none
	Label   string       // of the metrics
	Log     *slog.Logger // not nil
}

// A Message is one message of a stream.
type Message struct {
	*nats.Msg
	Meta *nats.MsgMetadata
}

// A Handler handles one message. Its context outlives that of Run by the grace. It need not extend the message: Run does. again says that
// it has been handled before: delivered before, or here.
type Handler func(ctx context.Context, m *Message, again bool) Verdict

// A Consumer takes messages off a stream for as long as Run runs.
type Consumer struct {
	cfg     Config
	js      jetstream.JetStream
	handle  Handler
	slots   chan struct{}
	wake    chan struct{} // Kick was called
	breaker breaker

	puller  atomic.Pointer[puller]
	idle    chan *Message // hands a message to a goroutine that waits for one
	waiting atomic.Int32  // goroutines that do
	storing atomic.Int32  // messages that are being stored and have given their slot back
}

// NewConsumer returns a Consumer that starts nothing.
func NewConsumer(cfg Config, js jetstream.JetStream, h Handler) *Consumer {
	if cfg.Pull <= 0 {
		cfg.Pull = 10 * time.Second
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 10 * time.Second
	}
	return &Consumer{
		cfg: cfg, js: js, handle: h, slots: make(chan struct{}, cfg.Concurrency), wake: make(chan struct{}, 1), idle: make(chan *Message),
	}
}

// storing is how many messages per slot may be being stored beside those that have one.
const storing = 4

// Kick has the consumer ask Hold again at once.
func (c *Consumer) Kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ensure makes the durable consumer or brings its settings up to date.
func (c *Consumer) ensure(ctx context.Context) error {
	cfg := jetstream.ConsumerConfig{
		Durable: c.cfg.Durable, FilterSubjects: c.cfg.Filters, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.cfg.AckWait,
		MaxDeliver: -1, MaxAckPending: max(1000, 4*c.cfg.Concurrency), MaxWaiting: 128,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(c.cfg.StartAt, 1),
	}
	if c.cfg.StartAt == 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverAllPolicy, 0
	}
	old, err := c.js.Consumer(ctx, c.cfg.Stream, c.cfg.Durable)
	if err == nil {
		// Where it starts cannot be changed, and has been decided.
		cfg.DeliverPolicy, cfg.OptStartSeq = old.CachedInfo().Config.DeliverPolicy, old.CachedInfo().Config.OptStartSeq
	}
	if _, err := c.js.CreateOrUpdateConsumer(ctx, c.cfg.Stream, cfg); err != nil {
		return fmt.Errorf("consumer %s of %s: %w", c.cfg.Durable, c.cfg.Stream, err)
	}
	return nil
}

// Run takes and handles messages until ctx ends, then waits for those in hand and returns nil.
func (c *Consumer) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var inHand sync.WaitGroup
	defer c.drain(ctx, &inHand, cancel)
	for failures := 0; ctx.Err() == nil; {
		if err := c.ensure(ctx); err != nil {
			failures++
			c.cfg.Log.Warn("consumer is not available, trying again", "consumer", c.cfg.Durable, "err", err)
			c.sleep(ctx, backoff(failures))
			continue
		}
		began := time.Now()
		err := c.pull(ctx, work, &inHand)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > c.cfg.Pull {
			failures = 0
		}
		failures++
		c.cfg.Log.Debug("pull ended", "consumer", c.cfg.Durable, "err", err)
		c.sleep(ctx, backoff(failures))
	}
	return nil
}

// drain waits for the messages in hand, ends them after the grace, and waits again.
func (c *Consumer) drain(ctx context.Context, inHand *sync.WaitGroup, cancel context.CancelFunc) {
	done := make(chan struct{})
	go func() { inHand.Wait(); close(done) }()
	t := time.NewTimer(c.cfg.Grace)
	defer t.Stop()
	select {
	case <-done:
		return
	case <-t.C:
	}
	cancel()
	<-done
}

const holdPause = 500 * time.Millisecond

func (c *Consumer) held() bool {
	return c.breaker.open(time.Now()) || c.cfg.Hold != nil && c.cfg.Hold()
}

func (c *Consumer) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.wake:
	case <-ctx.Done():
	}
}

// backoff doubles from 100 ms to 5 s, jittered by a quarter.
func backoff(failures int) time.Duration {
	d := min(100*time.Millisecond<<min(failures-1, 10), 5*time.Second)
	return d + rand.N(d/4+1)
}

// most is how many messages may be asked for and in hand.
func (c *Consumer) most() int {
	n := cap(c.slots)
	if c.cfg.Free != nil {
		n = min(n, c.cfg.Free())
	}
	if c.breaker.testing() {
		n = 1
	}
	return n
}

// pull takes messages until ctx ends or the requests come to nothing. Each is handled by a goroutine that gives its slot back. Messages
// that only wait for something have given it back; MaxAckPending bounds them.
func (c *Consumer) pull(run, work context.Context, inHand *sync.WaitGroup) error {
	p := &puller{
		nc: c.js.Conn(), next: fmt.Sprintf(apiNext, c.cfg.Stream, c.cfg.Durable), cfg: &c.cfg,
		slots: c.slots, most: c.most, held: c.held,
	}
	p.got = func(m *nats.Msg) {
		meta, err := m.Metadata()
		switch {
		case err != nil:
			c.cfg.Log.Error("message without metadata", "consumer", c.cfg.Durable, "err", err)
		case run.Err() != nil:
			_ = m.Nak() // for another
		default:
			c.hand(run, work, inHand, &Message{Msg: m, Meta: meta})
			return
		}
		<-c.slots
	}
	if err := p.open(); err != nil {
		return err
	}
	c.puller.Store(p)
	defer p.close()
	return p.watch(run, c.wake)
}

// hand gives a message to a goroutine that waits for one, or to a new one.
func (c *Consumer) hand(run, work context.Context, inHand *sync.WaitGroup, m *Message) {
	select {
	case c.idle <- m:
	default:
		inHand.Go(func() { c.work(run, work, m) })
	}
}

// work handles messages until there is none for it. A goroutine that has handled one has the stack for the next.
func (c *Consumer) work(run, work context.Context, m *Message) {
	for m != nil {
		c.one(run, work, m)
		m = nil
		if int(c.waiting.Add(1)) <= c.cfg.Concurrency {
			select {
			case m = <-c.idle:
			case <-run.Done():
			}
		}
		c.waiting.Add(-1)
	}
}

// one handles a message and settles it, extending it meanwhile.
func (c *Consumer) one(run, work context.Context, m *Message) {
	beat := Beat(c.cfg.AckWait/3, func() {
		if err := m.InProgress(); work.Err() == nil && err != nil {
			c.cfg.Log.Debug("extend message", "consumer", c.cfg.Durable, "err", err)
		}
	})
	v := c.decide(run, work, m)
	beat.Stop()
	c.cfg.Metrics.settled(c.cfg.Label, v)
	if err := settle(m, v); err != nil {
		c.cfg.Log.Warn("message could not be settled, it comes again", "consumer", c.cfg.Durable, "err", err)
	} else if v.then != nil {
		v.then(work)
	}
}

// decide handles a message, as often as the handler asks for it, until it says what becomes of it. It gives the slot back. Handled again
// it takes one if one is free, and goes on without otherwise: all may be taken by what was asked for and does not come.
func (c *Consumer) decide(run, work context.Context, m *Message) Verdict {
	again, slot := m.Meta.NumDelivered > 1, true
	for {
		v := c.handle(work, m, again)
		if v.after == nil {
			c.note(v) // before the next are asked for
		}
		early := !v.store || int(c.storing.Load()) < storing*cap(c.slots)
		if slot && early {
			c.release()
		}
		if v.after != nil {
			v = c.follow(run, work, v)
			c.note(v)
		}
		if slot && !early {
			c.release()
		}
		if v.do != handleAgain {
			return v
		}
		if run.Err() != nil {
			return Leave()
		}
		again = true
		select {
		case c.slots <- struct{}{}:
			slot = true
		default:
			slot = false
		}
	}
}

func (c *Consumer) note(v Verdict) {
	if !c.cfg.Shared {
		c.breaker.note(v, time.Now())
	}
}

func (c *Consumer) release() {
	<-c.slots
	c.puller.Load().ask()
}

// follow has those functions decide that a verdict names.
func (c *Consumer) follow(run, work context.Context, v Verdict) Verdict {
	for v.after != nil {
		ctx := run
		if v.finish {
			ctx = work
		}
		store := v.store
		if store {
			c.storing.Add(1)
		}
		v = v.after(ctx)
		if store {
			c.storing.Add(-1)
		}
	}
	return v
}

func settle(m *Message, v Verdict) error {
	switch v.do {
	case ack:
		return m.Ack()
	case term:
		return m.Term()
	case nak:
		return m.NakWithDelay(max(v.delay, time.Millisecond))
	}
	return nil
}
