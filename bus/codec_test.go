package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	ceevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// sampleEvent is a match as the sensor makes it, of about the usual size.
func sampleEvent() *Event {
	target := Target{
		Cluster: "prod", Node: "ip-10-0-0-1.eu.internal", Namespace: "payments", Pod: "checkout-5d9f7c8b6-x2x7k",
		PodUID: "0b6f0b1e-7a52-4a57-9d5f-3f3b1f0a4c11", Container: "app",
		ContainerID: "4f1c3c7d0d1f6f7a4f1c3c7d0d1f6f7a4f1c3c7d0d1f6f7a4f1c3c7d0d1f6f7a", Image: "registry.example/checkout:1.2",
		ImageDigest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		CgroupID:    math.MaxUint64 - 1, PID: 4711, PIDStartTime: 1<<53 + 1,
	}
	alert := `{"hostname":"ip-10-0-0-1","output":"12:00:00.000000001: Warning A shell was spawned in a container (user=root \"x\" ü)",` +
		`"output_fields":{"container.id":"4f1c3c7d0d1f","evt.time":1763683200000000001,"proc.cmdline":"sh -c id","proc.pid":4711,"user.name":null},` +
		`"priority":"Warning","rule":"Terminal shell in container","source":"syscall","tags":["container","shell"],"time":"2026-11-21T00:00:00.000000001Z"}`
	fields := `{"evt.type":"execve","proc.aname[1]":"runc","proc.exe":"/bin/sh","proc.name":"sh","proc.pname":"runc","user.uid":0}`
	return &Event{
		ID: "ip-10-0-0-1.eu.internal-01ARZ3NDEKTSV4RRFFQ69G5FAV", Source: SourceURI("prod", "ip-10-0-0-1.eu.internal", "syscall"),
		Type: TypeRuleMatched, Subject: "payments/checkout-5d9f7c8b6-x2x7k", Time: time.Date(2026, 11, 21, 0, 0, 0, 1, time.UTC),
		Rule: "Terminal shell in container", Priority: "Warning", EventSource: "syscall", Hostname: "ip-10-0-0-1",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Data:        AppendMatch(nil, []byte(alert), []byte(fields), &target),
	}
}

