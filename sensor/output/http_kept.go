package output

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// A keptSink posts on a connection of its own where it can, and otherwise as httpSink does: a client of package net/http hands a request from
// goroutine to goroutine before it is written, and cannot begin one without waiting.
type keptSink struct {
	httpSink
	kept *kept // nil once the server has sent us elsewhere
}

// start implements starter.
func (s *keptSink) start(b []byte) bool {
	return s.kept != nil && s.kept.start(bytes.TrimSuffix(b, []byte("\n")))
}

func (s *keptSink) write(ctx context.Context, b []byte) error { return s.attempts(ctx, b, s.post) }

func (s *keptSink) post(ctx context.Context, b []byte) (again bool, err error) {
	if s.kept != nil {
		code, status, err := s.kept.post(ctx, b)
		if err != nil {
			return true, err
		}
		if code/100 != 3 {
			return judge(code, status)
		}
		s.kept.close()
		s.kept = nil // the client knows what to do with redirections
	}
	return s.httpSink.post(ctx, b)
}

func (s *keptSink) close() error {
	if s.kept != nil {
		s.kept.close()
	}
	return s.httpSink.close()
}

// A kept is a connection to a server, over which one request at a time goes.
type kept struct {
	addr        string
	head, tail  string // of a request, before and after the length of its body
	dialer      net.Dialer
	conn        *net.TCPConn // nil: none
	in          *bufio.Reader
	request     []byte
	begun       bool // start has sent the first part of request
	sent        int  // how much that is
	interrupted bool // the connection ended before an answer began
}

// newKept returns a kept that has no connection yet, or nil if one cannot be used for this URL.
func newKept(to string) *kept {
	const mark = "Content-Length: 1\r\n"
	req, err := newPost(context.Background(), to, []byte("x"))
	if err != nil || req.URL.Scheme != "http" {
		return nil
	}
	if proxy, err := http.ProxyFromEnvironment(req); proxy != nil || err != nil {
		return nil
	}
	if u := req.URL.User; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil
	}
	head, tail, found := bytes.Cut(bytes.TrimSuffix(b.Bytes(), []byte("x")), []byte(mark))
	if !found {
		return nil
	}
	return &kept{addr: address(req.URL), head: string(head) + "Content-Length: ", tail: "\r\n" + string(tail)}
}

func address(u *url.URL) string {
	if port := u.Port(); port != "" {
		return net.JoinHostPort(u.Hostname(), port)
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// render makes the request of b.
func (k *kept) render(b []byte) {
	k.request = append(k.request[:0], k.head...)
	k.request = strconv.AppendInt(k.request, int64(len(b)), 10)
	k.request = append(k.request, k.tail...)
	k.request = append(k.request, b...)
}

// start sends as much as there is room for of the request of b, if a connection stands.
func (k *kept) start(b []byte) bool {
	k.begun = false
	if k.conn == nil || !k.quiet() {
		return false
	}
	k.render(b)
	k.sent = trySend(k.conn, k.request)
	k.begun = k.sent > 0
	return k.begun
}

// quiet reports whether the connection can take a request: the server has neither ended it nor said anything unasked.
func (k *kept) quiet() bool {
	return k.in.Buffered() == 0 && silent(k.conn)
}

// post sends the request of b, or what start has left of it, and returns the status of the answer. If a connection that was used
// before ended without one, as one does that the server thought idle, the request is sent once more on a new one.
func (k *kept) post(ctx context.Context, b []byte) (code int, status string, err error) {
	used := k.conn != nil
	code, status, err = k.exchange(ctx, b)
	if err != nil && used && k.interrupted && ctx.Err() == nil {
		return k.exchange(ctx, b)
	}
	return code, status, err
}

func (k *kept) exchange(ctx context.Context, b []byte) (code int, status string, err error) {
	sent := 0
	if k.begun {
		sent = k.sent
	} else {
		k.render(b)
		if k.conn != nil && !k.quiet() {
			k.close()
		}
	}
	k.begun, k.interrupted = false, false
	if k.conn == nil {
		conn, err := k.dialer.DialContext(ctx, "tcp", k.addr)
		if err != nil {
			return 0, "", err
		}
		k.conn, k.in = conn.(*net.TCPConn), bufio.NewReader(conn)
	}
	conn := k.conn
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	keep := false
	defer func() {
		if ended := !stop(); ended || !keep {
			k.close()
		}
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			err = ctx.Err()
		}
	}()
	if _, err := conn.Write(k.request[sent:]); err != nil {
		k.interrupted = ended(err)
		return 0, "", err
	}
	resp, err := k.answer()
	if err != nil {
		return 0, "", err
	}
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply+1))
	if keep = err == nil && n <= maxReply && !resp.Close; !keep {
		k.close() // or Close would read to the end
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Status, nil
}

// answer reads up to the body of the answer.
func (k *kept) answer() (*http.Response, error) {
	if _, err := k.in.Peek(1); err != nil {
		k.interrupted = ended(err)
		return nil, fmt.Errorf("no answer: %w", err)
	}
	const informational = 5 // answers that say nothing yet; net/http takes as many
	for range informational {
		resp, err := http.ReadResponse(k.in, &http.Request{Method: http.MethodPost})
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if resp.StatusCode/100 != 1 {
			return resp, nil
		}
	}
	return nil, errors.New("too many answers of 1xx")
}

func (k *kept) close() {
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}

// ended reports whether err says that the other side has ended the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
