package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

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
	if m != nil {
		p.calls.Add(1)
	}
	p.why, p.tries = nil, 0
	empty := p.q.len() == 0
	p.measure()
	p.mu.Unlock()
	signal(p.wake)
	if m == nil {
		return // acknowledged twice, or dropped in the meantime
	}
	defer p.calls.Done()
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
	if m != nil {
		p.calls.Add(1)
	}
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
	p.calls.Add(len(gone))
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
