package kernel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

const (
	// readDeadline is how long records that wake nobody may lie in a ring. Where manyRecords and more are found there, the next ones may lie for
	// batchDeadline: each look costs as much as what it finds, and what some rule is likely to match, or fills a ring, wakes the reader.
	readDeadline  = 5 * time.Millisecond
	batchDeadline = 20 * time.Millisecond
	manyRecords   = 8
	// idleAfter is how long nothing must happen before the reader stops looking by itself; then any record wakes it. It is short: on a machine
	// where something happens a few times a second, one wake-up and one look in vain for each is less than looking two hundred times.
	idleAfter = readDeadline
	// idleDeadline bounds what a lost wake-up of an idle reader costs.
	idleDeadline = time.Second
	// wakeGap is the least time between two wake-ups. A wake-up costs the reader about 40 µs of CPU.
	wakeGap = 50 * time.Microsecond
	// wakesPerSecond is how often the reader lets itself be woken in the long run; beyond, it looks every pollGap.
	wakesPerSecond = 2000
	wakeBurst      = 200
	pollGap        = 400 * time.Microsecond
	// processesPerSecond is how many process events that some rule may match wake the reader in the long run; beyond, it takes those along, within
	// batchDeadline, of which the kernel knows next to nothing. With Falco's rules that is nearly every exec: it knows no names of users and no
	// ancestors.
	processesPerSecond = 200
	processBurst       = 100
	processDebt        = 50 // of those beyond, made good before they wake it again
	// lastTime bounds how long is spent on what the rings held at the end.
	lastTime = 5 * time.Second
)

// A poller waits for the rings to have something.
//
// Its goroutine is parked by the Go runtime's own poller, in which the descriptor of all rings is one among others. In a system call of its
// own that blocks it would keep the runtime's monitor thread awake: each such call costs some sixty wake-ups of that, 1 % of a core together.
type poller struct {
	epoll  *os.File // of all rings
	conn   syscall.RawConn
	ready  func(fd uintptr) bool
	stop   int // descriptor
	timer  int // descriptor of what ends a wait
	state  *readerState
	rings  []*ring
	events [8]unix.EpollEvent
	n      int // how many of events are not of the timer
	err    error
	fd     uintptr // of epoll

	woken     time.Time // last wake-up
	active    time.Time // last time a ring had something
	tokens    float64   // wake-ups in hand
	processes float64   // process events in hand that may wake the reader; less than one: those that are not likely to match do not
	batch     int       // records that were handed out since the last wait
	wakeups   func()
	lastFill  time.Time
}

func newPoller(state *readerState, rings []*ring, wakeups func()) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(stop)
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("create timerfd: %w", err)
	}
	now := time.Now()
	p := &poller{
		fd: uintptr(epoll), stop: stop, timer: timer, state: state, rings: rings, active: now, lastFill: now, tokens: wakeBurst, processes: processBurst,
		wakeups: wakeups,
	}
	p.ready = func(fd uintptr) bool { return p.look(fd) > 0 || p.err != nil }
	if err := p.open(epoll); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// look takes what descriptors have become ready, and returns how many have. The calls are raw here: the runtime's monitor wakes up for any
// other.
func (p *poller) look(epoll uintptr) (ready int) {
	p.n, p.err = 0, nil
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		p.err = errno
		return 0
	}
	for i := range p.events[:n] {
		if p.events[i].Fd != int32(p.timer) {
			p.n++
		}
	}
	return int(n)
}

// open gives the runtime the descriptor epoll, and epoll those of the rings.
func (p *poller) open(epoll int) error {
	err := unix.SetNonblock(epoll, true) // what makes an os.File of the runtime's poller
	p.epoll = os.NewFile(uintptr(epoll), "rings")
	if err != nil {
		return fmt.Errorf("watch rings: %w", err)
	}
	if p.conn, err = p.epoll.SyscallConn(); err != nil {
		return fmt.Errorf("watch rings: %w", err)
	}
	fds := []int{p.stop, p.timer}
	for _, r := range p.rings {
		fds = append(fds, r.fd)
	}
	for _, fd := range fds {
		// Edge-triggered: records that wake nobody must not end the wait.
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return fmt.Errorf("watch ring: %w", err)
		}
	}
	return nil
}

