package exempt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// An Exemption is what the kernel side grants; *kernel.Exemption is one.
type Exemption interface {
	Calls() uint64
	Close() error
}

// An Exempter has the calls of process pid passed over; kernel.Sensor.Exempt is one, and has the contract.
type Exempter func(pid uint32, check func() error) (Exemption, error)

// A Config configures a Server. All fields but Registerer are required.
type Config struct {
	// Path of the socket. Its directory is made, with mode 0700, if it is not there; with Users 0711.
	Path string
	// Users are those whose processes may be exempt besides the sensor's own user's.
	Users []uint32
	// Log takes who is exempt, who no longer is, and who was refused.
	Log *slog.Logger
	// Registerer takes the metrics. Nil: nobody does.
	Registerer prometheus.Registerer
}

// A Peer is a process that is exempt.
type Peer struct {
	PID   uint32    `json:"pid"`
	Exe   string    `json:"exe"`
	Since time.Time `json:"since"`
	Calls uint64    `json:"calls"` // that were passed over
}

// maxConnections bounds the connections at a time: those of peers, and those that are being looked at.
const maxConnections = kernel.MaxExempt + 5

// Times of a Server.
const (
	listenAgain  = 5 * time.Second  // after it could not
	answerTime   = 5 * time.Second  // for an answer to be taken
	refusedQuiet = 10 * time.Second // between two refusals that are logged
)

// A Server listens for processes that ask to be exempt. Make one with New. Peers is safe for concurrent use.
type Server struct {
	cfg      Config
	own      program
	checking chan struct{} // capacity 1: held while a program is looked at
	refused  *prometheus.CounterVec

	mu          sync.Mutex
	peers       []*peer   // guarded by mu
	lastRefused time.Time // guarded by mu; that was logged
}

type peer struct {
	Peer
	exemption Exemption
}

// New returns a Server that Run starts.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, own: program{path: "/proc/self/exe"}, checking: make(chan struct{}, 1)}
	s.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tiercel", Subsystem: "sensor", Name: "exempt_refused_total",
		Help: "Processes that asked to be exempt and were refused.",
	}, []string{"reason"})
	for _, r := range reasons {
		s.refused.WithLabelValues(r.name)
	}
	s.refused.WithLabelValues(otherReason)
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(s.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "tiercel", Subsystem: "sensor", Name: "exempt_processes", Help: "Processes that are exempt besides the sensor's own.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(len(s.peers))
		}))
	}
	return s
}

// reasons are the values of the label.
var reasons = []struct {
	err  error
	name string
}{
	{errUser, "user"},
	{errUserNamespace, "namespace"},
	{errNotFirst, "first"},
	{errOpen, "open"},
	{errTraced, "traced"},
	{errOutside, "outside"},
	{errProgram, "program"},
	{errGone, "gone"},
	{kernel.ErrExemptGone, "gone"},
	{kernel.ErrExemptTwice, "twice"},
	{kernel.ErrExemptMany, "many"},
	{errBusy, "busy"},
}

const otherReason = "error"

// Peers returns who is exempt now, the first to connect first.
func (s *Server) Peers() []Peer {
	s.mu.Lock()
	peers := slices.Clone(s.peers)
	s.mu.Unlock()
	list := make([]Peer, 0, len(peers))
	for _, p := range peers {
		one := p.Peer
		one.Calls = p.exemption.Calls()
		list = append(list, one)
	}
	return list
}

