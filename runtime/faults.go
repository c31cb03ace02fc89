package runtime

import "context"

// A Point is a place between two steps of an invocation at which a runtime may die.
type Point string

// The points, in the order an invocation with one effect reaches them.
const (
	PointClaimed     Point = "claimed"      // an attempt after the first has written its claim
	PointPrepared    Point = "prepared"     // a write is granted, its intent not yet written
	PointIntended    Point = "intended"     // the intent is acknowledged
	PointSending     Point = "sending"      // about to check the lease and send the effect
	PointDone        Point = "done"         // the effect is acknowledged, its result is not recorded
	PointEnding      Point = "ending"       // the function has ended, its outcome is not recorded
	PointEnded       Point = "ended"        // the outcome is recorded, not sealed
	PointStored      Point = "stored"       // of one without effects: stored in ACTIONS, its outcome is not announced
	PointSealed      Point = "sealed"       // sealed, the event is not acknowledged
	PointRevertSent  Point = "revert-sent"  // an inverse is done, its result is not recorded
	PointRevertFence Point = "revert-fence" // the reverted invocation is fenced
)

// Faults is asked at each point. An error means that the runtime dies there: it writes nothing more for that invocation and settles no
// message. It is for tests of what the next one makes of it; the default never fails.
type Faults interface {
	Reach(ctx context.Context, p Point, invocation string) error
}

type noFaults struct{}

func (noFaults) Reach(context.Context, Point, string) error { return nil }
