package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A token names one accepted message of a publisher; they count up.
type token uint64

func (t token) String() string { return strconv.FormatUint(uint64(t), 36) }

func parseToken(s string) (token, bool) {
	n, err := strconv.ParseUint(s, 36, 64)
	return token(n), err == nil
}

// An outgoing is a message on its way to the connection.
type outgoing struct {
	token token
	m     *Message
}

// A window is the queue of a publisher: messages in order of acceptance, of which a prefix has been sent and some are gone already. It is
// a ring that grows. Tokens from first up to sent are in flight or gone; those up to end wait.
type window struct {
	ring             []slot // length is a power of two
	first, sent, end token
	count, bytes     int
	inFlight         int
	inFlightBytes    int
}

type slot struct {
	m        *Message // nil when gone
	sentAt   time.Time
	inFlight bool
}

func (w *window) at(t token) *slot { return &w.ring[uint64(t)&uint64(len(w.ring)-1)] }
func (w *window) len() int         { return w.count }

func size(m *Message) int { return len(m.Data) + len(m.Subject) + len(m.ID) }

func (w *window) has(t token) bool { return t >= w.first && t < w.end && w.at(t).m != nil }

func (w *window) push(m *Message) {
	if int(w.end-w.first) == len(w.ring) {
		w.grow()
	}
	*w.at(w.end) = slot{m: m}
	w.end++
	w.count++
	w.bytes += size(m)
}

func (w *window) grow() {
	old := *w
	w.ring = make([]slot, max(64, 2*len(old.ring)))
	for t := old.first; t < old.end; t++ {
		*w.at(t) = *old.at(t)
	}
}

// next marks the next waiting message as sent and returns it, or nil.
func (w *window) next(now time.Time) (token, *Message) {
	for w.sent < w.end {
		t := w.sent
		w.sent++
		s := w.at(t)
		if s.m == nil {
			continue
		}
		s.inFlight, s.sentAt = true, now
		w.inFlight++
		w.inFlightBytes += size(s.m)
		return t, s.m
	}
	return 0, nil
}

// remove takes a message out and returns it; nil if it is gone.
func (w *window) remove(t token) *Message {
	if !w.has(t) {
		return nil
	}
	s := w.at(t)
	m := s.m
	w.land(s)
	*s = slot{}
	w.count--
	w.bytes -= size(m)
	for w.first < w.end && w.at(w.first).m == nil {
		w.first++
	}
	w.sent = max(w.sent, w.first)
	return m
}

// land takes a message out of flight.
func (w *window) land(s *slot) {
	if s.inFlight {
		s.inFlight = false
		w.inFlight--
		w.inFlightBytes -= size(s.m)
	}
}

// dropOldest takes the oldest message out. There must be one.
func (w *window) dropOldest() *Message {
	return w.remove(w.first)
}

// rewind makes everything from t on wait again, and returns how many messages that were in flight that is.
func (w *window) rewind(t token) int {
	n := 0
	for i := max(t, w.first); i < w.sent; i++ {
		if s := w.at(i); s.inFlight {
			w.land(s)
			n++
		}
	}
	w.sent = min(w.sent, max(t, w.first))
	return n
}

// oldestSent is when the oldest message was sent, zero if it has not been.
func (w *window) oldestSent() time.Time {
	if w.count == 0 || !w.at(w.first).inFlight {
		return time.Time{}
	}
	return w.at(w.first).sentAt
}

// eachInFlight calls f for the messages in flight; f may remove the one it is called for.
func (w *window) eachInFlight(f func(token, *Message)) {
	for t, end := w.first, w.sent; t < end; t++ {
		if s := w.at(t); t >= w.first && s.inFlight {
			f(t, s.m)
		}
	}
}

// ackError reads the error in an answer of JetStream.
func ackError(data []byte) error {
	var r struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &r); err != nil || r.Error == nil {
		return fmt.Errorf("unintelligible acknowledgement %q", data)
	}
	return streamError(r.Error)
}

// streamError adds our sentinel to an error of JetStream.
func streamError(err error) error {
	e, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch e.ErrorCode {
	case errCodeWrongLastSequence, errCodeWrongLastSequence2:
		return fmt.Errorf("%w: %w", ErrWrongSequence, err)
	case errCodeStoreFailed:
		if strings.Contains(e.Description, "maximum") {
			return fmt.Errorf("%w: %w", ErrStreamFull, err)
		}
	}
	return err
}

// isFinal reports whether an error of JetStream will be the same for ever. Codes of 500 and above pass, as does an account that is full.
func isFinal(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.Code >= 400 && e.Code < 500 && e.Code != 409 && e.Code != 429 && e.ErrorCode != errCodeAccountExceeded
}
