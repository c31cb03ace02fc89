package bus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
)

// tail is docs/events.md's example; TestDocsGo compares them.
func tail(ctx context.Context, file string, handle func(subject string, event map[string]any)) error {
	var access struct{ URL, User, Password string }
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &access); err != nil {
		return err
	}
	nc, err := nats.Connect(access.URL, nats.UserInfo(access.User, access.Password))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	since := time.Now().Add(-time.Hour)
	consumer, err := js.OrderedConsumer(ctx, "EVENTS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"tiercel.events.*.*.terminal_shell_in_container.>"},
		DeliverPolicy:  jetstream.DeliverByStartTimePolicy,
		OptStartTime:   &since,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		var event map[string]any
		if err := json.Unmarshal(m.Data(), &event); err != nil {
			return err
		}
		handle(m.Subject(), event)
	}
}

// codeBlock is the first block of a language in docs/events.md.
func codeBlock(t testing.TB, language string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n```"+language+"\n")
	if !ok {
		t.Fatalf("docs/events.md has no %s block", language)
	}
	code, _, _ := strings.Cut(rest, "\n```")
	return code + "\n"
}

// A stage is a running bus and the event that the documentation shows.
type stage struct {
	access string // nats.json
	bus    *bus.Bus
	event  *bus.Event
}

func newStage(t testing.TB) *stage {
	t.Helper()
	sc := bus.DefaultServerConfig()
	sc.DataDir = t.TempDir()
	b := bustest.Start(t, sc)
	e, err := bus.Unmarshal([]byte(codeBlock(t, "json")))
	if err != nil {
		t.Fatalf("the event in docs/events.md: %v", err)
	}
	return &stage{filepath.Join(sc.DataDir, bus.AccessFile), b, e}
}

func (s *stage) publish(t testing.TB) {
	t.Helper()
	m := &nats.Msg{Subject: string(bus.EventSubject("syscall", s.event.Priority, s.event.Rule, "payments", "node-1")), Data: bus.Marshal(s.event)}
	if _, err := s.bus.JetStream().PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestDocsEvent(t *testing.T) {
	s := newStage(t)
	m, err := s.event.Match()
	if err != nil {
		t.Fatal(err)
	}
	if m.Rule != s.event.Rule || m.Target.Pod != "checkout-5d9f7c8b6-x2x7k" || m.Target.PIDStartTime == 0 {
		t.Errorf("got %+v", m)
	}
	text, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	if subject := bus.EventSubject("syscall", s.event.Priority, s.event.Rule, m.Target.Namespace, m.Target.Node); !strings.Contains(string(text), "\n"+string(subject)+"\n") {
		t.Errorf("docs/events.md does not show its event's subject %s", subject)
	}
}

func TestDocsGo(t *testing.T) {
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := codeBlock(t, "go"); !strings.Contains(string(source), "\n"+code) {
		t.Error("the Go example of docs/events.md is not the function tail of this file")
	}
	s := newStage(t)
	s.publish(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got string
	err = tail(ctx, s.access, func(subject string, event map[string]any) {
		got = fmt.Sprint(subject, " ", event["id"])
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if want := "tiercel.events.syscall.notice.terminal_shell_in_container.payments.node-1 " + s.event.ID; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestDocsPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	s := newStage(t)
	script := filepath.Join(t.TempDir(), "events.py")
	if err := os.WriteFile(script, []byte(codeBlock(t, "python")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, script, s.access)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	want := regexp.MustCompile("^" + regexp.QuoteMeta(s.event.ID+" Terminal shell in container checkout-5d9f7c8b6-x2x7k") + "$")
	tick := time.NewTicker(100 * time.Millisecond) // it subscribes at a time of its own
	defer tick.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the script ended")
			}
			if !want.MatchString(line) {
				t.Errorf("got %q, want %q", line, want)
			}
			cancel()
			_ = cmd.Wait()
			return
		case <-tick.C:
			s.publish(t)
		}
	}
}

// Read events from the tiercel that runs on this machine.
func ExampleBus_Tail() {
	ctx := context.Background()
	access, err := bus.FindServer("/var/lib/tiercel/nats")
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.Creds = access.URL, filepath.Join("/var/lib/tiercel/nats", bus.AccessFile)
	b, err := bus.Connect(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	for r, err := range b.Tail(ctx, bus.Query{Priority: "warning", Namespaces: []string{"payments"}}) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r.Event.Rule, r.Event.Subject)
	}
}
