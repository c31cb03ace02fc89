package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A puller asks a consumer for as many messages as there are free slots, over one subscription that lasts. A slot is taken by what was
// asked for, from the request until the message was handled, or until the server says that the request has ended.
//
// The client library's Fetch makes a subscription for each request and returns when the last message of it has come; its Messages takes
// messages in advance, for which no slot is free.
type puller struct {
	nc     *nats.Conn
	next   string // subject of requests
	cfg    *Config
	slots  chan struct{}
	most   func() int // how many slots may be asked for in all
	held   func() bool
	got    func(*nats.Msg) // called with each message, one after the other
	failed chan error      // holds the first error: the puller is of no use any more

	sub *nats.Subscription

	mu    sync.Mutex
	asked int       // messages that were asked for and have not come; guarded by mu
	heard time.Time // when the server last said anything, or was last asked for something; guarded by mu
	ended bool      // guarded by mu
}

// apiNext is the subject of requests for a consumer's next messages.
const apiNext = "$JS.API.CONSUMER.MSG.NEXT.%s.%s"

// errSilent means that requests were forgotten: neither messages nor heartbeats come.
var errSilent = errors.New("the server has forgotten what it was asked for")

// open subscribes; nothing is asked for yet.
func (p *puller) open() error {
	p.failed = make(chan error, 1)
	sub, err := p.nc.Subscribe(p.nc.NewInbox(), p.take)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	p.sub, p.heard = sub, time.Now()
	return nil
}

// close asks for nothing more and returns when all that had come was taken.
func (p *puller) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(p.asked)
}

// drain ends the subscription.
func (p *puller) drain() {
	closed := make(chan struct{})
	p.sub.SetClosedHandler(func(string) { close(closed) })
	if p.nc.IsConnected() && p.sub.Drain() == nil {
		t := time.NewTimer(drainBound)
		defer t.Stop()
		select {
		case <-closed:
			return
		case <-t.C:
		}
	}
	_ = p.sub.Unsubscribe() // the bus is away: what was under way comes again
}

// drainBound is how long the last messages of a subscription are waited for.
const drainBound = 2 * time.Second

// ask asks for as many messages as there are free slots, once they are a few or nothing is under way.
func (p *puller) ask() {
	if p.held() {
		return
	}
	p.mu.Lock()
	n := p.reserve()
	if n == 0 {
		p.mu.Unlock()
		return
	}
	p.asked += n
	p.heard = time.Now()
	p.mu.Unlock()
	request, _ := json.Marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{p.cfg.Pull, n, p.cfg.Pull / 4})
	if err := p.nc.PublishRequest(p.next, p.sub.Subject, request); err != nil {
		p.mu.Lock()
		p.forget(n)
		p.mu.Unlock()
		p.fail(fmt.Errorf("pull: %w", err))
	}
}

// reserve takes the slots for one request. The caller holds mu.
func (p *puller) reserve() (n int) {
	free := min(cap(p.slots)-len(p.slots), p.most()-p.asked)
	switch {
	case p.ended:
		return 0
	case p.asked == 0:
		free = max(free, 1) // whatever is free elsewhere: something must go on
	case free < cap(p.slots)/2:
		return 0 // soon there are more
	}
	for ; n < free; n++ {
		select {
		case p.slots <- struct{}{}:
		default:
			return n
		}
	}
	return n
}

// forget gives back the slots of n messages that will not come. The caller holds mu.
func (p *puller) forget(n int) {
	n = min(n, p.asked)
	p.asked -= n
	for range n {
		<-p.slots
	}
}

func (p *puller) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// take is given whatever comes on the subscription.
func (p *puller) take(m *nats.Msg) {
	status := ""
	if len(m.Data) == 0 && m.Header != nil {
		status = m.Header.Get("Status")
	}
	p.mu.Lock()
	p.heard = time.Now()
	if status != "" {
		n, err := ended(status, m.Header)
		p.forget(n)
		p.mu.Unlock()
		if err != nil {
			p.fail(err)
		}
		p.ask()
		return
	}
	late := p.asked == 0 // of a request that was given up: there is no slot for it
	if !late {
		p.asked--
	}
	p.mu.Unlock()
	if late {
		_ = m.Nak() // it comes again
		return
	}
	p.got(m)
}

// ended tells what the server's status means: how many messages of a request will not come, and whether the puller is of no more use.
func ended(status string, h nats.Header) (n int, err error) {
	n, _ = strconv.Atoi(h.Get("Nats-Pending-Messages"))
	what := strings.ToLower(h.Get("Description"))
	switch {
	case status == "100": // heartbeat
		return 0, nil
	case status == "408", status == "404":
		return n, nil
	case status == "503":
		return n, nats.ErrNoResponders
	case strings.Contains(what, "consumer deleted"):
		return n, jetstream.ErrConsumerDeleted
	}
	return n, fmt.Errorf("pull: %s %s", status, what)
}

// watch returns when the puller is of no more use, or ctx ends, which is no error. In between it asks again what was held back.
func (p *puller) watch(ctx context.Context, wake <-chan struct{}) error {
	status := p.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer p.nc.RemoveStatusListener(status)
	t := time.NewTicker(holdPause)
	defer t.Stop()
	for {
		p.ask()
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.failed:
			return err
		case <-status:
			return nats.ErrDisconnected // the server forgets requests with the connection
		case <-wake:
		case <-t.C:
			p.mu.Lock()
			silent := p.asked > 0 && time.Since(p.heard) > p.cfg.Pull
			p.mu.Unlock()
			if silent {
				return errSilent
			}
		}
	}
}
