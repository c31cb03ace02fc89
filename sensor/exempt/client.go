package exempt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where a sensor listens unless it is told otherwise: in a folder of its own, so that it can be given to a container without
// anything else.
const DefaultSocket = "/run/tiercel/self.sock"

// Times of a Client.
const (
	askAgainFirst = time.Second // after a connection that failed or ended, doubled each time
	askAgainLast  = time.Minute
	decideTime    = time.Minute // for the sensor to answer
	maxAnswer     = 1024        // bytes
)

// A Client asks the sensor of this machine to pass over what this process does.
type Client struct {
	// Path is where the sensor listens.
	Path string
	// Log takes what came of it.
	Log *slog.Logger

	said string // what was logged last
}

// Run asks, and asks again when the sensor comes or comes back, until ctx ends. It calls asked once: when the first attempt has come to
// something. Without a sensor nothing is lost but the exemption.
func (c *Client) Run(ctx context.Context, asked func()) {
	first := func() {
		if asked != nil {
			asked()
		}
		asked = nil
	}
	defer first()
	for wait := askAgainFirst; ; wait = min(2*wait, askAgainLast) {
		was, err := c.ask(ctx, first)
		first()
		if ctx.Err() != nil {
			return
		}
		c.tell(was, err)
		if was {
			wait = askAgainFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// ask connects, and returns when the connection has ended. It reports whether this process was exempt meanwhile.
func (c *Client) ask(ctx context.Context, exempt func()) (bool, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Path)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(decideTime)); err != nil {
		return false, err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	line, err := in.ReadString('\n')
	if err != nil {
		return false, fmt.Errorf("no answer: %w", err)
	}
	if line = strings.TrimSuffix(line, "\n"); line != granted {
		return false, errors.New(line)
	}
	c.say(slog.LevelInfo, "the sensor on this machine passes over what this process does")
	exempt()
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return true, err
	}
	_, err = in.ReadByte()
	return true, err
}

// tell logs why this process is not exempt, once.
func (c *Client) tell(was bool, err error) {
	switch {
	case was:
		c.say(slog.LevelInfo, "the sensor on this machine has ended: another sees what this process does until it has been asked")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		c.say(slog.LevelInfo, "no sensor on this machine to pass over what this process does")
	default:
		c.say(slog.LevelWarn, "a sensor on this machine sees what this process does: it could not be asked not to", "err", err)
	}
}

func (c *Client) say(l slog.Level, what string, args ...any) {
	if key := fmt.Sprint(what, args); key != c.said {
		c.said = key
		c.Log.Log(context.Background(), l, what, append(args, "socket", c.Path)...)
	}
}
