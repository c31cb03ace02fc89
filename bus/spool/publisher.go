package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tiercel-project/tiercel/bus"
)

// A Publisher publishes through a bus.Publisher, and keeps every message on disk from before it is sent until it is acknowledged.
//
// It promises, besides what bus.Publisher does:
//
//   - While the bus is away or refuses, messages wait on disk up to MaxBytes, and go in their order, with their ids and times, when it is
//     back. Beyond, the oldest go, counted; those on their way to the bus wait on in memory, and are counted if this process ends before.
//   - What a process did not get acknowledged, the next one with the same directory publishes first. A message that was stored and not yet
//     noted is sent again under its id, which removes it within the stream's duplicate window; after that, the runtime's claims do.
//   - A damaged record is counted, reported with its place and passed over; those behind it are published.
//   - Should the disk fail, messages are kept in memory as bus.Publisher does, and that is counted and said.
//
// It is safe for concurrent use.
type Publisher struct {
	cfg     Config
	pub     *bus.Publisher
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // capacity 1: there may be something to feed
	idle    chan struct{} // capacity 1: nothing waits

	mu       sync.Mutex
	disk     *disk     // guarded by mu
	out      int       // guarded by mu: messages below, not acknowledged
	outBytes int       // guarded by mu
	since    time.Time // guarded by mu: something has waited on disk, unsynced, since then; zero: nothing does
	ended    bool      // guarded by mu
	waited   bool      // guarded by mu: Drain has waited in vain
	warned   time.Time // guarded by mu: an error of the disk was said last
}

// New opens the spool. It does nothing before Run, but keeps what is published. Its errors wrap ErrInUse where they apply. End it with Run's
// context.
func New(b *bus.Bus, cfg Config, opts ...bus.Option) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	d, err := openDisk(cfg.Dir, cfg.MaxBytes)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registerer), disk: d,
		wake: make(chan struct{}, 1), idle: make(chan struct{}, 1),
	}
	d.onDamage, d.onLost = p.damaged, p.lost
	if err := d.recover(); err != nil {
		d.close()
		return nil, err
	}
	if n := d.pending(); n > 0 {
		p.metrics.recovered.Add(float64(n))
		p.log.Info("messages of an earlier process wait in the spool", "messages", n, "dir", cfg.Dir)
	}
	p.metrics.limit.Set(float64(cfg.MaxBytes))
	p.measure()
	below := cfg.Bus
	below.Kept, below.OnAck, below.OnError = true, p.acked, p.gaveUp
	below.DrainWait = time.Millisecond // Drain has waited
	p.pub = bus.NewPublisher(b, below, opts...)
	return p, nil
}

// damaged reports bytes that are no record. The disk calls it.
func (p *Publisher) damaged(path string, offset, n int64) {
	p.log.Error("spool is damaged: what cannot be read is passed over", "file", path, "offset", offset, "bytes", n)
}

// lost counts messages that are lost. The disk calls it.
func (p *Publisher) lost(n uint64, reason string) {
	p.metrics.lost.WithLabelValues(reason).Add(float64(n))
}

// measure sets the gauges; mu is held.
func (p *Publisher) measure() {
	p.metrics.messages.Set(float64(p.disk.pending()))
	p.metrics.alone.Set(float64(p.disk.alone))
	p.metrics.bytes.Set(float64(p.disk.size))
}

// PublishMessage keeps m and has it sent. It returns bus.ErrClosed or bus.ErrTooLarge. It does not wait for the bus, but for the disk to
// take the bytes, and for it to sync them if Sync is 0.
func (p *Publisher) PublishMessage(m *bus.Message) error {
	if len(m.Data) > bus.MaxEventSize {
		return fmt.Errorf("%w: %d bytes, at most %d", bus.ErrTooLarge, len(m.Data), bus.MaxEventSize)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return bus.ErrClosed
	}
	seq, err := p.disk.append(string(m.Subject), m.ID, m.Data)
	if err != nil {
		p.failed(err)
		if !p.room() {
			return bus.ErrOverflow
		}
		return p.pass(m)
	}
	if p.since.IsZero() {
		p.since = time.Now()
		signal(p.wake)
	}
	if p.cfg.Sync == 0 {
		if err := syncFiles(p.disk.toSync()); err != nil {
			p.failed(err)
		}
	}
	p.measure()
	if seq == p.disk.next && p.room() {
		m.Seq = seq
		p.disk.handedOn(seq)
		return p.pass(m)
	}
	signal(p.wake)
	return nil
}

// room reports whether the publisher below takes more; mu is held. It has twice as much, so that it never drops what is here.
func (p *Publisher) room() bool {
	return p.out < max(1, p.cfg.Bus.MaxMessages/2) && p.outBytes < p.cfg.Bus.MaxBytes/2
}

// pass hands m to the publisher below; mu is held.
func (p *Publisher) pass(m *bus.Message) error {
	p.out++
	p.outBytes += len(m.Data)
	if err := p.pub.PublishMessage(m); err != nil { // it ends; the next process will publish m
		p.out--
		p.outBytes -= len(m.Data)
		return err
	}
	return nil
}