func (p *poller) close() {
	_ = p.epoll.Close()
	_ = unix.Close(p.stop)
	_ = unix.Close(p.timer)
}

// interrupt ends the wait that is on or comes next.
func (p *poller) interrupt() {
	_, _ = unix.Write(p.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// wait returns when a ring has something to read or deadline has passed.
func (p *poller) wait() error {
	now := time.Now()
	p.fill(now)
	if p.tokens < 1 || now.Sub(p.woken) < wakeGap {
		gap := wakeGap
		if p.tokens < 1 {
			gap = pollGap
		}
		nap(gap)
		return nil
	}
	state, deadline := p.next(now)
	p.state.set(state)
	defer p.state.set(readerAwake)
	for _, r := range p.rings {
		if r.produced() != r.scan {
			return nil // written before the kernel knew that we wait
		}
	}
	if err := p.sleep(deadline); err != nil {
		return fmt.Errorf("wait for rings: %w", err)
	}
	if p.n > 0 {
		p.woken = time.Now()
		p.tokens--
		p.wakeups()
	}
	return nil
}

// fill adds what has come in hand by now.
func (p *poller) fill(now time.Time) {
	since := now.Sub(p.lastFill).Seconds()
	p.tokens = min(wakeBurst, p.tokens+since*wakesPerSecond)
	p.processes = min(processBurst, p.processes+since*processesPerSecond)
	p.lastFill = now
}

// took says that n process events were handed out that some rule may match.
func (p *poller) took(n int) { p.processes = max(-processDebt, p.processes-float64(n)) }

// next returns the state in which the reader waits now, and for how long.
func (p *poller) next(now time.Time) (state uint64, deadline time.Duration) {
	switch {
	case now.Sub(p.active) > idleAfter:
		return readerIdle, idleDeadline
	case p.batch >= manyRecords:
		deadline = batchDeadline
	default:
		deadline = readDeadline
	}
	if p.processes < 1 {
		return readerBusy, deadline
	}
	return readerWaits, deadline
}

// sleep parks the goroutine until a ring wakes it, or d has passed; n says which. The time is kept by a descriptor among the others: for one
// of its own timers the runtime wakes its monitor, and a second thread that looks for work once the goroutine goes on.
func (p *poller) sleep(d time.Duration) error {
	p.n, p.err = 0, nil
	end := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(p.timer), 0, uintptr(unsafe.Pointer(&end)), 0, 0, 0); errno != 0 {
		return errno
	}
	if err := p.conn.Read(p.ready); err != nil {
		return err
	}
	if errors.Is(p.err, unix.EINTR) {
		return nil
	}
	return p.err
}

// nap sleeps; cut short by a signal it is as good. The least nap is a raw call: one that the runtime knows of wakes its monitor, which costs
// more.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	if d > wakeGap {
		_ = unix.Nanosleep(&ts, nil)
		return
	}
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// Run reads the rings and calls handle on one goroutine, in the order of kernel time, until ctx ends. The event and its strings are
// handle's until it returns. It returns nil when ctx has ended, after all that the rings held then; what that took more than five seconds for
// is given up, and counted in Stats as lost.
func (s *Sensor) Run(ctx context.Context, handle func(*event.Event)) error {
	if s.closed.Load() {
		return ErrClosed
	}
	p, err := newPoller(s.state, s.rings, func() { s.wakeups.Add(1) })
	if err != nil {
		return err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.interrupt)
	defer stop()
	for {
		if ctx.Err() != nil {
			s.finish(handle)
			return nil
		}
		found := s.drain(handle)
		p.took(s.rousing)
		s.rousing = 0
		if s.requests.waiting.Len() > 0 {
			s.requests.expire(bootNS(), func(ev *event.Event) { s.hand(ev, bootNS(), handle) })
		}
		if found || s.requests.waiting.Len() > 0 {
			p.active = time.Now()
		}
		if found {
			continue
		}
		p.batch, s.handed = s.handed, 0
		if err := p.wait(); err != nil {
			return err
		}
	}
}

