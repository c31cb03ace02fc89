//go:build e2e

package e2e

import (
	"bytes"
	"context"
	wire "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A criClient calls a container runtime as a kubelet does: gRPC is HTTP/2 with framed messages.
type criClient struct{ client *http.Client }

func newCRIClient(socket string) *criClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &criClient{&http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (c *criClient) close() { c.client.CloseIdleConnections() }

// call calls a method of runtime.v1.RuntimeService.
func (c *criClient) call(method string, request message) (message, error) {
	frame := wire.BigEndian.AppendUint32([]byte{0}, uint32(len(request)))
	req, err := http.NewRequest(http.MethodPost, "http://cri/runtime.v1.RuntimeService/"+method, bytes.NewReader(append(frame, request...)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	status, text := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" {
		status, text = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return nil, fmt.Errorf("%s: status %s: %s", method, status, text)
	}
	if len(b) < 5 {
		return nil, fmt.Errorf("%s: an answer of %d bytes", method, len(b))
	}
	return b[5:], nil
}

func (c *criClient) must(t testing.TB, method string, request message) message {
	t.Helper()
	answer, err := c.call(method, request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A message is one of protocol buffers. The numbers of its fields are those of k8s.io/cri-api's api.proto.
type message []byte

func (m message) bytes(field int, b []byte) message {
	m = wire.AppendUvarint(m, uint64(field)<<3|2)
	m = wire.AppendUvarint(m, uint64(len(b)))
	return append(m, b...)
}

func (m message) text(field int, all ...string) message {
	for _, s := range all {
		m = m.bytes(field, []byte(s))
	}
	return m
}

func (m message) number(field int, v int64) message {
	m = wire.AppendUvarint(m, uint64(field)<<3)
	return wire.AppendUvarint(m, uint64(v))
}

func (m message) truth(field int, v bool) message {
	if !v {
		return m
	}
	return m.number(field, 1)
}

// pairs is a map of strings, or a list of messages that begin with two of them.
func (m message) pairs(field int, all map[string]string) message {
	for k, v := range all {
		m = m.bytes(field, message(nil).text(1, k).text(2, v))
	}
	return m
}

// get returns the first value of a field: its bytes, or its number.
func (m message) get(field int) ([]byte, int64) {
	for len(m) > 0 {
		key, n := wire.Uvarint(m)
		m = m[max(n, 0):]
		v, n := wire.Uvarint(m)
		if n <= 0 {
			return nil, 0
		}
		m = m[n:]
		var b []byte
		if key&7 == 2 {
			if v > uint64(len(m)) {
				return nil, 0
			}
			b, m = m[:v], m[v:]
		}
		if int(key>>3) == field {
			return b, int64(v)
		}
	}
	return nil, 0
}