// Run listens until ctx ends, and returns when nobody is exempt any more. Where it cannot listen, it says so once and tries again.
func (s *Server) Run(ctx context.Context, exempt Exempter) {
	said := ""
	for ctx.Err() == nil {
		err := s.listenAndServe(ctx, exempt)
		switch {
		case ctx.Err() != nil:
			return
		case err.Error() == said:
		case errors.Is(err, errInUse):
			s.cfg.Log.Info("another sensor lets runtimes be exempt on this machine", "socket", s.cfg.Path)
		default:
			s.cfg.Log.Warn("runtimes beside this sensor cannot be exempt: rules see what they do", "socket", s.cfg.Path, "err", err)
		}
		said = err.Error()
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (s *Server) listenAndServe(ctx context.Context, exempt Exempter) error {
	ln, err := listen(ctx, s.cfg.Path, len(s.cfg.Users) > 0)
	if err != nil {
		return err
	}
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	s.cfg.Log.Debug("runtimes on this machine may ask to be exempt", "socket", s.cfg.Path)
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	room := make(chan struct{}, maxConnections)
	for {
		conn, err := ln.AcceptUnix()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		select {
		case room <- struct{}{}:
			open.Go(func() {
				defer func() { <-room }()
				s.serve(ctx, conn, exempt)
			})
		default:
			s.refuse(conn, nil, errBusy)
			_ = conn.Close()
		}
	}
}

// serve decides about a connection, and keeps the process that made it exempt until either ends.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn, exempt Exempter) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, err := callerOf(conn)
	if err != nil {
		s.refuse(conn, c, err)
		return
	}
	defer c.pidfd.Close()
	e, err := s.decide(ctx, c, exempt)
	if err != nil {
		s.refuse(conn, c, err)
		return
	}
	p := &peer{Peer: Peer{PID: c.pid, Exe: c.exe(), Since: time.Now()}, exemption: e}
	s.mu.Lock()
	s.peers = append(s.peers, p)
	s.mu.Unlock()
	s.cfg.Log.Info("a process is exempt: rules do not see what it does", "pid", p.PID, "exe", p.Exe, "uid", c.uid)
	if answer(conn, granted) == nil {
		hold(conn, c)
	}
	if err := e.Close(); err != nil {
		s.cfg.Log.Error("a process stays exempt", "pid", p.PID, "exe", p.Exe, "err", err)
	}
	s.mu.Lock()
	s.peers = slices.DeleteFunc(s.peers, func(o *peer) bool { return o == p })
	s.mu.Unlock()
	s.cfg.Log.Info("a process is no longer exempt", "pid", p.PID, "exe", p.Exe, "calls", e.Calls(), "duration", time.Since(p.Since))
}

// decide asks the kernel side for an exemption of the caller, if it may have one. One caller is looked at at a time.
func (s *Server) decide(ctx context.Context, c *caller, exempt Exempter) (Exemption, error) {
	guest := c.uid != uint32(os.Geteuid())
	if guest && !slices.Contains(s.cfg.Users, c.uid) {
		return nil, errUser
	}
	select {
	case s.checking <- struct{}{}:
		defer func() { <-s.checking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return exempt(c.pid, func() error {
		if guest {
			if err := c.checkGuest(); err != nil {
				return err
			}
		}
		return s.own.check(c) // last, for it sees that the caller is still the one that connected
	})
}

// hold returns when the connection or the process ends, or says anything: there is nothing to say.
func hold(conn *net.UnixConn, c *caller) {
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		c.wait()
		_ = conn.Close()
	}()
	_, _ = conn.Read(make([]byte, 1))
	_ = c.pidfd.Close()
	<-watching
}

// Answers, a line each. A refusal goes on with why.
const (
	granted = "exempt"
	denied  = "refused: "
)

func answer(conn *net.UnixConn, line string) error {
	if err := conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err := conn.Write([]byte(line + "\n"))
	return err
}

// refuse counts a refusal, logs it unless one just was, and tells the process. c may be nil.
func (s *Server) refuse(conn *net.UnixConn, c *caller, why error) {
	name := otherReason
	for _, r := range reasons {
		if errors.Is(why, r.err) {
			name = r.name
			break
		}
	}
	s.refused.WithLabelValues(name).Inc()
	_ = answer(conn, denied+why.Error())
	now := time.Now()
	s.mu.Lock()
	quiet := now.Sub(s.lastRefused) < refusedQuiet
	if !quiet {
		s.lastRefused = now
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	args := []any{"reason", name, "err", why}
	if c != nil {
		args = append(args, "pid", c.pid, "exe", c.exe(), "uid", c.uid)
	}
	s.cfg.Log.Warn("a process asked to be exempt and was refused", args...)
}
