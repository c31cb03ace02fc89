package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
)

// A Letter is what a function could not handle, why, and how to try again.
type Letter struct {
	Function   string    `json:"function"`             // tenant/name/uid
	Invocation string    `json:"invocation,omitempty"` // there may be none: the message was no event
	Reason     string    `json:"reason"`               // an outcome, retries, or malformed
	Text       string    `json:"text"`
	Address    string    `json:"address"`            // of the event
	Sequence   uint64    `json:"sequence,omitempty"` // in EVENTS
	Time       time.Time `json:"time"`
	Redrive    string    `json:"redrive"`         // what a person can do
	Event      []byte    `json:"event,omitempty"` // as it came
	Inverses   []string  `json:"inverses,omitempty"`
}

// DeadLetter stores a letter and returns when it is stored. Stored is false if the function has left as many for that reason as the
// stream keeps: then the letter is dropped, which the caller counts.
func DeadLetter(ctx context.Context, js jetstream.JetStream, token string, l Letter) (stored bool, err error) {
	b, err := json.Marshal(l)
	if err != nil {
		return false, fmt.Errorf("dead letter of %s: %w", token, err)
	}
	m := &nats.Msg{Subject: string(bus.DeadLetterSubject(token, l.Reason)), Data: b, Header: nats.Header{}}
	var opts []jetstream.PublishOpt
	if l.Invocation != "" {
		opts = append(opts, jetstream.WithMsgID(l.Invocation+"/dead"))
	}
	_, err = js.PublishMsg(ctx, m, opts...)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == errStoreFailed {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dead letter of %s: %w", token, err)
	}
	return true, nil
}

// errStoreFailed is the server's code for "maximum messages per subject exceeded" and other limits of a stream that discards new ones.
const errStoreFailed jetstream.ErrorCode = 10077