// events are what the codec must carry in both modes.
func events() map[string]*Event {
	return map[string]*Event{
		"match": sampleEvent(),
		"least": {ID: "1", Source: "/a", Type: "t"},
		"extensions": {
			ID: "1", Source: "urn:x:y", Type: "t", Data: json.RawMessage(`[1, "two"]`),
			Extensions: map[string]any{"text": "grüße %41 \"q\"", "flag": true, "off": false, "n": int32(math.MinInt32), "traceid": "0"},
		},
		"strange characters": {ID: "a\"b\\c", Source: "/%20", Type: "t/ü", Subject: "日本 %zz%", Rule: "r \u2028 <&>", Time: time.Unix(0, 1).UTC()},
		"plain text":         {ID: "1", Source: "/a", Type: "t", DataContentType: "text/plain", Data: []byte("hello \"you\"")},
		"bytes":              {ID: "1", Source: "/a", Type: "t", DataContentType: "application/octet-stream", Data: []byte{0, 0xff, 1}},
		"JSON by its suffix": {ID: "1", Source: "/a", Type: "t", DataContentType: "application/x+json", DataSchema: "http://x/y", Data: json.RawMessage(`{"a":1}`)},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, e := range events() {
		t.Run(name, func(t *testing.T) {
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			got, err := Unmarshal(Marshal(e))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("structured (-want +got):\n%s", diff)
			}
			got, err = Decode(MarshalBinary(e))
			if err != nil {
				t.Fatal(err)
			}
			want := *e
			if e.Data != nil && e.DataContentType == "" {
				want.DataContentType = "application/json"
			}
			if e.Extensions != nil { // headers know strings only
				want.Extensions = map[string]any{"text": "grüße %41 \"q\"", "flag": "true", "off": "false", "n": "-2147483648", "traceid": "0"}
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("binary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	ok := `{"specversion":"1.0","id":"1","source":"/a","type":"t"`
	for _, tc := range []struct{ name, in, want string }{
		{"no JSON", `{`, "not JSON"},
		{"array", `[]`, "not a JSON object"},
		{"no attributes", `{}`, "specversion"},
		{"version", `{"specversion":"0.3","id":"1","source":"/a","type":"t"}`, `specversion is "0.3"`},
		{"missing", `{"specversion":"1.0"}`, "id is missing"},
		{"empty", `{"specversion":"1.0","id":"","source":"","type":""}`, "type is missing"},
		{"id of another type", `{"specversion":"1.0","id":1,"source":"/a","type":"t"}`, `attribute "id" is no string`},
		{"twice", ok + `,"id":"2"}`, `member "id" occurs twice`},
		{"twice by escape", ok + `,"\u0069d":"2"}`, `member "id" occurs twice`},
		{"time", ok + `,"time":"yesterday"}`, "RFC 3339"},
		{"source", `{"specversion":"1.0","id":"1","source":"%zz","type":"t"}`, "no URI reference"},
		{"control characters", `{"specversion":"1.0","id":"a\nb","source":"/a","type":"t"}`, "control characters"},
		{"extension name", ok + `,"Foo_Bar":"x"}`, "lower-case letters and digits"},
		{"extension object", ok + `,"foo":{}}`, "strings, booleans and integers"},
		{"extension fraction", ok + `,"foo":1.5}`, "no 32-bit integer"},
		{"extension too large", ok + `,"foo":2147483648}`, "no 32-bit integer"},
		{"two payloads", ok + `,"data":1,"data_base64":"AA=="}`, "both data and data_base64"},
		{"base64", ok + `,"data_base64":"%"}`, "data_base64"},
		{"base64 of another type", ok + `,"data_base64":1}`, "data_base64"},
		{"base64 that is no JSON", ok + `,"data_base64":"AA=="}`, "no JSON value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := Unmarshal([]byte(tc.in))
			if !errors.Is(err, ErrInvalidEvent) || !strings.Contains(err.Error(), tc.want) || e != nil {
				t.Errorf("got %+v, %v; want %q", e, err, tc.want)
			}
		})
	}
	for _, tc := range []struct {
		name, want string
		h          nats.Header
	}{
		{"batch", "not supported", nats.Header{"Content-Type": {"application/cloudevents-batch+json"}}},
		{"other format", "not supported", nats.Header{"Content-Type": {"application/cloudevents+avro"}}},
		{"twice", "occurs twice", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "CE-ID": {"2"}, "ce-source": {"/"}, "ce-type": {"t"}}},
		{"two values", "occurs twice", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1", "2"}, "ce-source": {"/"}, "ce-type": {"t"}}},
		{"content type as attribute", "not allowed", nats.Header{"ce-specversion": {"1.0"}, "ce-datacontenttype": {"x/y"}, "ce-id": {"1"}}},
		{"no id", "id is missing", nats.Header{"ce-specversion": {"1.0"}, "ce-source": {"/"}, "ce-type": {"t"}}},
		{"time", "RFC 3339", nats.Header{"ce-specversion": {"1.0"}, "ce-time": {"x"}}},
	} {
		t.Run("binary "+tc.name, func(t *testing.T) {
			e, err := Decode(tc.h, []byte(`{}`))
			if !errors.Is(err, ErrInvalidEvent) || !strings.Contains(err.Error(), tc.want) || e != nil {
				t.Errorf("got %+v, %v; want %q", e, err, tc.want)
			}
		})
	}
}

func TestDecodeModes(t *testing.T) {
	e := sampleEvent()
	for name, h := range map[string]nats.Header{
		"no headers":              nil,
		"only the message's id":   {"Nats-Msg-Id": {e.ID}},
		"content type":            {"content-type": {"application/cloudevents+json; charset=UTF-8"}},
		"content type, otherwise": {"Content-Type": {"Application/CloudEvents+JSON"}},
		"plain JSON":              {"content-type": {"application/json"}},
	} {
		got, err := Decode(h, Marshal(e))
		if err != nil || got.ID != e.ID {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestValidate(t *testing.T) {
	e := sampleEvent()
	e.ID, e.Type, e.Time, e.Data = "", "a\x7f", time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), json.RawMessage("{")
	e.Extensions = map[string]any{"rule": "x", "n": 1, "A": "x"}
	err := e.Validate()
	for _, want := range []string{"id is missing", "control characters", "year 12026", `"rule" has a field`, "not int", `"A": names are`, "no JSON value"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}

func TestMatchData(t *testing.T) {
	e := sampleEvent()
	m, err := e.Match()
	if err != nil {
		t.Fatal(err)
	}
	if m.Rule != e.Rule || m.Target.PodUID == "" || m.Target.CgroupID != math.MaxUint64-1 || m.Target.PIDStartTime != 1<<53+1 {
		t.Errorf("got %+v", m)
	}
	if got := m.AppendJSON(nil); !bytes.Equal(got, e.Data) {
		t.Errorf("written again:\n got %s\nwant %s", got, e.Data)
	}
	var plain Target
	if err := json.Unmarshal([]byte(`{"cgroupID":7,"pid":1,"pidStartTime":"8"}`), &plain); err != nil || plain.CgroupID != 7 || plain.PIDStartTime != 8 {
		t.Errorf("numbers: got %+v, %v", plain, err)
	}
	text, err := json.Marshal(m.Target)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Target.AppendJSON(nil); !bytes.Equal(got, text) {
		t.Errorf("AppendJSON and encoding/json differ:\n%s\n%s", got, text)
	}
	for _, bad := range []string{`{"cgroupID":"x"}`, `{"cgroupID":-1}`, `{"cgroupID":1.5}`, `{"cgroupID":{}}`} {
		if err := json.Unmarshal([]byte(bad), &plain); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if got := (&MatchData{Time: time.Unix(0, 0)}).AppendJSON(nil); !json.Valid(got) {
		t.Errorf("empty match: %s", got)
	}
	if got := string(AppendMatch(nil, []byte("{\"rule\":\"r\"}\n"), nil, &Target{})); got != `{"rule":"r"}` {
		t.Errorf("nothing to add: %s", got)
	}
	e.Type = "other"
	if _, err := e.Match(); !errors.Is(err, ErrInvalidEvent) {
		t.Errorf("other type: %v", err)
	}
	e.Type, e.Data = TypeRuleMatched, json.RawMessage(`[]`)
	if _, err := e.Match(); !errors.Is(err, ErrInvalidEvent) {
		t.Errorf("other data: %v", err)
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", "q\"b\\", "\x00\x1f\n\r\t\x7f", "ü日😀", "bad \xff\xc3 end", "\xed\xa0\x80", "\u2028"} {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		got := appendString(nil, s)
		if err := errors.Join(json.Unmarshal(want, &a), json.Unmarshal(got, &b)); err != nil || a != b {
			t.Errorf("%q: got %s, want what %s means: %v", s, got, want, err)
		}
	}
}

// FuzzUnmarshal: exactly one of result and error; what is read is valid, and is the same after being written and read again.
func FuzzUnmarshal(f *testing.F) {
	for _, e := range events() {
		f.Add(Marshal(e))
	}
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/","type":"t","x":null,"data":null}`))
	f.Add([]byte(` { "specversion" : "1.0" , "id" : "\u0031" , "source":"/","type":"t","n":-5 ,"b":true, "data_base64":"MQ==" } `))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Unmarshal(in)
		if (e == nil) == (err == nil) {
			t.Fatalf("got %v, %v", e, err)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalidEvent) {
				t.Errorf("got %v, want ErrInvalidEvent", err)
			}
			return
		}
		text := Marshal(e)
		again, err := Unmarshal(text)
		if err != nil {
			t.Fatalf("%s is read but not %s: %v", in, text, err)
		}
		if !e.IsJSON() { // a JSON value below another content type becomes a string
			again.Data, e.Data = nil, nil
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// FuzzDecodeBinary: headers are anybody's.
func FuzzDecodeBinary(f *testing.F) {
	f.Add("1", "/a", "t", "2026-11-21T00:00:00Z", "foo", "ba%20r", "application/json", []byte(`{}`))
	f.Fuzz(func(t *testing.T, id, source, typ, tm, name, value, ct string, body []byte) {
		h := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {id}, "Ce-Source": {source}, "ce-type": {typ}, "ce-time": {tm}, "CE-" + name: {value}, "Content-Type": {ct}}
		e, err := Decode(h, body)
		if (e == nil) == (err == nil) {
			t.Fatalf("got %v, %v", e, err)
		}
		if err == nil && e.Validate() != nil {
			t.Errorf("not valid: %v", e.Validate())
		}
	})
}

func FuzzPercent(f *testing.F) {
	f.Add("a b%20")
	f.Fuzz(func(t *testing.T, s string) {
		enc := percentEncode(s)
		if strings.ContainsAny(enc, " \r\n\"") || percentDecode(enc) != s {
			t.Errorf("%q becomes %q and %q", s, enc, percentDecode(enc))
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	e := sampleEvent()
	buf := Append(nil, e)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], e)
	}
}

func BenchmarkMarshalSDK(b *testing.B) {
	var e ceevent.Event
	if err := json.Unmarshal(Marshal(sampleEvent()), &e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(&e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	text := Marshal(sampleEvent())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Unmarshal(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalSDK(b *testing.B) {
	text := Marshal(sampleEvent())
	b.ReportAllocs()
	for b.Loop() {
		var e ceevent.Event
		if err := json.Unmarshal(text, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMatch(b *testing.B) {
	m, err := sampleEvent().Match()
	if err != nil {
		b.Fatal(err)
	}
	target := m.Target
	m.Target = Target{}
	alert := m.AppendJSON(nil)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendMatch(buf[:0], alert, nil, &target)
	}
}
