package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
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

	// Kept says that the owner keeps every message elsewhere until OnAck: what is left at the end is then not counted as dropped, and OnError
	// is told all the same.
	Kept bool

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

	// Seq and Tag are the owner's, for OnAck and OnError. They are not sent.
	Seq uint64
	Tag any

	done func(error) // called once, before OnAck or OnError
}
