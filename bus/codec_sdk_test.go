package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	ceevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// TestWithSDK checks the codec against the project's own, in both directions and modes.
func TestWithSDK(t *testing.T) {
	for name, e := range events() {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(e.DataContentType, "+json") {
				t.Skip("the SDK takes application/json and text/json for JSON only; the specification every +json")
			}
			var theirs ceevent.Event
			if err := json.Unmarshal(Marshal(e), &theirs); err != nil {
				t.Fatalf("the SDK does not read ours: %v", err)
			}
			if err := theirs.Validate(); err != nil {
				t.Fatalf("the SDK does not accept ours: %v", err)
			}
			compareSDK(t, e, &theirs)
			text, err := json.Marshal(&theirs)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Unmarshal(text)
			if err != nil {
				t.Fatalf("we do not read the SDK's %s: %v", text, err)
			}
			compareEvents(t, e, back)
			compareEvents(t, e, viaBinary(t, &theirs))
			compareSDK(t, e, toBinary(t, e))
		})
	}
}

// compareSDK compares one of ours with the SDK's reading of it.
func compareSDK(t *testing.T, e *Event, s *ceevent.Event) {
	t.Helper()
	ext := map[string]any{}
	for k, v := range e.Extensions {
		ext[k] = v
	}
	for k, v := range map[string]string{
		"rule": e.Rule, "priority": e.Priority, "eventsource": e.EventSource, "hostname": e.Hostname, "traceparent": e.TraceParent,
	} {
		if v != "" {
			ext[k] = v
		}
	}
	type view struct {
		ID, Source, Type, Subject, Schema string
		Time                              time.Time
		Ext                               map[string]string
		Data                              string
	}
	text := func(m map[string]any) map[string]string { // the SDK knows types in one mode only
		out := map[string]string{}
		for k, v := range m {
			b, _ := json.Marshal(v)
			out[k] = strings.Trim(string(b), `"`)
		}
		return out
	}
	want := view{e.ID, e.Source, e.Type, e.Subject, e.DataSchema, e.Time, text(ext), string(e.Data)}
	got := view{s.ID(), s.Source(), s.Type(), s.Subject(), s.DataSchema(), s.Time(), text(s.Extensions()), string(s.Data())}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the SDK's eyes (-want +got):\n%s", diff)
	}
}

// compareEvents compares events of which one went through the SDK, which may add or leave out the default content type.
func compareEvents(t *testing.T, want, got *Event) {
	t.Helper()
	plain := func(e *Event) Event {
		c := *e
		if c.DataContentType == "application/json" {
			c.DataContentType = ""
		}
		if c.Extensions != nil {
			m := map[string]any{}
			for k, v := range c.Extensions {
				b, _ := json.Marshal(v)
				m[k] = strings.Trim(string(b), `"`)
			}
			c.Extensions = m
		}
		if c.IsJSON() && c.Data != nil {
			var b bytes.Buffer
			if err := json.Compact(&b, c.Data); err != nil {
				t.Error(err)
			}
			c.Data = b.Bytes()
		}
		return c
	}
	if diff := cmp.Diff(plain(want), plain(got)); diff != "" {
		t.Errorf("back from the SDK (-want +got):\n%s", diff)
	}
}

// specs is the SDK's knowledge of attributes behind our prefix.
var specs = spec.WithPrefix("ce-")

// A headerWriter is a transport of the SDK's binary mode, as its own protocol packages have.
type headerWriter struct {
	h    nats.Header
	body bytes.Buffer
}

func (w *headerWriter) Start(context.Context) error { return nil }
func (w *headerWriter) End(context.Context) error   { return nil }

func (w *headerWriter) SetAttribute(a spec.Attribute, v any) error {
	if a.Kind() == spec.DataContentType {
		return w.set("Content-Type", v)
	}
	return w.set("ce-"+a.Name(), v)
}

func (w *headerWriter) SetExtension(name string, v any) error { return w.set("ce-"+name, v) }

func (w *headerWriter) set(name string, v any) error {
	if v == nil {
		return nil
	}
	s, err := types.Format(v)
	w.h[name] = []string{percentEncode(s)}
	return err
}

func (w *headerWriter) SetData(r io.Reader) error {
	_, err := w.body.ReadFrom(r)
	return err
}

// viaBinary has the SDK write an event in binary mode and reads it with our decoder.
func viaBinary(t *testing.T, e *ceevent.Event) *Event {
	t.Helper()
	w := &headerWriter{h: nats.Header{}}
	if _, err := binding.Write(binding.WithForceBinary(t.Context()), binding.ToMessage(e), nil, w); err != nil {
		t.Fatal(err)
	}
	got, err := Decode(w.h, w.body.Bytes())
	if err != nil {
		t.Fatalf("we do not read the SDK's binary mode %v: %v", w.h, err)
	}
	return got
}

// A headerMessage is one of our binary messages as the SDK reads it.
type headerMessage struct {
	h    nats.Header
	body []byte
}

func (m *headerMessage) ReadEncoding() binding.Encoding { return binding.EncodingBinary }
func (m *headerMessage) Finish(error) error             { return nil }

func (m *headerMessage) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *headerMessage) GetAttribute(k spec.Kind) (spec.Attribute, any) {
	a := specs.Version(m.h.Get("ce-specversion")).AttributeFromKind(k)
	if v := m.h.Get("ce-" + a.Name()); v != "" {
		return a, percentDecode(v)
	}
	return a, nil
}

func (m *headerMessage) GetExtension(name string) any { return percentDecode(m.h.Get("ce-" + name)) }

func (m *headerMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := specs.Version(m.h.Get("ce-specversion"))
	for k, v := range m.h {
		var err error
		switch a := version.Attribute(k); {
		case k == "content-type":
			err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), v[0])
		case a != nil:
			err = w.SetAttribute(a, percentDecode(v[0]))
		default:
			err = w.SetExtension(strings.TrimPrefix(k, "ce-"), percentDecode(v[0]))
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.body))
}

// toBinary has the SDK read our binary mode.
func toBinary(t *testing.T, e *Event) *ceevent.Event {
	t.Helper()
	h, body := MarshalBinary(e)
	got, err := binding.ToEvent(t.Context(), &headerMessage{h, body})
	if err != nil {
		t.Fatalf("the SDK does not read our binary mode %v: %v", h, err)
	}
	return got
}
