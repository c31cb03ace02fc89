package doctor

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/sensor"
)

func TestContainerLosses(t *testing.T) {
	now := time.Now()
	list := []sensor.ContainerLoss{
		{Container: "0123456789ab", Name: "web", Namespace: "shop", Pod: "web-1", Cgroup: "/k/web", Event: 900, Process: 3, Last: now.Add(-time.Hour)},
		{Container: "abcdefabcdef", Name: "db", Event: 7, Last: now},
		{Container: "fedcbafedcba", Cgroup: "/k/x", Process: 6, Last: now},
		{Container: "host", Cgroup: "/system.slice/backup.service", Event: 5, Last: now},
	}
	var want []string
	for _, who := range []string{
		"container web (0123456789ab) of pod shop/web-1 lost records of 900 of its system calls and 3 of its processes (they were read again)",
		"container db (abcdefabcdef) lost records of 7 of its system calls",
		"container fedcbafedcba (cgroup /k/x) lost records of 6 of its processes (they were read again)",
		"the host's cgroup /system.slice/backup.service lost records of 5 of its system calls",
	} {
		want = append(want, "action "+who+" since the start, the last ")
	}
	for len(list) < topLosses {
		list = append(list, sensor.ContainerLoss{Container: "more", Event: 1})
	}
	list = append(list, sensor.ContainerLoss{Container: "one too many", Event: 1}, sensor.ContainerLoss{Others: 12, Event: 20})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(list) }))
	t.Cleanup(srv.Close)
	fs := (&Env{HTTP: strings.TrimPrefix(srv.URL, "http://"), Client: srv.Client()}).containerLosses(t.Context())
	if len(fs) != topLosses+1 {
		t.Fatalf("%d findings, want %d: %+v", len(fs), topLosses+1, fs)
	}
	var got []string
	for i, text := range texts(fs[:len(want)]) {
		before, _, _ := strings.Cut(text, "the last ")
		got = append(got, before+"the last ")
		if fs[i].Hint == "" {
			t.Errorf("%q says not what to do", text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if last := fs[topLosses]; last.Text != "2 more containers lost records; the log names them" {
		t.Errorf("got %q", last.Text)
	}
	if text := judgeLoss(&sensor.ContainerLoss{Others: 12, Event: 20, Last: now}, now.Add(90*time.Second)).Text; text !=
		"12 other containers together lost records of 20 of its system calls since the start, the last 1m30s ago: rules did not see them" {
		t.Errorf("got %q", text)
	}
}
