package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/tiercel-project/tiercel/sensor/exempt"
)

// askExemption asks the sensor that runs here, if there is one, to pass over what this process does until the function that it returns is called.
func askExemption(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	asked, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		(&exempt.Client{Path: cmp.Or(os.Getenv("TIERCEL_SELF_SOCKET"), exempt.DefaultSocket), Log: slog.New(slog.DiscardHandler)}).Run(ctx, func() { close(asked) })
	}()
	select {
	case <-asked:
	case <-time.After(5 * time.Second):
	}
	return func() {
		cancel()
		<-done
	}
}

// exemptProcesses says which processes the sensor passes over besides itself.
func (e *Env) exemptProcesses(ctx context.Context) []Finding {
	resp, err := e.get(ctx, "/exempt")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil // a tiercel without a sensor
	}
	var list []exempt.Peer
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list); err != nil {
		return []Finding{found(Unknown, "which processes are exempt: %v", err).hint("is this doctor of the same version as the tiercel that runs?")}
	}
	var fs []Finding
	for _, p := range list {
		if p.PID == uint32(os.Getpid()) { // it was, while it loaded programs
			continue
		}
		fs = append(fs, found(Note, "rules do not see what process %d (%q) does: it has been exempt for %s, and %d of its calls were passed over", p.PID, p.Exe,
			max(time.Since(p.Since), 0).Round(time.Second), p.Calls).hint("it should be a tiercel runtime of yours; --self-socket '' of the sensor exempts nobody"))
	}
	return fs
}

// judgeExempt says who asked to be exempt in vain.
func judgeExempt(refused []sample) []Finding {
	text := nonZero(refused)
	if text == "" {
		return nil
	}
	return []Finding{found(Note, "processes asked to be exempt from rules and were refused since the start: %s", text).
		hint("the log names them: a runtime must run as root, from the same program as the sensor; anybody else should not reach the socket")}
}
