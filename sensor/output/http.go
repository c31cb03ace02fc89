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

// NewHTTP returns an Output that posts each alert as JSON, as Falco's http_output does. Answers of 2xx count as taken; 408, 429 and 5xx
// and what prevents an answer are tried again.
func NewHTTP(cfg HTTPConfig, onError func(error)) *Output {
	if cfg.Attempts <= 0 {
		cfg.Attempts = 3
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = 250 * time.Millisecond
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		}}
	}
	return newOutput("http", JSON, &httpSink{cfg: cfg}, false, cfg.Queue, onError)
}

type httpSink struct{ cfg HTTPConfig }

func (s *httpSink) write(ctx context.Context, b []byte) error {
	b = bytes.TrimSuffix(b, []byte("\n"))
	pause := s.cfg.Backoff
	for attempt := 1; ; attempt++ {
		again, err := s.post(ctx, b)
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

// post sends b once and reports whether trying again can help.
func (s *httpSink) post(ctx context.Context, b []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(b))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return again, fmt.Errorf("status %s", resp.Status)
}

func (s *httpSink) close() error {
	s.cfg.Client.CloseIdleConnections()
	return nil
}