// failed counts and says, at most once a minute, that the disk does not work; mu is held.
func (p *Publisher) failed(err error) {
	p.metrics.errors.Inc()
	if now := time.Now(); now.Sub(p.warned) > time.Minute {
		p.warned = now
		p.log.Error("spool does not work: messages are kept in memory alone", "err", err)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// acked notes that m is stored. The publisher below calls it.
func (p *Publisher) acked(m *bus.Message) {
	p.settle(m)
	if p.cfg.Bus.OnAck != nil {
		p.cfg.Bus.OnAck(m)
	}
}

// gaveUp notes that m will never be stored, unless it is only this process that will not. The publisher below calls it.
func (p *Publisher) gaveUp(m *bus.Message, err error) {
	if m.Seq != 0 && errors.Is(err, bus.ErrUnfinished) && p.leaves(m.Seq) {
		return
	}
	p.settle(m)
	if p.cfg.Bus.OnError != nil {
		p.cfg.Bus.OnError(m, err)
	}
}

// leaves reports whether the next process finds the message of that number, which this one will not publish. It counts one that it does not.
func (p *Publisher) leaves(seq uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.disk.has(seq) {
		return true
	}
	p.lost(1, lostFull)
	return false
}

// settle removes m from memory and from the disk.
func (p *Publisher) settle(m *bus.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out--
	p.outBytes -= len(m.Data)
	if p.ended {
		return
	}
	if m.Seq != 0 {
		p.disk.ack(m.Seq)
	}
	if p.disk.pending() == 0 {
		p.since = time.Time{}
		signal(p.idle)
	}
	p.measure()
	signal(p.wake)
}

// Run publishes until ctx ends, then as long as bus.PublisherConfig's DrainWait, and closes the files. What is left stays on disk. It returns
// nil.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.close()
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return p.pub.Run(below) })
	g.Go(func() error { return p.feed(below) })
	<-ctx.Done()
	p.mu.Lock()
	waited := p.waited
	p.mu.Unlock()
	if !waited {
		wait, cancel := context.WithTimeout(below, p.cfg.Bus.DrainWait)
		_ = p.Drain(wait)
		cancel()
	}
	stop()
	return g.Wait()
}

// feed hands on what waits on disk whenever there is room below, and syncs it, until ctx ends.
func (p *Publisher) feed(ctx context.Context) error {
	every := time.NewTicker(max(p.cfg.Sync, 10*time.Millisecond))
	defer every.Stop()
	for {
		for p.feedSome() {
			if ctx.Err() != nil {
				return nil
			}
		}
		due := every.C
		if !p.unsynced() {
			due = nil // an idle process does not wake up
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case now := <-due:
			p.sync(now)
		}
	}
}

// unsynced reports whether something waits that is not synced to the disk.
func (p *Publisher) unsynced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero()
}

// sync syncs what waits if something has waited for long enough. Nobody waits for the disk meanwhile.
func (p *Publisher) sync(now time.Time) {
	p.mu.Lock()
	var full []*os.File
	var current *os.File
	if !p.since.IsZero() && now.Sub(p.since) >= p.cfg.Sync {
		full, current = p.disk.toSync()
	}
	p.mu.Unlock()
	if err := syncFiles(full, current); err != nil {
		p.mu.Lock()
		p.failed(err)
		p.mu.Unlock()
	}
}

// feedSome hands on some messages and reports whether there may be more.
func (p *Publisher) feedSome() bool {
	const some = 64
	p.mu.Lock()
	defer p.mu.Unlock()
	for range some {
		if p.ended || !p.room() {
			return false
		}
		r, err := p.disk.read()
		if err != nil {
			p.failed(err)
			continue
		}
		if r == nil {
			if p.disk.pending() == 0 { // the last ones were damaged
				signal(p.idle)
			}
			p.measure()
			return false
		}
		m := bus.StructuredMessage(bus.Subject(r.subject), r.id, r.data)
		m.Seq = r.seq
		if p.pass(m) != nil {
			return false
		}
	}
	return true
}

// Pending is how many messages are not acknowledged yet.
func (p *Publisher) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return 0
	}
	return p.disk.pending()
}

// Ready returns nil while messages get through, otherwise why they do not.
func (p *Publisher) Ready() error {
	err := p.pub.Ready()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w; %d messages are in the spool", err, p.Pending())
}

// Drain waits until everything is acknowledged or given up, and then accepts nothing more. When ctx ends before, it returns an error that
// wraps ErrKept and names how many are left on disk, and how many had no room there and are lost with the process. Run must be running.
func (p *Publisher) Drain(ctx context.Context) error {
	for p.Pending() > 0 {
		signal(p.wake)
		select {
		case <-p.idle:
		case <-ctx.Done():
			p.mu.Lock()
			p.waited = true
			kept, alone := p.disk.pending(), p.disk.alone
			p.mu.Unlock()
			if alone > 0 {
				return fmt.Errorf("%w: %d; %d older ones found no room there and are lost", ErrKept, kept, alone)
			}
			return fmt.Errorf("%w: %d", ErrKept, kept)
		}
	}
	return p.pub.Drain(ctx)
}

// close closes the files.
func (p *Publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended = true
		p.disk.close()
	}
}
