package output

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// An HTTPConfig configures an HTTP output.
type HTTPConfig struct {
	URL      string
	Timeout  time.Duration // of one request. Positive
	Attempts int           // at most, per alert. Default 3
	Backoff  time.Duration // before the second attempt, doubled for each further one. Default 250ms
	Queue    int           // alerts that may wait. Positive
	Client   *http.Client  // default: one of its own
}

// NewHTTP returns an Output that posts each alert as JSON, as Falco's http_output does, one after the other. Answers of 2xx count as taken;
// 408, 429 and 5xx and what prevents an answer are tried again. Where no proxy and no TLS is in between, an alert with none before it leaves
// in Send, on a connection that is kept.
func NewHTTP(cfg HTTPConfig, onError func(error)) *Output {
	if cfg.Attempts <= 0 {
		cfg.Attempts = 3
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 250 * time.Millisecond
	}
	var s sink
	if base := (httpSink{cfg: cfg}); cfg.Client == nil {
		base.cfg.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		}}
		s = &base
		if kept := newKept(cfg.URL); kept != nil {
			s = &keptSink{httpSink: base, kept: kept}
		}
	} else {
		s = &base
	}
	return newOutput("http", JSON, s, false, cfg.Queue, onError)
}

// An httpSink posts through a client of package net/http.
type httpSink struct{ cfg HTTPConfig }

func (s *httpSink) write(ctx context.Context, b []byte) error { return s.attempts(ctx, b, s.post) }

// attempts has post send b, again and again while that can help.
func (s *httpSink) attempts(ctx context.Context, b []byte, post func(context.Context, []byte) (again bool, err error)) error {
	b = bytes.TrimSuffix(b, []byte("\n"))
	pause := s.cfg.Backoff
	for attempt := 1; ; attempt++ {
		again, err := s.inTime(ctx, b, post)
		if err == nil {
			return nil
		}
		if !again || attempt == s.cfg.Attempts {
			return fmt.Errorf("post alert, attempt %d: %w", attempt, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

func (s *httpSink) inTime(ctx context.Context, b []byte, post func(context.Context, []byte) (bool, error)) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return post(ctx, b)
}

// post sends b once and reports whether trying again can help.
func (s *httpSink) post(ctx context.Context, b []byte) (again bool, err error) {
	req, err := newPost(ctx, s.cfg.URL, b)
	if err != nil {
		return false, err
	}
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply)) // so that the connection can be used again
	return judge(resp.StatusCode, resp.Status)
}

// maxReply bounds what is read of an answer's body: after more than that its connection is not used again.
const maxReply = 64 << 10

func newPost(ctx context.Context, url string, b []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// judge returns nil if the answer says that the alert was taken.
func judge(code int, status string) (again bool, err error) {
	if code/100 == 2 {
		return false, nil
	}
	again = code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
	return again, fmt.Errorf("status %s", status)
}

func (s *httpSink) close() error {
	s.cfg.Client.CloseIdleConnections()
	return nil
}
