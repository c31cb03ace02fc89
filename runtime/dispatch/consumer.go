package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
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

	Metrics *Metrics     // nil: none
	Label   string       // of the metrics
	Log     *slog.Logger // not nil
}

// A Handler handles one message. Its context outlives that of Run by the grace. It need not extend the message: Run does. again says that
// it has been handled before: delivered before, or here.
type Handler func(ctx context.Context, m jetstream.Msg, again bool) Verdict

// A Consumer takes messages off a stream for as long as Run runs.
type Consumer struct {
	cfg     Config
	js      jetstream.JetStream
	handle  Handler
	slots   chan struct{}
	wake    chan struct{} // Kick was called
	breaker breaker
}

// NewConsumer returns a Consumer that starts nothing.
func NewConsumer(cfg Config, js jetstream.JetStream, h Handler) *Consumer {
	if cfg.Pull <= 0 {
		cfg.Pull = 10 * time.Second
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 10 * time.Second
	}
	return &Consumer{cfg: cfg, js: js, handle: h, slots: make(chan struct{}, cfg.Concurrency), wake: make(chan struct{}, 1)}
}

// Kick has the consumer ask Hold again at once.
func (c *Consumer) Kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ensure makes the durable consumer or brings its settings up to date.
func (c *Consumer) ensure(ctx context.Context) (jetstream.Consumer, error) {
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
	cons, err := c.js.CreateOrUpdateConsumer(ctx, c.cfg.Stream, cfg)
	if err != nil {
		return nil, fmt.Errorf("consumer %s of %s: %w", c.cfg.Durable, c.cfg.Stream, err)
	}
	return cons, nil
}

// Run takes and handles messages until ctx ends, then waits for those in hand and returns nil.
func (c *Consumer) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var inHand sync.WaitGroup
	defer c.drain(ctx, &inHand, cancel)
	var cons jetstream.Consumer
	for failures := 0; ctx.Err() == nil; {
		if cons == nil {
			var err error
			if cons, err = c.ensure(ctx); err != nil {
				failures++
				c.cfg.Log.Warn("consumer is not available, trying again", "consumer", c.cfg.Durable, "err", err)
				c.sleep(ctx, backoff(failures))
				continue
			}
		}
		if c.held() {
			c.sleep(ctx, holdPause)
			continue
		}
		n, ok := c.reserve(ctx)
		if !ok {
			break
		}
		taken, err := c.pull(ctx, work, cons, n, &inHand)
		for range n - taken {
			<-c.slots
		}
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, nats.ErrNoResponders):
			cons = nil // made anew, where it was: at its floor or at the function's own start
			fallthrough
		default:
			if ctx.Err() == nil {
				failures++
				c.cfg.Log.Debug("pull ended", "consumer", c.cfg.Durable, "err", err)
				c.sleep(ctx, backoff(failures))
			}
		}
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

// reserve takes every free slot, at least one.
func (c *Consumer) reserve(ctx context.Context) (n int, ok bool) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, false
	}
	most := cap(c.slots)
	if c.cfg.Free != nil {
		most = max(1, min(most, c.cfg.Free()))
	}
	if c.breaker.testing() {
		most = 1
	}
	for n = 1; n < most; n++ {
		select {
		case c.slots <- struct{}{}:
		default:
			return n, true
		}
	}
	return n, true
}

// pull asks for n messages and handles those that come, each in a goroutine that gives its slot back. Messages that only wait for
// something have given it back; MaxAckPending bounds them.
func (c *Consumer) pull(run, work context.Context, cons jetstream.Consumer, n int, inHand *sync.WaitGroup) (taken int, err error) {
	fctx, cancel := context.WithTimeout(run, c.cfg.Pull)
	defer cancel()
	batch, err := cons.Fetch(n, jetstream.FetchContext(fctx))
	if err != nil {
		return 0, err
	}
	for m := range batch.Messages() {
		taken++
		inHand.Go(func() { c.one(run, work, m) })
	}
	err = batch.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.Canceled) || errors.Is(err, jetstream.ErrNoMessages) {
		err = nil
	}
	return taken, err
}

// one handles a message and settles it, extending it meanwhile.
func (c *Consumer) one(run, work context.Context, m jetstream.Msg) {
	beat := Beat(c.cfg.AckWait/3, func() {
		if err := m.InProgress(); work.Err() == nil && err != nil {
			c.cfg.Log.Debug("extend message", "consumer", c.cfg.Durable, "err", err)
		}
	})
	v := c.decide(run, work, m)
	beat.Stop()
	c.breaker.note(v, time.Now())
	c.cfg.Metrics.settled(c.cfg.Label, v)
	if err := settle(m, v); err != nil {
		c.cfg.Log.Warn("message could not be settled, it comes again", "consumer", c.cfg.Durable, "err", err)
	} else if v.then != nil {
		v.then(work)
	}
}

// decide handles a message, as often as the handler asks for it, until it says what becomes of it. It gives the slot back.
func (c *Consumer) decide(run, work context.Context, m jetstream.Msg) Verdict {
	meta, err := m.Metadata()
	again := err != nil || meta.NumDelivered > 1
	for {
		v := c.handle(work, m, again)
		<-c.slots
		for v.after != nil {
			ctx := run
			if v.finish {
				ctx = work
			}
			v = v.after(ctx)
		}
		if v.do != handleAgain {
			return v
		}
		again = true
		select {
		case c.slots <- struct{}{}:
		case <-run.Done():
			return Leave()
		}
	}
}

func settle(m jetstream.Msg, v Verdict) error {
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
