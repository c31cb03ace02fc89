package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of appending and reading.
var (
	// ErrWrongSequence means that the subject's last record is not the one expected: somebody else appended.
	ErrWrongSequence = errors.New("another record was appended to the subject")
	ErrNotFound      = errors.New("not found")
)

// A Record is one message of a stream.
type Record struct {
	Subject  Subject
	Header   nats.Header // may be nil
	Data     []byte
	Sequence uint64    // in the stream; set when read
	Time     time.Time // when the stream stored it; set when read
}

// Append appends r to the stream that has its subject, if the last record of exactly this subject has the sequence last; 0 means that
// there is none. It returns the new record's sequence, or an error that wraps ErrWrongSequence, ErrStreamFull, or what else was wrong.
// After any error but those two the record may have been stored: read the subject back. It waits for JetStream up to ctx's end, or 5 s.
func (b *Bus) Append(ctx context.Context, r Record, last uint64) (uint64, error) {
	fields := make([]Field, 1, 4)
	fields[0] = Field{jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(last, 10)}
	for k, v := range r.Header {
		fields = append(fields, Field{k, v[0]})
	}
	s, err := b.Store(ctx, r.Subject, r.Data, fields...)
	if err != nil {
		return 0, err
	}
	stored, err := s.Wait(ctx, appendBound)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", r.Subject, err)
	}
	return stored.Sequence, nil
}

const appendBound = 5 * time.Second

// ReadSubject returns all records of a subject in order; none is no error. Each is one request to the stream, so it is for subjects that
// hold a few. Streams without direct gets (JOURNAL) answer from their leader: what was acknowledged is seen.
func (b *Bus) ReadSubject(ctx context.Context, stream string, subject Subject) ([]Record, error) {
	st, err := b.stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", subject, err)
	}
	var records []Record
	for seq := uint64(1); ; {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(string(subject)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", subject, err)
		}
		records = append(records, newRecord(m))
		seq = m.Sequence + 1
	}
}

// Last returns the last record of a subject, or ErrNotFound.
func (b *Bus) Last(ctx context.Context, stream string, subject Subject) (Record, error) {
	st, err := b.stream(ctx, stream)
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w", subject, err)
	}
	m, err := st.GetLastMsgForSubject(ctx, string(subject))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Record{}, fmt.Errorf("read %s: %w", subject, ErrNotFound)
	case err != nil:
		return Record{}, fmt.Errorf("read %s: %w", subject, err)
	}
	return newRecord(m), nil
}

func newRecord(m *jetstream.RawStreamMsg) Record {
	return Record{Subject: Subject(m.Subject), Header: m.Header, Data: m.Data, Sequence: m.Sequence, Time: m.Time}
}

// PurgeSubject removes all records of a subject; wildcards are allowed.
func (b *Bus) PurgeSubject(ctx context.Context, stream string, subject Subject) error {
	st, err := b.stream(ctx, stream)
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSubject(string(subject)))
	}
	if err != nil {
		return fmt.Errorf("purge %s: %w", subject, err)
	}
	return nil
}

// Schedule has TIMERS deliver data on TimerDueSubject(invocation) at the time at, not before and by a second late at most; overdue ones
// are delivered when the server is back. A second Schedule for the invocation replaces the first. The data survives restarts.
func (b *Bus) Schedule(ctx context.Context, invocation string, at time.Time, data []byte) error {
	msg := &nats.Msg{Subject: string(TimerSubject(invocation)), Data: data, Header: nats.Header{
		// The client library cuts fractions of a second off, which would fire early.
		"Nats-Schedule":        {"@at " + at.UTC().Format(time.RFC3339Nano)},
		"Nats-Schedule-Target": {string(TimerDueSubject(invocation))},
	}}
	if _, err := b.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("schedule %s: %w", msg.Subject, streamError(err))
	}
	return nil
}

// CancelSchedule removes what Schedule stored and what was delivered of it. There need not be anything.
func (b *Bus) CancelSchedule(ctx context.Context, invocation string) error {
	return errors.Join(
		b.PurgeSubject(ctx, StreamTimers, TimerSubject(invocation)),
		b.PurgeSubject(ctx, StreamTimers, TimerDueSubject(invocation)))
}