// finish hands out what the rings hold now, and some of what comes meanwhile: calls go on, and the turns of cgroups mix the two.
func (s *Sensor) finish(handle func(*event.Event)) {
	var ends [len(ringNames)]uint64
	for i, r := range s.rings {
		ends[i] = r.produced()
	}
	left := func() bool {
		for i, r := range s.rings {
			if r.consumerPos().Load() < ends[i] {
				return true
			}
		}
		return false
	}
	for until := time.Now().Add(lastTime); left() && time.Now().Before(until); {
		if !s.drain(handle) { // somebody is still writing
			nap(pollGap)
		}
	}
	s.requests.expire(math.MaxUint64, func(ev *event.Event) { s.hand(ev, bootNS(), handle) })
	for i, r := range s.rings {
		r.unread.Store(r.before(ends[i]))
	}
}

// drain hands out what the rings hold now and reports whether that was anything.
//
// What caused an event was written before it: positions are taken from the event ring first, so that the process records which an event
// depends on are always among those that are merged with it.
func (s *Sensor) drain(handle func(*event.Event)) bool {
	var ends [len(ringNames)]uint64
	now := bootNS()
	for i := len(s.rings) - 1; i >= 0; i-- {
		ends[i] = s.rings[i].produced()
	}
	found := false
	for i, r := range s.rings {
		r.look(ends[i])
		found = found || r.queue.left > 0
	}
	if !found {
		for _, r := range s.rings {
			r.release(0) // empty records that carried a wake-up
		}
	} else {
		s.merge(handle, bootNS())
	}
	s.note(now)
	return found
}

// note notes how far all has been handed out of what was written before boot time now.
func (s *Sensor) note(now uint64) {
	for _, r := range s.rings {
		now = min(now, r.waiting(now))
	}
	s.done.Store(max(now, s.done.Load()))
}

// merge hands out a turn of each ring, in the order of time. What a ring holds after its turn is over waits for the next merge; where
// nobody knows what comes next in a ring, because only part of it could be looked at, everything later waits.
func (s *Sensor) merge(handle func(*event.Event), now uint64) {
	var n [len(ringNames)]int
	for {
		i := s.next()
		if i < 0 {
			break
		}
		r := s.rings[i]
		s.deliver(r.record(r.queue.first()), now, handle)
		r.queue.take()
		n[i]++
	}
	for i, r := range s.rings {
		r.release(n[i])
	}
}

// next returns the ring with the earliest entry, -1 if none may be handed out.
func (s *Sensor) next() int {
	first, time := -1, uint64(0)
	for i, r := range s.rings {
		e := r.queue.first()
		if e == nil {
			if r.cut && r.queue.left == 0 {
				return -1
			}
			continue
		}
		if first < 0 || e.time < time {
			first, time = i, e.time
		}
	}
	return first
}

// deliver decodes one record and hands it out.
func (s *Sensor) deliver(record []byte, now uint64, handle func(*event.Event)) {
	if err := decode.Record(record, &s.event); err != nil {
		s.undecoded.Add(1)
		return
	}
	if s.wake.Load()>>decode.Kind(record)&1 != 0 && s.event.Flags&(event.Dropped|event.Recorded) == 0 {
		s.rousing++
	}
	if request, done, ok := decode.Request(record); ok {
		s.joinRequest(request, done, now, handle)
		return
	}
	s.hand(&s.event, now, handle)
}

// hand numbers an event and hands it out.
func (s *Sensor) hand(ev *event.Event, now uint64, handle func(*event.Event)) {
	s.noteCgroup(ev)
	s.seq++
	s.handed++
	ev.Seq = s.seq
	ev.ReadNS = now
	s.pass(ev)
	handle(ev)
}

// bootNS is CLOCK_BOOTTIME in nanoseconds. The call is raw: the runtime's monitor wakes up for any other.
func bootNS() uint64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0) // cannot fail: Linux 2.6.39
	return uint64(ts.Nano())
}
